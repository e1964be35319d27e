//! Many-body energies that are not linear in the products: `E_i = f Σ_p w_p F(ρ_p; m_p) + …`, with repulsion at short distances.
//!
//! Densities come from one pass over the products. What follows of them is computed centre by centre in double precision: `E` and
//! `∂E/∂ρ_p`, which the adjoint of the products takes back. Repulsion concerns few edges, and is computed edge by edge.

use super::program::Program;
use super::{AceSpec, EmbeddingSpec};
use crate::memory::at_least;
use crate::part::cpu::{Scratch, reals};
use crate::simd::{Lanes, MAX_LANES, Real, as_reals, as_reals_mut};
use crate::stage::block::{Block, NONE};
use crate::stage::core::{Core, switch};
use crate::stage::densities::GROUP;
use crate::stage::embedding::Density;
use crate::stage::features::Features;
use crate::stage::spec::InnerCutoff;

/// What active sets are made of, where functions belong to one species each.
pub(super) fn features(spec: &EmbeddingSpec) -> Option<Features> {
    let mut end = 0;
    let functions = spec.functions.as_ref()?.iter().map(|n| {
        end += n;
        end - n..end
    });
    let functions = functions.collect();
    let n_densities: Vec<usize> = spec.species.iter().map(|e| e.densities.len()).collect();
    Some(Features { width: end + n_densities.iter().max()?, functions, n_densities })
}

/// The readout of a part with an embedding.
pub(crate) struct Embedded<V: Lanes> {
    /// By species of the centre.
    species: Vec<Species<V>>,
    core: Option<Core>,
    n_species: usize,
}

struct Species<V: Lanes> {
    densities: Vec<Density>,
    /// Where the core density switches the energy off, and over which width, eV.
    switch: [f64; 2],
    /// (groups, n_coefficients, densities of the group).
    folded: Vec<V::Real>,
}

/// What acts between a centre and one neighbour: slot, lane and the slope of the repulsion.
#[derive(Clone, Copy)]
pub(crate) struct Push {
    slot: u32,
    lane: u32,
    slope: f64,
}

/// A number for each centre of a block.
type ByLane = [f64; MAX_LANES];

impl<V: Lanes> Embedded<V> {
    /// `numbers` are those of the model's species; `tables` as for [`Core::new`].
    pub fn new(
        program: &Program,
        spec: &AceSpec,
        embedding: &EmbeddingSpec,
        numbers: &[u8],
        tables: Option<f64>,
    ) -> Self {
        let species = embedding.species.iter().zip(&spec.weights).map(|(e, weights)| Species {
            densities: Density::of(e),
            switch: e.core,
            folded: reals(&in_groups(&program.fold_densities(weights, e.densities.len()), e.densities.len())),
        });
        let core = embedding.core.as_ref().map(|core| Core::new(core, numbers, tables));
        Embedded { species: species.collect(), core, n_species: numbers.len() }
    }

    /// Bytes of coefficients.
    pub fn bytes(&self) -> usize {
        self.species.iter().map(|s| std::mem::size_of_val(&s.folded[..])).sum()
    }

    /// The site energies from `A`; where `GRAD` its adjoint, and the gradients of all that does not go through `A`.
    #[inline(never)]
    pub fn eval<const GRAD: bool>(
        &self,
        program: &Program,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        gradient: &mut [[V; 3]],
    ) -> V {
        V::vectorize(
            #[inline(always)]
            || self.eval_inner::<GRAD>(program, block, ws, gradient),
        )
    }

    #[inline(always)]
    fn eval_inner<const GRAD: bool>(
        &self,
        program: &Program,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        gradient: &mut [[V; 3]],
    ) -> V {
        let Species { densities, folded, .. } = &self.species[block.species];
        let (trie, n) = (&program.trie, densities.len());
        let s = at_least(&mut ws.s, trie.nodes.len() * n, V::zero());
        let rho = at_least(&mut ws.rho, 2 * n, V::zero());
        let (rho, u) = rho.split_at_mut(n);
        trie.densities(folded, &ws.a, s, rho);
        let mut energy = self.embed(block.species, rho, u);
        if let Some(core) = &self.core {
            let share = self.core_energy::<GRAD>(core, block, &mut energy, &mut ws.pushes, gradient);
            if let Some(share) = share {
                let share = V::from_fn(|lane| V::Real::of(share[lane]));
                u.iter_mut().for_each(|u| *u = *u * share);
            }
        }
        if GRAD {
            let a_bar = at_least(&mut ws.a_bar, program.n_a, V::zero());
            let p = at_least(&mut ws.p, trie.nodes.len(), V::zero());
            trie.densities_adjoint(folded, &ws.a, s, u, p, a_bar);
        }
        V::from_fn(|lane| V::Real::of(energy[lane]))
    }

    /// `∂E/∂ρ_p` of the many-body energy from `A`, as if there were no repulsion; 0 for densities that the species lacks.
    pub fn slopes(&self, program: &Program, species: usize, ws: &mut Scratch<V>, out: &mut [V]) {
        out.fill(V::zero());
        let Species { densities, folded, .. } = &self.species[species];
        let (trie, n) = (&program.trie, densities.len());
        let s = at_least(&mut ws.s, trie.nodes.len() * n, V::zero());
        let rho = at_least(&mut ws.rho, n, V::zero());
        V::vectorize(
            #[inline(always)]
            || trie.densities(folded, &ws.a, s, rho),
        );
        self.embed(species, rho, &mut out[..n]);
    }

    /// `Σ_p w_p F(ρ_p)`, and its derivatives with respect to `ρ_p` into `u`.
    #[inline(always)]
    fn embed(&self, species: usize, rho: &[V], u: &mut [V]) -> ByLane {
        let mut energy = [0.0; MAX_LANES];
        for (k, density) in self.species[species].densities.iter().enumerate() {
            let (rho, u) = (as_reals(&rho[k..k + 1]), as_reals_mut(&mut u[k..k + 1]));
            for lane in 0..V::N {
                let [f, df] = density.eval(rho[lane].to_f64());
                energy[lane] += f;
                u[lane] = V::Real::of(df);
            }
        }
        energy
    }

    /// Turns the many-body energy into that of the site; returns the share of it that is left, where that may be less than all.
    #[inline(always)]
    fn core_energy<const GRAD: bool>(
        &self,
        core: &Core,
        block: &Block<V>,
        energy: &mut ByLane,
        pushes: &mut Vec<Push>,
        gradient: &mut [[V; 3]],
    ) -> Option<ByLane> {
        let (many_body, mut share) = (*energy, [1.0; MAX_LANES]);
        if core.inner == InnerCutoff::Zbl {
            let closest = self.closest(core, block)?;
            let (sums, mut slopes) = (self.repulsion(core, block, pushes), [0.0; MAX_LANES]);
            for lane in 0..V::N {
                let Some((pair, slot, r)) = closest[lane] else { continue };
                let f = core.share(pair, r);
                (share[lane], slopes[lane]) = (f.value, f.slope);
                energy[lane] = f.value * many_body[lane] + (1.0 - f.value) * sums[lane];
                if GRAD {
                    push(block, slot, lane, (many_body[lane] - sums[lane]) * f.slope, gradient);
                }
            }
            if GRAD {
                for p in pushes.iter() {
                    push(block, p.slot as usize, p.lane as usize, (1.0 - share[p.lane as usize]) * p.slope, gradient);
                }
            }
            return Some(share);
        }
        let sums = self.repulsion(core, block, pushes);
        let [cut, width] = self.species[block.species].switch;
        // A switch wider than its cutoff is not 1 without repulsion either.
        if pushes.is_empty() && cut >= width {
            return None;
        }
        let mut factor = [0.0; MAX_LANES];
        for lane in 0..V::N {
            let f = switch(sums[lane], cut, width);
            (share[lane], factor[lane]) = (f.value, 1.0 + many_body[lane] * f.slope);
            energy[lane] = f.value * many_body[lane] + sums[lane];
        }
        if GRAD {
            for p in pushes.iter() {
                push(block, p.slot as usize, p.lane as usize, factor[p.lane as usize] * p.slope, gradient);
            }
        }
        Some(share)
    }

    /// `Σ_j V(r_ij)` of each centre; `pushes` lists the edges that take part.
    #[inline(always)]
    fn repulsion(&self, core: &Core, block: &Block<V>, pushes: &mut Vec<Push>) -> ByLane {
        let mut sums = [0.0; MAX_LANES];
        pushes.clear();
        for slot in 0..block.n_slots {
            let (pairs, r) = (block.pairs(slot, self.n_species), block.r[slot].to_array());
            for lane in 0..V::N {
                let r = r[lane].to_f64();
                if r < core.pairs[pairs[lane]].reach && block.edges(slot)[lane] != NONE {
                    let v = core.eval(pairs[lane], r);
                    sums[lane] += v.value;
                    pushes.push(Push { slot: slot as u32, lane: lane as u32, slope: v.slope });
                }
            }
        }
        sums
    }

    /// Pair, slot and distance of the neighbour of each centre that is furthest inside its inner cutoff; `None` where all
    /// centres are without one.
    #[inline(always)]
    fn closest(&self, core: &Core, block: &Block<V>) -> Option<[Option<(usize, usize, f64)>; MAX_LANES]> {
        let (mut closest, mut least) = ([None; MAX_LANES], [f64::INFINITY; MAX_LANES]);
        let mut any = false;
        for slot in 0..block.n_slots {
            let (pairs, r) = (block.pairs(slot, self.n_species), block.r[slot].to_array());
            for lane in 0..V::N {
                let (r, pair) = (r[lane].to_f64(), pairs[lane]);
                let depth = r - core.begin(pair);
                if depth < least[lane] && block.edges(slot)[lane] != NONE && r < core.rcut(pair) {
                    (least[lane], closest[lane]) = (depth, Some((pair, slot, r)));
                }
            }
        }
        for (lane, least) in least.into_iter().enumerate().take(V::N) {
            any |= closest[lane].is_some_and(|(pair, ..)| least < core.width(pair));
        }
        any.then_some(closest)
    }
}

/// Adds `slope · r̂` to the gradient of one edge.
#[inline(always)]
fn push<V: Lanes>(block: &Block<V>, slot: usize, lane: usize, slope: f64, gradient: &mut [[V; 3]]) {
    let [x, y, z, inv_r] = block.vectors(slot).map(|v| as_reals(&[v])[lane].to_f64());
    for (g, x) in gradient[slot].iter_mut().zip([x, y, z]) {
        let g = &mut as_reals_mut(std::slice::from_mut(g))[lane];
        *g += V::Real::of(slope * x * inv_r);
    }
}

/// Coefficients (n_coefficients, n) in groups of densities.
fn in_groups(c: &[f64], n: usize) -> Vec<f64> {
    let groups = (0..n).step_by(GROUP).map(|first| first..(first + GROUP).min(n));
    groups.flat_map(|group| c.chunks(n.max(1)).flat_map(move |c| c[group.clone()].iter().copied())).collect()
}
