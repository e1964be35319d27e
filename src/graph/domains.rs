//! Cutting a graph into domains: slabs of space with a shell of ghosts around each, for devices that share one structure.

use super::{Edges, Graph};
use crate::memory::{at_least, reserve};
use crate::parallel;
use crate::{Error, Result};

/// Some atoms of a graph, owned, and around them what their energies need.
#[derive(Debug)]
pub(crate) struct Domain {
    pub graph: Graph,
    /// Which atom of the whole each one is; the owned ones ascend.
    pub atoms: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Graph {
    /// `n` domains for energies that look `hops` edges far. Every atom is owned by one of them: those of a slab across the direction in
    /// which the atoms reach farthest, with about as many edges in each.
    ///
    /// # Errors
    /// [`Error::Graph`] for a graph with ghosts; [`Error::Memory`].
    pub(crate) fn domains(&self, n: usize, hops: usize) -> Result<Vec<Domain>> {
        if self.n_owned() < self.n_atoms() {
            return Err(Error::Graph("it has ghosts: what has been cut already is for plans on one device".into()));
        }
        let order = self.across();
        let weight = |i: &u32| 1 + self.edges(*i as usize).len();
        let all: usize = order.iter().map(weight).sum();
        let (mut begin, mut before) = (0, 0);
        let slabs: Vec<&[u32]> = (1..=n)
            .map(|k| {
                let mut end = begin;
                while end < order.len() && (k == n || before + weight(&order[end]) / 2 < k * all / n) {
                    before += weight(&order[end]);
                    end += 1;
                }
                &order[std::mem::replace(&mut begin, end)..end]
            })
            .collect();
        parallel::map(&slabs, |slab| self.domain(slab, hops)).into_iter().collect()
    }

    /// All atoms in the order of slabs.
    fn across(&self) -> Vec<u32> {
        let places = self.places();
        let extent = |d: usize| {
            let ends = |(low, high): (f64, f64), x: &[f64; 3]| (low.min(x[d]), high.max(x[d]));
            let (low, high) = places.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
            high - low
        };
        let axis = (1..3).fold(0, |best, d| if extent(d) > extent(best) { d } else { best });
        let mut order = Vec::new();
        reserve(&mut order, places.len());
        order.extend(0..places.len() as u32);
        order.sort_by(|&i, &j| places[i as usize][axis].total_cmp(&places[j as usize][axis]));
        order
    }

    /// Where atoms are as seen along edges, each in the image that is reached first. Atoms that do not see each other stand apart.
    fn places(&self) -> Vec<[f64; 3]> {
        let (n, vectors) = (self.n_atoms(), self.vectors());
        let (mut places, mut seen, mut queue) = (Vec::new(), Vec::new(), Vec::new());
        at_least(&mut places, n, [0.0; 3]);
        at_least(&mut seen, n, false);
        reserve(&mut queue, n);
        let mut corner = [0.0_f64; 3];
        for seed in 0..n {
            if std::mem::replace(&mut seen[seed], true) {
                continue;
            }
            places[seed] = corner;
            let mut next = queue.len();
            queue.push(seed);
            while let Some(&i) = queue.get(next) {
                next += 1;
                let from = places[i];
                corner = std::array::from_fn(|d| corner[d].max(from[d]));
                for e in self.edges(i) {
                    let j = self.neighbour[e] as usize;
                    if !std::mem::replace(&mut seen[j], true) {
                        places[j] = std::array::from_fn(|d| from[d] + vectors[e][d]);
                        queue.push(j);
                    }
                }
            }
        }
        places
    }

    fn domain(&self, slab: &[u32], hops: usize) -> Result<Domain> {
        let (mut atoms, mut local) = (Vec::new(), Vec::new());
        at_least(&mut local, self.n_atoms(), NONE);
        reserve(&mut atoms, slab.len());
        atoms.extend_from_slice(slab);
        let (n_owned, mut n_centres, mut shell) = (atoms.len(), 0, 0);
        // Shell by shell; the last one has no edges of its own.
        for hop in 0..=hops {
            atoms[shell..].sort_unstable();
            (shell..atoms.len()).for_each(|k| local[atoms[k] as usize] = k as u32);
            if hop == hops {
                break;
            }
            n_centres = atoms.len();
            for k in shell..n_centres {
                for &j in &self.neighbour[self.edges(atoms[k] as usize)] {
                    if local[j as usize] == NONE {
                        local[j as usize] = 0;
                        reserve(&mut atoms, 1);
                        atoms.push(j);
                    }
                }
            }
            shell = n_centres;
        }
        let all = self.vectors();
        let (mut first, mut neighbour, mut shift, mut vectors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let n_edges = atoms[..n_centres].iter().map(|&i| self.edges(i as usize).len()).sum();
        reserve(&mut first, n_centres + 1);
        reserve(&mut neighbour, n_edges);
        reserve(&mut vectors, n_edges);
        reserve(&mut shift, if self.shift.is_empty() { 0 } else { n_edges });
        first.push(0);
        for &i in &atoms[..n_centres] {
            let edges = self.edges(i as usize);
            neighbour.extend(self.neighbour[edges.clone()].iter().map(|&j| local[j as usize]));
            vectors.extend_from_slice(&all[edges.clone()]);
            shift.extend_from_slice(self.shift.get(edges).unwrap_or(&[]));
            first.push(neighbour.len() as u32);
        }
        let (cutoff, n_atoms) = (self.cutoff, atoms.len());
        let edges = Edges { cutoff, n_owned, n_centres, n_atoms, first: &first, neighbour: &neighbour, shift: &shift };
        Ok(Domain { graph: Graph::from_edges(&edges, &vectors)?, atoms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Structure;

    /// Shells are complete, and every atom is owned once.
    #[test]
    fn domains_have_all_that_their_atoms_see() {
        let long = Structure::diamond(14, 5.43).repeat([6, 1, 1]).rattle(0.1, 1);
        let mut apart = Structure::diamond(14, 5.43).rattle(0.1, 2);
        (apart.pbc, apart.positions[5]) = ([false; 3], [40.0, 0.0, 0.0]);
        for (structure, cutoff) in [(&long, 5.5), (&apart, 3.0)] {
            let whole = Graph::build(structure, cutoff).unwrap();
            for (n, hops) in [(1, 1), (2, 1), (2, 2), (3, 2), (20, 3)] {
                let domains = whole.domains(n, hops).unwrap();
                let mut owners = vec![0; whole.n_atoms()];
                let (mut least, mut most) = (usize::MAX, 0);
                for Domain { graph, atoms } in &domains {
                    atoms[..graph.n_owned()].iter().for_each(|&i| owners[i as usize] += 1);
                    assert_eq!(graph.n_atoms(), atoms.len());
                    for (k, &i) in atoms[..graph.n_centres()].iter().enumerate() {
                        let (own, all) = (graph.edges(k), whole.edges(i as usize));
                        assert_eq!(graph.vectors()[own.clone()], whole.vectors()[all.clone()]);
                        let ends = graph.neighbours()[own].iter().map(|&j| atoms[j as usize]);
                        assert!(ends.eq(whole.neighbours()[all].iter().copied()));
                    }
                    let edges = graph.n_owned_edges() + graph.n_owned();
                    (least, most) = (least.min(edges), most.max(edges));
                }
                assert_eq!((domains.len(), owners.iter().all(|&n| n == 1)), (n, true));
                let share = (whole.n_edges() + whole.n_atoms()) / n;
                assert!(most - least <= 2 * share.max(whole.n_edges() / 4), "{least} to {most} edges in {n} domains");
            }
        }
    }

    #[test]
    fn slabs_lie_across_the_longest_direction() {
        let long = Structure::diamond(14, 5.43).repeat([1, 12, 1]);
        let whole = Graph::build(&long, 3.0).unwrap();
        let domains = whole.domains(2, 2).unwrap();
        // Four planes of atoms to a cell; two shells of ghosts on either side of six cells.
        assert!(domains.iter().all(|d| d.graph.n_owned() == 48 && d.atoms.len() < 48 + 2 * 2 * 8), "{domains:?}");
    }

    #[test]
    fn what_is_cut_already_is_refused() {
        let edges = Edges { n_atoms: 1, first: &[0], ..Edges::default() };
        let ghost = Graph::from_edges(&edges, &[]).unwrap();
        assert!(ghost.domains(2, 1).unwrap_err().to_string().contains("ghosts"));
    }
}
