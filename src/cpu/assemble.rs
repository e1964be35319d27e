//! Design rows of a structure: `E`, `F` and `V` as linear functions of the parameters.
//!
//! A task owns the columns of some basis functions of one part and one centre species: it visits the
//! centres of that species alone, and no two tasks write to one place. Every column is summed in the
//! order of the blocks, whatever the number of threads.

use super::{Cpu, Worker};
use crate::graph::{Graph, Sites};
use crate::memory::at_least;
use crate::parallel::{self, Disjoint};
use crate::potential::Rows;
use crate::simd::{Lanes, Real, as_reals};
use crate::stage::block::{Block, Cutoff, NONE};
use crate::{Error, Result};
use ndarray::ArrayViewMut2;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Most functions a task has at once.
const MAX_TILE: usize = 256;

/// Row of each component among nine, and the nine as pairs of axes.
const VOIGT: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)];

/// Memory of one task.
pub(super) struct Scratch<V: Lanes> {
    /// Row-major force rows, where the caller wants columns.
    forces: Vec<f64>,
    /// `Σ_s ∂B/∂r` of the centres.
    own: Vec<[V; 3]>,
    /// `Σ_s ∂B/∂r ⊗ r`, upper triangle in Voigt order.
    virial: Vec<[V; 6]>,
}

impl<V: Lanes> Default for Scratch<V> {
    fn default() -> Self {
        Scratch { forces: vec![], own: vec![], virial: vec![] }
    }
}

/// Some basis functions of one part, for centres of one species.
#[derive(Clone)]
struct Task {
    part: usize,
    species: usize,
    functions: Range<usize>,
    /// First column.
    column: usize,
}

/// A matrix that tasks write to in columns of their own.
#[derive(Clone, Copy)]
struct Target<'a> {
    data: Disjoint<'a, f64>,
    strides: [usize; 2],
    n_rows: usize,
}

impl<'a> Target<'a> {
    /// Of a matrix whose rows, or columns, follow one another; it starts as zero.
    fn new(matrix: &'a mut ArrayViewMut2<f64>) -> Target<'a> {
        matrix.fill(0.0);
        let (n_rows, n_columns) = matrix.dim();
        let strides = [matrix.strides()[0], matrix.strides()[1]].map(|s| s as usize);
        let last = |n: usize, stride: usize| n.saturating_sub(1) * stride;
        let len = if matrix.is_empty() { 0 } else { last(n_rows, strides[0]) + last(n_columns, strides[1]) + 1 };
        // SAFETY: the view has its entries for itself as long as it is borrowed, strides are positive (see `Rows`), and `len`
        // reaches from the first of them to the last.
        Target { strides, n_rows, data: unsafe { Disjoint::from_raw(matrix.as_mut_ptr(), len) } }
    }

    #[inline(always)]
    fn add(&self, row: usize, column: usize, x: f64) {
        // SAFETY: the column belongs to the task that calls.
        unsafe { *self.data.entry(row * self.strides[0] + column * self.strides[1]) += x }
    }
}

/// Force rows of a task: row `r` starts at `start + r · ld`.
#[derive(Clone, Copy)]
struct ForceRows<'a> {
    data: Disjoint<'a, f64>,
    start: usize,
    ld: usize,
}

impl ForceRows<'_> {
    /// The entries `b .. b + n` of row `row`.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    fn entries(&self, row: usize, b: usize, n: usize) -> &mut [f64] {
        // SAFETY: the columns belong to the task that calls, and it holds one such slice at a time.
        unsafe { self.data.slice(self.start + row * self.ld + b, n) }
    }
}

impl<V: Lanes> Cpu<V> {
    pub(super) fn assemble_rows(&self, sites: Sites, rows: &mut Rows) -> Result<()> {
        let graph = sites.graph;
        let mut call = self.calls.take();
        call.schedule.fill(graph, sites.species, V::N, self.by_species());
        let schedule = &call.schedule;
        let mut energy = rows.energy.as_mut().map(|row| row.view_mut().insert_axis(ndarray::Axis(0)));
        let energy = energy.as_mut().map(Target::new);
        let [forces, virial] = [&mut rows.forces, &mut rows.virial].map(|m| m.as_mut().map(Target::new));
        if forces.is_some() || virial.is_some() {
            self.check_memory(schedule, |part| part.slot_bytes(), 0)?;
        }
        let not_finite = AtomicU32::new(u32::MAX);
        // Zero times anything finite is zero.
        let note = |numbers: &mut dyn Iterator<Item = V>, block: &Block<V>| {
            let sum = V::vectorize(
                #[inline(always)]
                || numbers.fold(V::zero(), |sum, x| x.mul_add(V::zero(), sum)),
            );
            let bad = block.centres.iter().zip(sum.to_array()).filter(|(_, x)| x.to_f64() != 0.0);
            bad.for_each(|(&i, _)| {
                not_finite.fetch_min(i, Relaxed);
            });
        };
        let tasks = self.tasks();
        parallel::for_each_init(
            tasks.len(),
            || self.workers.take(),
            |worker, task| {
                let task = &tasks[task];
                let Worker { block, scratch, basis, slot, assembly, .. } = &mut **worker;
                let part = &self.parts[task.part];
                let n = task.functions.len();
                let force_rows = forces.map(|f| match f.strides {
                    [ld, 1] => ForceRows { data: f.data, start: task.column, ld },
                    _ => {
                        let buffer = at_least(&mut assembly.forces, f.n_rows * n, 0.0);
                        buffer.fill(0.0);
                        ForceRows { data: Disjoint::new(buffer), start: 0, ld: n }
                    }
                });
                for &entry in schedule.entries.iter().filter(|e| e.species as usize == task.species) {
                    let centres = schedule.centres(entry);
                    let cutoff = Cutoff { rcut: part.rcut(), by_species: part.by_species(), of_pairs: &[] };
                    block.pack(sites, task.species, centres, cutoff, |_| {});
                    let values = at_least(basis, part.n_basis(), V::zero());
                    part.basis(block, scratch, force_rows.is_some() || virial.is_some(), values);
                    let lanes = block.centres.len();
                    note(&mut values[task.functions.clone()].iter().copied(), block);
                    if let Some(energy) = energy {
                        for (k, b) in task.functions.clone().enumerate() {
                            let sum: f64 = values[b].to_array()[..lanes].iter().map(|x| x.to_f64()).sum();
                            energy.add(0, task.column + k, sum);
                        }
                    }
                    if force_rows.is_none() && virial.is_none() {
                        continue;
                    }
                    let own = at_least(&mut assembly.own, n, [V::zero(); 3]);
                    own.fill([V::zero(); 3]);
                    let sums = at_least(&mut assembly.virial, n, [V::zero(); 6]);
                    sums.fill([V::zero(); 6]);
                    let slot = at_least(slot, V::N, [V::zero(); 3]);
                    for s in 0..block.n_slots {
                        part.open_slot(block, s, scratch);
                        for b in (0..n).step_by(V::N) {
                            let slot = &mut slot[..V::N.min(n - b)];
                            part.jacobian(task.functions.start + b, scratch, slot);
                            V::vectorize(
                                #[inline(always)]
                                || {
                                    let (own, sums) = (&mut own[b..], &mut sums[b..]);
                                    add_slot(graph, block, s, slot, b, force_rows, own, sums);
                                },
                            );
                        }
                    }
                    note(&mut own.as_flattened().iter().copied(), block);
                    if let Some(rows) = force_rows {
                        V::vectorize(
                            #[inline(always)]
                            || add_own(block, own, rows),
                        );
                    }
                    if let Some(virial) = virial {
                        for (k, sums) in sums.iter().enumerate() {
                            let sums = sums.map(|s| -s.to_array()[..lanes].iter().map(|x| x.to_f64()).sum::<f64>());
                            for (v, (&(a, b), sum)) in VOIGT.iter().zip(sums).enumerate() {
                                let column = task.column + k;
                                if virial.n_rows == 6 {
                                    virial.add(v, column, sum);
                                    continue;
                                }
                                virial.add(3 * a + b, column, sum);
                                if a != b {
                                    virial.add(3 * b + a, column, sum);
                                }
                            }
                        }
                    }
                }
                if let (Some(f), Some(rows)) = (forces, force_rows)
                    && f.strides[1] != 1
                {
                    transpose(f, rows, n, task.column);
                }
            },
        );
        match not_finite.into_inner() {
            u32::MAX => Ok(()),
            i => Err(Error::NotFinite(format!("the basis of atom {i} or its derivatives are not finite"))),
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let threads = parallel::n_threads();
        let mut tasks = Vec::new();
        for (part, (p, offset)) in self.parts.iter().zip(&self.offsets).enumerate() {
            let n = p.n_basis();
            let share = n.div_ceil(threads.div_ceil(self.n_species)).next_multiple_of(V::N);
            let tile = share.clamp(V::N, MAX_TILE);
            for species in 0..self.n_species {
                for start in (0..n).step_by(tile) {
                    let functions = start..(start + tile).min(n);
                    let column = offset.parameter + species * n + start;
                    tasks.push(Task { part, species, functions, column });
                }
            }
        }
        tasks
    }
}

/// `F_j −= ∂B/∂r` for the edges of a slot; sums for the centre and the virial.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn add_slot<V: Lanes>(
    graph: &Graph,
    block: &Block<V>,
    s: usize,
    slot: &[[V; 3]],
    b: usize,
    rows: Option<ForceRows>,
    own: &mut [[V; 3]],
    virial: &mut [[V; 6]],
) {
    let r = [block.x[s], block.y[s], block.z[s]];
    for ((g, own), virial) in slot.iter().zip(own).zip(virial) {
        for a in 0..3 {
            own[a] = own[a] + g[a];
        }
        for (v, &(a, b)) in virial.iter_mut().zip(&VOIGT) {
            *v = g[a].mul_add(r[b], *v);
        }
    }
    let Some(rows) = rows else { return };
    let n = slot.len();
    for axis in 0..3 {
        let by_lane = transposed(slot, axis);
        for (&e, g) in block.edges(s).iter().zip(&by_lane) {
            if e != NONE {
                let row = 3 * graph.neighbours()[e as usize] as usize + axis;
                subtract(rows.entries(row, b, n), g);
            }
        }
    }
}

/// `F_i += Σ ∂B/∂r` for the centres of a block.
#[inline(always)]
fn add_own<V: Lanes>(block: &Block<V>, own: &[[V; 3]], rows: ForceRows) {
    for (k, own) in own.chunks(V::N).enumerate() {
        for axis in 0..3 {
            let by_lane = transposed(own, axis);
            for (&i, g) in block.centres.iter().zip(&by_lane) {
                subtract(rows.entries(3 * i as usize + axis, k * V::N, own.len()), &-*g);
            }
        }
    }
}

/// One axis of up to `N` vectors, with functions in the lanes: one vector a centre.
#[inline(always)]
fn transposed<V: Lanes>(slot: &[[V; 3]], axis: usize) -> [V; crate::simd::MAX_LANES] {
    let mut rows = [V::zero(); crate::simd::MAX_LANES];
    for (row, g) in rows.iter_mut().zip(slot) {
        *row = g[axis];
    }
    V::transpose(&mut rows);
    rows
}

#[inline(always)]
fn subtract<V: Lanes>(row: &mut [f64], g: &V) {
    let g = as_reals(std::slice::from_ref(g));
    if row.len() == V::N {
        for k in 0..V::N {
            row[k] -= g[k].to_f64();
        }
    } else {
        for (x, g) in row.iter_mut().zip(g) {
            *x -= g.to_f64();
        }
    }
}

/// Copies finished rows into the columns of the caller.
fn transpose(to: Target, from: ForceRows, n: usize, column: usize) {
    const TILE: usize = 16;
    for r0 in (0..to.n_rows).step_by(TILE) {
        for k in 0..n {
            let rows = r0..(r0 + TILE).min(to.n_rows);
            // SAFETY: the column belongs to this task.
            let out = unsafe { to.data.slice((column + k) * to.strides[1] + rows.start, rows.len()) };
            for (x, r) in out.iter_mut().zip(rows) {
                *x = from.entries(r, k, 1)[0];
            }
        }
    }
}
