//! Graphs of several structures side by side, as one.

use super::Graph;
use crate::memory::{self, resize};
use crate::parallel::{self, Disjoint};
use crate::{Error, Result};

impl Graph {
    /// Atoms and edges of all, in their order, without shifts. All atoms of the graphs are owned.
    ///
    /// # Errors
    /// [`Error::Graph`] for more atoms or edges than 32 bits can count; [`Error::Memory`].
    pub(crate) fn side_by_side(graphs: &[Graph]) -> Result<Graph> {
        let mut ends = vec![[0; 2]];
        for graph in graphs {
            let [atoms, edges] = ends[ends.len() - 1];
            ends.push([atoms + graph.n_atoms(), edges + graph.n_edges()]);
        }
        let [n_atoms, n_edges] = ends[graphs.len()];
        if n_atoms.max(n_edges) >= u32::MAX as usize {
            return Err(Error::Graph(format!("{n_atoms} atoms with {n_edges} edges are more than 32 bits can count")));
        }
        memory::check((n_edges * super::EDGE_BYTES) as f64, || format!("{n_edges} edges"))?;
        let cutoff = graphs.iter().map(Graph::cutoff).fold(f64::INFINITY, f64::min);
        let mut all =
            Graph { cutoff: if graphs.is_empty() { 0.0 } else { cutoff }, n_owned: n_atoms, ..Graph::default() };
        memory::caught(|| {
            [&mut all.first, &mut all.incoming_first].into_iter().for_each(|offsets| resize(offsets, n_atoms + 1, 0));
            [&mut all.neighbour, &mut all.incoming].into_iter().for_each(|list| resize(list, n_edges, 0));
            resize(all.vectors.renew(), n_edges, [0.0; 3]);
            Ok(())
        })?;
        let [first, incoming_first] = [&mut all.first, &mut all.incoming_first].map(|offsets| {
            offsets[n_atoms] = n_edges as u32;
            Disjoint::new(offsets)
        });
        let [neighbour, incoming] = [&mut all.neighbour, &mut all.incoming].map(|list| Disjoint::new(list));
        let r = Disjoint::new(all.vectors.renew());
        let init = || ();
        parallel::for_each_init(graphs.len(), init, |(), k| {
            let (graph, [atom, edge]) = (&graphs[k], ends[k]);
            let (n, m) = (graph.n_atoms(), graph.n_edges());
            let shifted = |to: &Disjoint<u32>, at: usize, from: &[u32], by: usize| {
                // SAFETY: every graph has its own part of each list.
                let to = unsafe { to.slice(at, from.len()) };
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = x + by as u32);
            };
            shifted(&first, atom, &graph.first()[..n], edge);
            shifted(&incoming_first, atom, &graph.incoming_first()[..n], edge);
            shifted(&neighbour, edge, graph.neighbours(), atom);
            shifted(&incoming, edge, graph.incoming(), edge);
            // SAFETY: as above.
            unsafe { r.slice(edge, m) }.copy_from_slice(graph.vectors());
        });
        all.reissue();
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Structure;

    #[test]
    fn every_part_is_the_graph_that_it_was() {
        let crystal = |k: u64| Structure::diamond(14, 5.43).rattle(0.2, k);
        let one = Structure { numbers: vec![14], positions: vec![[0.0; 3]], ..Structure::default() };
        let mut structures = vec![Structure::default(), crystal(1), one.clone(), crystal(2).repeat([2, 1, 1]), one];
        structures.insert(2, Structure::default());
        let graphs: Vec<Graph> = structures.iter().map(|s| Graph::build(s, 4.0).unwrap()).collect();
        let all = Graph::side_by_side(&graphs).unwrap();
        assert_eq!((all.n_atoms(), all.n_owned(), all.n_centres(), all.cutoff()), (26, 26, 26, 4.0));
        let (mut atom, mut edge) = (0, 0);
        for graph in &graphs {
            for i in 0..graph.n_atoms() {
                let (own, here) = (graph.edges(i), all.edges(atom + i));
                assert_eq!((own.start + edge, own.end + edge), (here.start, here.end));
                let ends = |g: &Graph, i: usize, edge: usize| -> Vec<usize> {
                    g.incoming()[g.incoming_of(i)].iter().map(|&e| e as usize - edge).collect()
                };
                assert_eq!(ends(graph, i, 0), ends(&all, atom + i, edge));
            }
            let own = edge..edge + graph.n_edges();
            assert_eq!(graph.vectors(), &all.vectors()[own.clone()]);
            let neighbours: Vec<u32> = all.neighbours()[own].iter().map(|j| j - atom as u32).collect();
            assert_eq!(graph.neighbours(), neighbours);
            (atom, edge) = (atom + graph.n_atoms(), edge + graph.n_edges());
        }
        assert_eq!(Graph::side_by_side(&[]).unwrap().n_atoms(), 0);
    }
}
