//! The pair model: `B_n = Σ_j R_n(r_ij; z_i, z_j)`.
//!
//! For energies the readout is folded into the radial functions: one function a species pair remains.

use super::PairSpec;
use crate::memory::at_least;
use crate::part::cpu::{Scratch, SitePart};
use crate::simd::Lanes;
use crate::stage::block::Block;
use crate::stage::radial::Radial;
use crate::stage::rows::RadialRows;
use crate::stage::table::{RadialMode, Table};

pub(crate) struct Pair<V: Lanes> {
    rcut: f64,
    radial: Radial,
    table: Option<Table>,
    rows: RadialRows<V>,
    /// One folded function a readout.
    folded: Vec<RadialRows<V>>,
}

impl<V: Lanes> Pair<V> {
    pub fn new(n_species: usize, spec: &PairSpec, mode: RadialMode) -> Pair<V> {
        let columns: Vec<usize> = (0..spec.weights[0].len()).collect();
        let radial = Radial::new(n_species, &spec.radial, &columns);
        let table = Table::for_mode(&radial, spec.rcut, mode);
        let rows = RadialRows::new(radial.clone(), table.clone());
        Pair { rcut: spec.rcut, radial, table, rows, folded: Vec::new() }
    }
}

impl<V: Lanes> SitePart<V> for Pair<V> {
    fn rcut(&self) -> f64 {
        self.rcut
    }

    fn by_species(&self) -> bool {
        false
    }

    fn n_basis(&self) -> usize {
        self.radial.n_t
    }

    fn set_readouts(&mut self, weights: &[&[f64]]) {
        let fold = |w: &&[f64]| RadialRows::single(self.radial.fold(w), self.table.as_ref().map(|t| t.fold(w)));
        self.folded = weights.iter().map(fold).collect();
    }

    fn energy(&self, block: &Block<V>, ws: &mut Scratch<V>, first: usize, energy: &mut [V]) {
        V::vectorize(
            #[inline(always)]
            || {
                for (rows, e) in self.folded[first..].iter().zip(energy) {
                    rows.for_single::<false>(
                        block,
                        0..block.n_slots,
                        &mut ws.rows,
                        #[inline(always)]
                        |_, f, _| *e = *e + f,
                    );
                }
            },
        );
    }

    fn energy_gradient(
        &self,
        block: &Block<V>,
        ws: &mut Scratch<V>,
        first: usize,
        energy: &mut [V],
        gradient: &mut [[V; 3]],
    ) {
        V::vectorize(
            #[inline(always)]
            || {
                for (k, (rows, e)) in self.folded[first..].iter().zip(energy).enumerate() {
                    let gradient = &mut gradient[k * block.n_slots..][..block.n_slots];
                    rows.for_single::<true>(
                        block,
                        0..block.n_slots,
                        &mut ws.rows,
                        #[inline(always)]
                        |s, f, df| {
                            *e = *e + f;
                            let (k, g) = (df * block.inv_r[s], &mut gradient[s]);
                            *g =
                                [k.mul_add(block.x[s], g[0]), k.mul_add(block.y[s], g[1]), k.mul_add(block.z[s], g[2])];
                        },
                    );
                }
            },
        );
    }

    fn basis(&self, block: &Block<V>, ws: &mut Scratch<V>, jacobian: bool, out: &mut [V]) {
        let n = self.n_basis();
        out[..n].fill(V::zero());
        let stride = self.rows.stride();
        let r = at_least(&mut ws.r, stride * block.n_slots, V::zero());
        let dr = at_least(&mut ws.dr, stride * block.n_slots, V::zero());
        match jacobian {
            true => self.rows.eval_slots::<true>(block, 0..block.n_slots, &mut ws.rows, r, dr),
            false => self.rows.eval_slots::<false>(block, 0..block.n_slots, &mut ws.rows, r, dr),
        }
        V::vectorize(
            #[inline(always)]
            || {
                for r in r.chunks(stride) {
                    for (b, &r) in out[..n].iter_mut().zip(r) {
                        *b = *b + r;
                    }
                }
            },
        );
    }

    fn open_slot(&self, block: &Block<V>, slot: usize, ws: &mut Scratch<V>) {
        let stride = self.rows.stride();
        let da = at_least(&mut ws.da, self.radial.n_t, [V::zero(); 3]);
        V::vectorize(
            #[inline(always)]
            || {
                let k = block.inv_r[slot];
                let unit = [k * block.x[slot], k * block.y[slot], k * block.z[slot]];
                for (da, &dr) in da.iter_mut().zip(&ws.dr[slot * stride..]) {
                    *da = unit.map(
                        #[inline(always)]
                        |u| u * dr,
                    );
                }
            },
        );
    }

    fn jacobian(&self, first: usize, ws: &Scratch<V>, out: &mut [[V; 3]]) {
        out.copy_from_slice(&ws.da[first..][..out.len()]);
    }

    fn bytes(&self) -> usize {
        self.rows.bytes() + self.folded.iter().map(RadialRows::bytes).sum::<usize>()
    }

    fn slot_bytes(&self) -> usize {
        2 * self.rows.stride() * size_of::<V>()
    }
}
