//! Many-body energies that are not linear in the products: `E_i = f Σ_p w_p F(ρ_p; m_p) + …`, with repulsion at short distances.
//!
//! Densities come from one pass over the products. What follows of them is computed in double precision, one centre to a lane: `E` and
//! `∂E/∂ρ_p`, which the adjoint of the products takes back. Repulsion is computed for the slots that have an edge short enough.

use super::program::Program;
use super::{AceSpec, EmbeddingSpec};
use crate::memory::at_least;
use crate::part::cpu::{Scratch, reals};
use crate::simd::{Lanes, MAX_LANES, Real};
use crate::stage::block::{Block, NONE};
use crate::stage::core::{Core, switch};
use crate::stage::densities::GROUP;
use crate::stage::embedding::Density;
use crate::stage::features::Features;
use crate::stage::product::Trie;
use crate::stage::spec::InnerCutoff;
use std::ops::Range;

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
    /// Where repulsion ends, and what is looked at for the closest neighbour, by ordered pair, Å; not below what rounding makes of it.
    reach: Vec<V::Real>,
    near: Vec<V::Real>,
    n_species: usize,
}

struct Species<V: Lanes> {
    densities: Vec<Density>,
    /// Where the core density switches the energy off, and over which width, eV.
    switch: [f64; 2],
    /// The products that it has.
    trie: Trie,
    /// (groups, n_coefficients, densities of the group).
    folded: Vec<V::Real>,
}

/// The slopes of the repulsion between the centres and their neighbours in a slot.
#[derive(Clone, Copy)]
pub(crate) struct Push<V> {
    slot: u32,
    slope: V,
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
        let species = embedding.species.iter().zip(&spec.weights).map(|(e, weights)| {
            let (trie, n) = (program.trie_of(weights), e.densities.len());
            let folded = reals(&in_groups(&program.fold_densities(&trie, weights, n), n));
            Species { densities: Density::of(e), switch: e.core, trie, folded }
        });
        let core = embedding.core.as_ref().map(|core| Core::new(core, numbers, tables));
        let n_species = numbers.len();
        let above = |r: f64| V::Real::of(r * (1.0 + 1e-6));
        let lengths = |of: &dyn Fn(&Core, usize) -> f64| {
            let by_pair = |core| (0..n_species * n_species).map(|pair| above(of(core, pair))).collect();
            core.as_ref().map_or(vec![], by_pair)
        };
        // Neighbours further outside than any inner cutoff is wide change nothing.
        let near = |core: &Core, pair: usize| {
            let pairs = pair / n_species * n_species..(pair / n_species + 1) * n_species;
            core.begin(pair) + pairs.map(|p| core.width(p)).fold(0.0, f64::max)
        };
        let (reach, near) = (lengths(&|core, pair| core.pairs[pair].reach), lengths(&near));
        Embedded { species: species.collect(), core, reach, near, n_species }
    }

    /// Beyond this distance neighbours of an ordered pair change nothing but through `A`, Å.
    pub fn reach(&self, pair: usize) -> f64 {
        self.core.as_ref().map_or(0.0, |core| core.pairs[pair].reach.max(core.begin(pair) + core.width(pair)))
    }

    /// Bytes of coefficients.
    pub fn bytes(&self) -> usize {
        self.species.iter().map(|s| std::mem::size_of_val(&s.folded[..])).sum()
    }

    /// The site energies from `A`; where `gradient` is given its adjoint, and the gradients of all that does not go through `A`.
    #[inline(never)]
    pub fn eval(
        &self,
        program: &Program,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        mut gradient: Option<&mut [[V; 3]]>,
    ) -> V {
        V::vectorize(
            #[inline(always)]
            || {
                let Species { densities, trie, folded, .. } = &self.species[block.species];
                let n = densities.len();
                let s = at_least(&mut ws.s, trie.nodes.len() * n, V::zero());
                let rho = at_least(&mut ws.rho, 2 * n, V::zero());
                let (rho, u) = rho.split_at_mut(n);
                trie.densities(folded, &ws.a, s, rho);
                let mut energy = self.embed(block.species, rho, u);
                if let Some(core) = &self.core {
                    let share = self.core_energy(core, block, &mut energy, &mut ws.pushes, gradient.as_deref_mut());
                    if let Some(share) = share {
                        let share = vector::<V>(&share);
                        for u in &mut *u {
                            *u = *u * share;
                        }
                    }
                }
                if gradient.is_some() {
                    let a_bar = at_least(&mut ws.a_bar, program.n_a, V::zero());
                    let p = at_least(&mut ws.p, trie.n_inner(), V::zero());
                    trie.densities_adjoint(folded, &ws.a, s, u, p, a_bar);
                }
                vector(&energy)
            },
        )
    }

    /// `∂E/∂ρ_p` of the many-body energy from `A`, as if there were no repulsion; 0 for densities that the species lacks.
    pub fn slopes(&self, species: usize, ws: &mut Scratch<V>, out: &mut [V]) {
        out.fill(V::zero());
        let Species { densities, trie, folded, .. } = &self.species[species];
        let n = densities.len();
        let s = at_least(&mut ws.s, trie.nodes.len() * n, V::zero());
        let rho = at_least(&mut ws.rho, n, V::zero());
        trie.densities(folded, &ws.a, s, rho);
        self.embed(species, rho, &mut out[..n]);
    }

    /// `Σ_p w_p F(ρ_p)`, and its derivatives with respect to `ρ_p` into `u`.
    #[inline(never)]
    fn embed(&self, species: usize, rho: &[V], u: &mut [V]) -> ByLane {
        V::vectorize(
            #[inline(always)]
            || {
                let mut energy = [0.0; MAX_LANES];
                for (density, (rho, u)) in self.species[species].densities.iter().zip(rho.iter().zip(u)) {
                    let rho = by_lane(*rho);
                    let [f, df] = widely::<V, 2>(
                        #[inline(always)]
                        |first| density.eval(V::Wide::load(&rho[first..])),
                    );
                    for (energy, f) in energy.iter_mut().zip(f) {
                        *energy += f;
                    }
                    *u = vector(&df);
                }
                energy
            },
        )
    }

    /// Turns the many-body energy into that of the site; returns the share of it that is left, where that may be less than all.
    #[inline(never)]
    fn core_energy(
        &self,
        core: &Core,
        block: &Block<V>,
        energy: &mut ByLane,
        pushes: &mut Vec<Push<V>>,
        gradient: Option<&mut [[V; 3]]>,
    ) -> Option<ByLane> {
        V::vectorize(
            #[inline(always)]
            || match core.inner {
                InnerCutoff::Zbl => self.shared(core, block, energy, pushes, gradient),
                _ => self.added(core, block, energy, pushes, gradient),
            },
        )
    }

    /// Repulsion that takes the place of the many-body energy where a neighbour is inside its inner cutoff.
    #[inline(always)]
    fn shared(
        &self,
        core: &Core,
        block: &Block<V>,
        energy: &mut ByLane,
        pushes: &mut Vec<Push<V>>,
        mut gradient: Option<&mut [[V; 3]]>,
    ) -> Option<ByLane> {
        let (many_body, mut share) = (*energy, [1.0; MAX_LANES]);
        let closest = self.closest(core, block)?;
        let sums = self.repulsion(core, block, pushes);
        for lane in 0..V::N {
            let Some((pair, slot, r)) = closest[lane] else { continue };
            let [f, df] = core.share(pair, V::Wide::splat(r)).map(|x| x.to_array()[0]);
            share[lane] = f;
            energy[lane] = f * many_body[lane] + (1.0 - f) * sums[lane];
            if let Some(gradient) = gradient.as_deref_mut() {
                let mut slope = [0.0; MAX_LANES];
                slope[lane] = (many_body[lane] - sums[lane]) * df;
                push(block, slot, vector(&slope), gradient);
            }
        }
        if let Some(gradient) = gradient {
            let rest = vector::<V>(&share.map(|f| 1.0 - f));
            for p in pushes.iter() {
                push(block, p.slot as usize, rest * p.slope, gradient);
            }
        }
        Some(share)
    }

    /// Repulsion beside a many-body energy that it switches off.
    #[inline(always)]
    fn added(
        &self,
        core: &Core,
        block: &Block<V>,
        energy: &mut ByLane,
        pushes: &mut Vec<Push<V>>,
        gradient: Option<&mut [[V; 3]]>,
    ) -> Option<ByLane> {
        let (many_body, mut share) = (*energy, [1.0; MAX_LANES]);
        let sums = self.repulsion(core, block, pushes);
        let [cut, width] = self.species[block.species].switch;
        // A switch wider than its cutoff is not 1 without repulsion either.
        if pushes.is_empty() && cut >= width {
            return None;
        }
        let [f, df] = widely::<V, 2>(
            #[inline(always)]
            |first| switch(V::Wide::load(&sums[first..]), cut, width),
        );
        let mut factor = [0.0; MAX_LANES];
        for lane in 0..V::N {
            (share[lane], factor[lane]) = (f[lane], 1.0 + many_body[lane] * df[lane]);
            energy[lane] = f[lane] * many_body[lane] + sums[lane];
        }
        if let Some(gradient) = gradient {
            let factor = vector::<V>(&factor);
            for p in pushes.iter() {
                push(block, p.slot as usize, factor * p.slope, gradient);
            }
        }
        Some(share)
    }

    /// `Σ_j V(r_ij)` of each centre; `pushes` lists the edges that take part.
    #[inline(never)]
    fn repulsion(&self, core: &Core, block: &Block<V>, pushes: &mut Vec<Push<V>>) -> ByLane {
        V::vectorize(
            #[inline(always)]
            || {
                let mut sums = [0.0; MAX_LANES];
                pushes.clear();
                for slot in self.slots_below(&self.reach, block) {
                    if !self.any_below(&self.reach, block, slot) {
                        continue;
                    }
                    let [v, dv] = self.repulsion_of(core, block, slot);
                    for (sum, v) in sums.iter_mut().zip(v) {
                        *sum += v;
                    }
                    pushes.push(Push { slot: slot as u32, slope: vector(&dv) });
                }
                sums
            },
        )
    }

    /// `V(r)` and its slope of the edges of a slot.
    #[inline(always)]
    fn repulsion_of(&self, core: &Core, block: &Block<V>, slot: usize) -> [ByLane; 2] {
        let (r, mask) = (by_lane(block.r[slot]), by_lane(block.mask[slot]));
        if let Some(pair) = block.common_pair(slot, self.n_species) {
            return widely::<V, 2>(
                #[inline(always)]
                |first| {
                    let mask = V::Wide::load(&mask[first..]);
                    let [v, dv] = core.eval(pair, V::Wide::load(&r[first..]));
                    [v * mask, dv * mask]
                },
            );
        }
        let (pairs, mut lanes) = (block.pairs(slot, self.n_species), [[0.0; MAX_LANES]; 2]);
        for lane in 0..V::N {
            let v = core.eval(pairs[lane], V::Wide::splat(r[lane]));
            for (x, v) in lanes.iter_mut().zip(v) {
                x[lane] = v.to_array()[0] * mask[lane];
            }
        }
        lanes
    }

    /// All slots, or none where no distance is below that of its pair.
    #[inline(always)]
    fn slots_below(&self, lengths: &[V::Real], block: &Block<V>) -> Range<usize> {
        let mut depth = V::zero();
        for slot in 0..block.n_slots {
            depth = depth.max(self.lengths(lengths, block, slot) - block.r[slot]);
        }
        0..if V::zero().any_lt(depth) { block.n_slots } else { 0 }
    }

    /// Is any distance of the slot below that of its pair?
    #[inline(always)]
    fn any_below(&self, lengths: &[V::Real], block: &Block<V>, slot: usize) -> bool {
        block.r[slot].any_lt(self.lengths(lengths, block, slot))
    }

    /// The length that belongs to the pair of each lane.
    #[inline(always)]
    fn lengths(&self, lengths: &[V::Real], block: &Block<V>, slot: usize) -> V {
        match block.common_pair(slot, self.n_species) {
            Some(pair) => V::splat(lengths[pair]),
            None => {
                let pairs = block.pairs(slot, self.n_species);
                V::from_fn(|lane| lengths[pairs[lane]])
            }
        }
    }

    /// Pair, slot and distance of the neighbour of each centre that is furthest inside its inner cutoff; `None` where all
    /// centres are without one.
    #[inline(always)]
    fn closest(&self, core: &Core, block: &Block<V>) -> Option<[Option<(usize, usize, f64)>; MAX_LANES]> {
        if self.slots_below(&self.near, block).is_empty() {
            return None;
        }
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

/// Adds `slope · r̂` to the gradients of a slot.
#[inline(always)]
fn push<V: Lanes>(block: &Block<V>, slot: usize, slope: V, gradient: &mut [[V; 3]]) {
    let ([x, y, z, inv_r], g) = (block.vectors(slot), &mut gradient[slot]);
    let k = slope * inv_r;
    *g = [k.mul_add(x, g[0]), k.mul_add(y, g[1]), k.mul_add(z, g[2])];
}

#[inline(always)]
fn by_lane<V: Lanes>(x: V) -> ByLane {
    let (x, mut out) = (x.to_array(), [0.0; MAX_LANES]);
    for lane in 0..V::N {
        out[lane] = x[lane].to_f64();
    }
    out
}

#[inline(always)]
fn vector<V: Lanes>(x: &ByLane) -> V {
    V::from_fn(|lane| V::Real::of(x[lane]))
}

/// What `f` says in double precision, as many lanes at a time, from each first one on.
#[inline(always)]
fn widely<V: Lanes, const K: usize>(f: impl Fn(usize) -> [V::Wide; K]) -> [ByLane; K] {
    let mut out = [[0.0; MAX_LANES]; K];
    for first in (0..V::N).step_by(V::Wide::N) {
        for (out, x) in out.iter_mut().zip(f(first)) {
            x.store(&mut out[first..]);
        }
    }
    out
}

/// Coefficients (n_coefficients, n) in groups of densities.
fn in_groups(c: &[f64], n: usize) -> Vec<f64> {
    let groups = (0..n).step_by(GROUP).map(|first| first..(first + GROUP).min(n));
    groups.flat_map(|group| c.chunks(n.max(1)).flat_map(move |c| c[group.clone()].iter().copied())).collect()
}
