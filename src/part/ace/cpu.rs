//! The many-body model: `E_i = Σ_k c[z_i, k] AA_k`, `B_b = Σ_k C[b, k] AA_k`.

use super::AceSpec;
use super::embedded::{self, Embedded};
use super::pooling::Pooling;
use super::program::Program;
use crate::memory::at_least;
use crate::part::cpu::{Scratch, SitePart, reals};
use crate::simd::Lanes;
use crate::stage::angular::{Angular, n_harmonics};
use crate::stage::block::Block;
use crate::stage::features::Features;
use crate::stage::mix::{self, Mixed};
use crate::stage::pool::{self, Slots};
use crate::stage::rows::{CHUNK, ENERGY_CHUNK, RadialRows};
use crate::stage::table::{RadialMode, Table};

pub(crate) struct Ace<V: Lanes> {
    program: Program,
    rows: RadialRows<V>,
    angular: Angular<V>,
    /// What is pooled for energies, and for the basis.
    energies: Pooling,
    functions: Pooling,
    /// Folded coefficients, (n_readouts, n_species, n_coefficients).
    folded: Vec<Vec<V::Real>>,
    /// Instead of these.
    embedded: Option<Embedded<V>>,
    features: Option<Features>,
}

impl<V: Lanes> Ace<V> {
    /// `numbers` are those of the model's species.
    pub fn new(numbers: &[u8], spec: &AceSpec, mode: RadialMode) -> Ace<V> {
        let (program, tables) = Program::with_mode(numbers.len(), spec, mode);
        let embedded = spec.embedding.as_ref().map(|e| Embedded::new(&program, spec, e, numbers, tables));
        let features = spec.embedding.as_ref().and_then(|e| embedded::features(e));
        let table = Table::for_mode(&program.radial, program.rcut, mode);
        let functions = Pooling::functions(&program);
        let energies = if table.is_some() { functions.clone() } else { Pooling::cheapest(&program) };
        let rows = RadialRows::new(program.radial.clone(), table);
        let angular = Angular::new(program.lmax, program.spherical);
        Ace { rows, angular, energies, functions, folded: Vec::new(), embedded, features, program }
    }

    /// Functions of a slot, padding included.
    fn stride(&self, pooling: &Pooling) -> usize {
        if pooling.has_polynomials() { pooling.n_q + pooling.columns.len() } else { self.rows.stride() }
    }

    /// Functions, harmonics and `A`. Where `KEEP`, those of all slots stay in `ws`, with derivatives.
    fn forward<const KEEP: bool>(&self, pooling: &Pooling, block: &Block<V>, ws: &mut Scratch<V>) {
        let p = &self.program;
        let (stride, n_y) = (self.stride(pooling), n_harmonics(p.lmax));
        // Radial functions come for pairs of slots.
        let chunk = if KEEP { CHUNK } else { ENERGY_CHUNK };
        let kept = if KEEP { block.n_slots + 1 } else { chunk };
        let r = at_least(&mut ws.r, stride * kept, V::zero());
        let dr = at_least(&mut ws.dr, stride * kept, V::zero());
        let y = at_least(&mut ws.y, n_y * kept, V::zero());
        let a = at_least(&mut ws.a, p.n_a + pooling.n_mixed, V::zero());
        // The first slots overwrite what is there; the first of another species only what is to be mixed, which it has to itself.
        let mut fresh = 0;
        if block.n_slots == 0 || p.has_channels() {
            a.fill(V::zero());
            fresh = p.n_a;
        }
        for Mixed { to, .. } in &pooling.channels[0].mixed {
            a[to.a0..][..to.n * to.width()].fill(V::zero());
        }
        for segment in &block.segments {
            let pair = block.species * p.n_species + segment.species;
            let channel = pooling.channel(segment.species);
            for start in segment.slots.clone().step_by(chunk) {
                let slots = start..(start + chunk).min(segment.slots.end);
                let (at, n) = (if KEEP { start } else { 0 }, slots.len());
                let (r, dr) = (&mut r[at * stride..], &mut dr[at * stride..]);
                let y = &mut y[at * n_y..][..n * n_y];
                if pooling.has_polynomials() {
                    let (at, what) = ((pair, slots.clone()), (pooling.n_q, pooling.columns.clone()));
                    self.rows.polynomials_of_slots::<KEEP>(block, at, what, &mut ws.rows, r, dr);
                } else {
                    self.rows.eval_slots::<KEEP>(block, slots.clone(), &mut ws.rows, r, dr);
                }
                self.angular.eval_slots(block, slots, y);
                pool::pool(&channel.shells, Slots { r, dr, y, n_r: stride, n_y }, n, fresh, a);
                fresh = usize::MAX;
            }
            fresh = p.n_a;
            if pooling.n_mixed > 0 {
                let (a, pooled) = a.split_at_mut(p.n_a);
                mix::mix(&channel.mixed, self.rows.weights_of(pair), pooled, a);
            }
        }
    }

    /// `∂E/∂r` of the edges, from the adjoint of `A`.
    #[inline(never)]
    fn backward(&self, block: &Block<V>, ws: &mut Scratch<V>, gradient: &mut [[V; 3]]) {
        V::vectorize(
            #[inline(always)]
            || self.backward_inner(block, ws, gradient),
        )
    }

    #[inline(always)]
    fn backward_inner(&self, block: &Block<V>, ws: &mut Scratch<V>, gradient: &mut [[V; 3]]) {
        let (p, pooling) = (&self.program, &self.energies);
        let (stride, n_y) = (self.stride(pooling), n_harmonics(p.lmax));
        let y_bar = at_least(&mut ws.y_bar, CHUNK * n_y, V::zero());
        let mut radial = [V::zero(); CHUNK];
        // Shells need not exist for every l, and another part may have left its adjoint.
        y_bar.fill(V::zero());
        let a_bar = &mut ws.a_bar[..p.n_a + pooling.n_mixed];
        let slots = Slots { r: &ws.r, dr: &ws.dr, y: &ws.y, n_r: stride, n_y };
        for segment in &block.segments {
            let channel = pooling.channel(segment.species);
            if pooling.n_mixed > 0 {
                let (a_bar, pooled_bar) = a_bar.split_at_mut(p.n_a);
                let pair = block.species * p.n_species + segment.species;
                mix::pullback(&channel.mixed, self.rows.weights_of(pair), a_bar, pooled_bar);
            }
            for first in segment.slots.clone().step_by(CHUNK) {
                let these = first..(first + CHUNK).min(segment.slots.end);
                let (n, slots) = (these.len(), slots.from(first));
                pool::pullback(&channel.shells, slots, n, a_bar, y_bar, &mut radial);
                self.angular.pullback_slots(block, these, (slots.y, y_bar), &radial, gradient);
            }
        }
    }

    /// The basis functions from `A`.
    fn couple(&self, ws: &mut Scratch<V>, out: &mut [V]) {
        let coupling = &self.program.coupling;
        let monomials = at_least(&mut ws.monomials, coupling.n_monomials(), V::zero());
        V::vectorize(
            #[inline(always)]
            || {
                coupling.monomials(&ws.a, monomials);
                coupling.basis(monomials, out);
            },
        );
    }

    #[inline(never)]
    fn product<const GRAD: bool>(&self, readout: usize, species: usize, ws: &mut Scratch<V>) -> V {
        let trie = &self.program.trie;
        let n = trie.n_coefficients();
        let c = &self.folded[readout][species * n..][..n];
        at_least(&mut ws.p, trie.n_inner(), V::zero());
        at_least(&mut ws.s, trie.n_inner(), V::zero());
        let n_a = self.program.n_a;
        let a_bar = &mut at_least(&mut ws.a_bar, n_a + self.energies.n_mixed, V::zero())[..n_a];
        V::vectorize(
            #[inline(always)]
            || trie.eval::<V, GRAD>(c, &ws.a, a_bar, &mut ws.p, &mut ws.s),
        )
    }
}

impl<V: Lanes> SitePart<V> for Ace<V> {
    fn rcut(&self) -> f64 {
        self.program.rcut
    }

    fn by_species(&self) -> bool {
        self.energies.has_polynomials() || self.program.has_channels()
    }

    fn of_pairs(&self) -> Vec<f64> {
        let embedded = |pair| self.embedded.as_ref().map_or(0.0, |e| e.reach(pair));
        let functions = self.program.radial.cutoffs().into_iter().enumerate();
        functions.map(|(pair, rcut)| f64::max(rcut, embedded(pair))).collect()
    }

    fn n_basis(&self) -> usize {
        if self.embedded.is_some() { 0 } else { self.program.n_basis }
    }

    fn set_readouts(&mut self, weights: &[&[f64]]) {
        if self.embedded.is_some() {
            return;
        }
        self.folded = weights.iter().map(|w| reals(&self.program.fold(w))).collect();
    }

    fn energy(&self, block: &Block<V>, ws: &mut Scratch<V>, first: usize, energy: &mut [V]) {
        self.forward::<false>(&self.energies, block, ws);
        if let Some(embedded) = &self.embedded {
            let e = embedded.eval(&self.program, block, ws, None);
            energy.iter_mut().for_each(|energy| *energy = *energy + e);
            return;
        }
        for (k, e) in energy.iter_mut().enumerate() {
            *e = *e + self.product::<false>(first + k, block.species, ws);
        }
    }

    fn energy_gradient(
        &self,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        first: usize,
        energy: &mut [V],
        gradient: &mut [[V; 3]],
    ) {
        self.forward::<true>(&self.energies, block, ws);
        if let Some(embedded) = &self.embedded {
            // The same for all readouts.
            at_least(&mut ws.a_bar, self.program.n_a + self.energies.n_mixed, V::zero());
            for (k, e) in energy.iter_mut().enumerate() {
                let gradient = &mut gradient[k * block.n_slots..][..block.n_slots];
                *e = *e + embedded.eval(&self.program, block, ws, Some(&mut *gradient));
                self.backward(block, ws, gradient);
            }
            return;
        }
        for (k, e) in energy.iter_mut().enumerate() {
            *e = *e + self.product::<true>(first + k, block.species, ws);
            self.backward(block, ws, &mut gradient[k * block.n_slots..][..block.n_slots]);
        }
    }

    fn basis(&self, block: &Block<V>, ws: &mut Scratch<V>, jacobian: bool, out: &mut [V]) {
        if self.embedded.is_some() {
            return;
        }
        let coupling = &self.program.coupling;
        match jacobian {
            true => self.forward::<true>(&self.functions, block, ws),
            false => self.forward::<false>(&self.functions, block, ws),
        }
        self.couple(ws, &mut out[..self.program.n_basis]);
        if jacobian {
            let derivatives = at_least(&mut ws.derivatives, coupling.n_derivatives(), V::zero());
            V::vectorize(
                #[inline(always)]
                || coupling.derivatives(&ws.monomials, derivatives),
            );
        }
    }

    fn open_slot(&self, block: &Block<V>, slot: usize, ws: &mut Scratch<V>) {
        let p = &self.program;
        if self.embedded.is_some() {
            return;
        }
        let (stride, n_y) = (self.rows.stride(), n_harmonics(p.lmax));
        let da = at_least(&mut ws.da, p.n_a, [V::zero(); 3]);
        let mut channel = 0;
        if p.has_channels() {
            da.fill([V::zero(); 3]);
            channel = p.channel(block.common_pair(slot, p.n_species).map_or(0, |pair| pair % p.n_species));
        }
        let dy = at_least(&mut ws.dy, n_y, [V::zero(); 3]);
        V::vectorize(
            #[inline(always)]
            || {
                let (r, dr, y) = (&ws.r[slot * stride..], &ws.dr[slot * stride..], &ws.y[slot * n_y..][..n_y]);
                self.angular.gradients(block.vectors(slot), y, dy);
                let k = block.inv_r[slot];
                let unit = [k * block.x[slot], k * block.y[slot], k * block.z[slot]];
                for shell in &p.shells {
                    let width = shell.width();
                    for n in 0..shell.n {
                        let (r, dr) = (r[shell.t0 + n], dr[shell.t0 + n]);
                        let radial = unit.map(|u| u * dr);
                        for m in 0..width {
                            let lm = shell.l * shell.l + m;
                            da[channel + shell.a0 + n * width + m] =
                                std::array::from_fn(|x| radial[x].mul_add(y[lm], r * dy[lm][x]));
                        }
                    }
                }
            },
        );
    }

    fn jacobian(&self, first: usize, ws: &Scratch<V>, out: &mut [[V; 3]]) {
        let coupling = &self.program.coupling;
        V::vectorize(
            #[inline(always)]
            || {
                for (b, out) in out.iter_mut().enumerate() {
                    let range = coupling.derivatives_of(first + b);
                    let mut g = [V::zero(); 3];
                    for (&d, &v) in ws.derivatives[range.clone()].iter().zip(&coupling.derivative_v[range]) {
                        let da = &ws.da[v as usize];
                        g = [d.mul_add(da[0], g[0]), d.mul_add(da[1], g[1]), d.mul_add(da[2], g[2])];
                    }
                    *out = g;
                }
            },
        );
    }

    fn is_linear(&self) -> bool {
        self.embedded.is_none()
    }

    fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    fn write_features(&self, block: &Block<V>, ws: &mut Scratch<V>, out: &mut [V]) {
        let Some(embedded) = &self.embedded else { return };
        self.forward::<false>(&self.functions, block, ws);
        let (functions, slopes) = out.split_at_mut(self.program.n_basis);
        self.couple(ws, functions);
        embedded.slopes(block.species, ws, slopes);
    }

    fn bytes(&self) -> usize {
        let folded: usize = self.folded.iter().map(|c| std::mem::size_of_val(&c[..])).sum();
        self.rows.bytes() + folded + self.embedded.as_ref().map_or(0, Embedded::bytes)
    }

    fn slot_bytes(&self) -> usize {
        let stride = self.stride(&self.energies).max(self.rows.stride());
        (2 * stride + n_harmonics(self.program.lmax)) * size_of::<V>()
    }
}
