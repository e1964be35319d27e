//! Channels are the lanes. A task is some rows of one species and one vector of channels: the weights become the numbers of the
//! polynomial, which then serve all rows, a few at a time.

use super::program::Program;
use crate::ops::kernel::{Call, Kernel, Pass, Sizes, Source, Wanted, entries, load_part, store_part};
use crate::ops::scratch::{Scratch, lines};
use crate::ops::species::Groups;
use crate::parallel::{self, Disjoint};
use crate::simd::{Dual, Lanes, Real, Value};

pub(super) struct ContractionKernel<V: Lanes> {
    d: usize,
    n_paths: usize,
    n_out: usize,
    n_species: usize,
    channels: usize,
    products: Vec<[u32; 2]>,
    /// Runs of component `m`: `runs[first_run[m]..first_run[m + 1]]`; product and leaves of each.
    first_run: Vec<u32>,
    runs: Vec<[u32; 3]>,
    leaves: Vec<u32>,
    first_fold: Vec<u32>,
    fold: Vec<(u32, V::Real)>,
}

/// Rows that share a load of the numbers of the polynomial.
const ROWS: usize = 4;
/// Rows of a task: the polynomial is made once for them.
const TASK: usize = 128;

/// Intermediates of a task; `[value; ROWS]` side by side where there is one for each row.
struct Memory<'a, N: Value> {
    /// The numbers of the polynomial, and the sums that become their gradients.
    c: &'a mut [N],
    c_bar: &'a mut [N::Plain],
    a: &'a mut [N],
    a_bar: &'a mut [N::Plain],
    p: &'a mut [N],
    p_bar: &'a mut [N],
}

/// What a pass is to compute.
struct Results<'a, T> {
    out: Option<Disjoint<'a, T>>,
    x_bar: Option<Disjoint<'a, T>>,
    w_bar: Option<Disjoint<'a, T>>,
}

impl<V: Value<Plain = V>> ContractionKernel<V> {
    pub fn new(program: &Program, channels: usize, n_species: usize) -> Self {
        let first_run = (0..=program.n_out).map(|m| program.runs.partition_point(|r| (r.out as usize) < m) as u32);
        ContractionKernel {
            d: program.d,
            n_paths: program.n_paths,
            n_out: program.n_out,
            n_species,
            channels,
            products: program.products.clone(),
            first_run: first_run.collect(),
            runs: program.runs.iter().map(|r| [r.product, r.first_leaf, r.end_leaf]).collect(),
            leaves: program.leaves.clone(),
            first_fold: program.first_fold.clone(),
            fold: program.fold.iter().map(|&(path, value)| (path, V::Real::of(value))).collect(),
        }
    }

    fn lines_a_thread(&self) -> usize {
        let (a, p, c) = (self.d * ROWS, (self.products.len() + 1) * ROWS, self.leaves.len());
        lines::<Dual<V>>(c) + lines::<V>(c) + lines::<Dual<V>>(a) + lines::<V>(a) + 2 * lines::<Dual<V>>(p)
    }

    fn memory<'a, N: Value<Real = V::Real, Plain = V>>(&self, mut scratch: Scratch<'a>) -> Memory<'a, N> {
        let (a, p, c) = (self.d * ROWS, (self.products.len() + 1) * ROWS, self.leaves.len());
        Memory {
            c: scratch.values(c),
            c_bar: scratch.values(c),
            a: scratch.values(a),
            a_bar: scratch.values(a),
            p: scratch.values(p),
            p_bar: scratch.values(p),
        }
    }

    /// Forward where only `out` is asked for; gradients need the cotangent.
    fn run<N: Value<Real = V::Real, Plain = V>>(
        &self,
        groups: &Groups,
        [x, w]: [Source<V::Real>; 2],
        cotangent: &[V::Real],
        results: &Results<V::Real>,
        scratch: Scratch,
    ) {
        let chunks = self.channels.div_ceil(V::N);
        let shares = scratch.shares(parallel::n_threads(), self.lines_a_thread());
        let init = || self.memory::<N>(shares.next());
        let task = |memory: &mut Memory<N>, z: usize, chunk: usize, rows: &[u32]| {
            let at = chunk * V::N;
            V::vectorize(
                #[inline(always)]
                || self.task::<N>(memory, (z, rows), (at, V::N.min(self.channels - at)), [x, w], cotangent, results),
            );
        };
        if results.w_bar.is_some() {
            // All rows of a species together, in their order.
            parallel::for_each_init(self.n_species * chunks, init, |memory, k| {
                let (z, chunk) = (k / chunks, k % chunks);
                task(memory, z, chunk, groups.of(z));
            });
        } else {
            groups.for_parts_init(TASK, chunks, init, task);
        }
    }

    #[inline(always)]
    fn task<N: Value<Real = V::Real, Plain = V>>(
        &self,
        memory: &mut Memory<N>,
        (z, rows): (usize, &[u32]),
        (at, n): (usize, usize),
        [x, w]: [Source<V::Real>; 2],
        cotangent: &[V::Real],
        results: &Results<V::Real>,
    ) {
        let set = z * self.n_paths * self.channels + at;
        if !rows.is_empty() {
            self.fold_weights(w, set, n, memory.c);
        }
        memory.c_bar.fill(V::zero());
        let (x_width, out_width) = (self.d * self.channels, self.n_out * self.channels);
        for rows in rows.chunks(ROWS) {
            // Places of rows that are not there stay zero, and so does what comes of them.
            for q in 0..self.d {
                for b in 0..ROWS {
                    memory.a[q * ROWS + b] = match rows.get(b) {
                        Some(&row) => x.load(row as usize * x_width + q * self.channels + at, n),
                        None => N::zero(),
                    };
                }
            }
            self.products(memory);
            let gradients = results.x_bar.is_some() || results.w_bar.is_some();
            if gradients {
                memory.a_bar.fill(V::zero());
                memory.p_bar.fill(N::zero());
            }
            for m in 0..self.n_out {
                let place = |b: usize| rows.get(b).map(|&r| r as usize * out_width + m * self.channels + at);
                // What backward sums on its way is the result as well.
                let sums = if gradients {
                    let o = entries!(b < ROWS, V::zero() => match place(b) {
                        Some(at) => load_part(&cotangent[at..], n),
                        None => V::zero(),
                    });
                    self.pull_component(m, o, results.w_bar.is_some(), memory)
                } else {
                    self.component(m, memory)
                };
                if let Some(out) = results.out {
                    for (b, &sum) in sums.iter().enumerate().take(rows.len()) {
                        // SAFETY: these channels of this row are this task's alone.
                        let out = unsafe { out.slice(place(b).unwrap_or(0), n) };
                        store_part(sum, out, n);
                    }
                }
            }
            if let Some(x_bar) = results.x_bar {
                self.pull_products(memory);
                for (b, &row) in rows.iter().enumerate() {
                    for q in 0..self.d {
                        // SAFETY: these channels of this row, in every component, are this task's alone.
                        let x = unsafe { x_bar.slice(row as usize * x_width + q * self.channels + at, n) };
                        store_part(memory.a_bar[q * ROWS + b], x, n);
                    }
                }
            }
        }
        if let Some(w_bar) = results.w_bar {
            self.pull_weights(memory.c_bar, set, n, w_bar);
        }
    }

    /// `c = Σ value · W[path]`
    #[inline(always)]
    fn fold_weights<N: Value<Real = V::Real, Plain = V>>(&self, w: Source<V::Real>, set: usize, n: usize, c: &mut [N]) {
        for (c, range) in c.iter_mut().zip(self.first_fold.windows(2)) {
            *c = N::zero();
            for &(path, value) in &self.fold[range[0] as usize..range[1] as usize] {
                *c = w.load::<N>(set + path as usize * self.channels, n).scale_add(V::splat(value), *c);
            }
        }
    }

    /// `W̄[path] = Σ value · c̄`
    #[inline(always)]
    fn pull_weights(&self, c_bar: &[V], set: usize, n: usize, w_bar: Disjoint<V::Real>) {
        // SAFETY: these channels of the weights of this species are this task's alone.
        let w = |path: usize| unsafe { w_bar.slice(set + path * self.channels, n) };
        (0..self.n_paths).for_each(|path| w(path).fill(V::Real::default()));
        for (&c, range) in c_bar.iter().zip(self.first_fold.windows(2)) {
            for &(path, value) in &self.fold[range[0] as usize..range[1] as usize] {
                let w = w(path as usize);
                store_part(c.mul_add(V::splat(value), load_part(w, n)), w, n);
            }
        }
    }

    #[inline(always)]
    fn products<N: Value<Real = V::Real, Plain = V>>(&self, memory: &mut Memory<N>) {
        memory.p[..ROWS].fill(N::splat(V::Real::of(1.0)));
        for (t, &[parent, q]) in self.products.iter().enumerate() {
            for b in 0..ROWS {
                memory.p[(t + 1) * ROWS + b] = memory.p[parent as usize * ROWS + b] * memory.a[q as usize * ROWS + b];
            }
        }
    }

    /// `B_M`, or its tangent.
    #[inline(always)]
    fn component<N: Value<Real = V::Real, Plain = V>>(&self, m: usize, memory: &Memory<N>) -> [V; ROWS] {
        let mut sums = [V::zero(); ROWS];
        for &[product, first, end] in &self.runs[self.first_run[m] as usize..self.first_run[m + 1] as usize] {
            let leaves = first as usize..end as usize;
            let mut s = [N::zero(); ROWS];
            for (&q, &c) in self.leaves[leaves.clone()].iter().zip(&memory.c[leaves]) {
                let a = &memory.a[q as usize * ROWS..][..ROWS];
                s = entries!(b < ROWS, N::zero() => c.mul_add(a[b], s[b]));
            }
            let p = &memory.p[product as usize * ROWS..][..ROWS];
            sums = entries!(b < ROWS, V::zero() => p[b].add_product(s[b], sums[b]));
        }
        sums
    }

    /// With `s = Σ c A[q]` of a run: `c̄ += B̄ p A[q]`, `Ā[q] += B̄ p c`, `p̄ += B̄ s`; and `B_M = Σ p s`, or its tangent.
    #[inline(always)]
    fn pull_component<N: Value<Real = V::Real, Plain = V>>(
        &self,
        m: usize,
        o: [V; ROWS],
        want_weights: bool,
        memory: &mut Memory<N>,
    ) -> [V; ROWS] {
        let mut sums = [V::zero(); ROWS];
        for &[product, first, end] in &self.runs[self.first_run[m] as usize..self.first_run[m + 1] as usize] {
            let leaves = first as usize..end as usize;
            let p = &memory.p[product as usize * ROWS..][..ROWS];
            let u = entries!(b < ROWS, N::zero() => p[b].scale_add(o[b], N::zero()));
            let mut s = [N::zero(); ROWS];
            let numbers = memory.c[leaves.clone()].iter().zip(&mut memory.c_bar[leaves.clone()]);
            for (&q, (&c, c_bar)) in self.leaves[leaves].iter().zip(numbers) {
                let a = &memory.a[q as usize * ROWS..][..ROWS];
                let a_bar = &mut memory.a_bar[q as usize * ROWS..][..ROWS];
                for b in 0..ROWS {
                    s[b] = c.mul_add(a[b], s[b]);
                    a_bar[b] = c.add_product(u[b], a_bar[b]);
                }
                if want_weights {
                    for b in 0..ROWS {
                        *c_bar = u[b].add_product(a[b], *c_bar);
                    }
                }
            }
            let p_bar = &mut memory.p_bar[product as usize * ROWS..][..ROWS];
            for b in 0..ROWS {
                sums[b] = p[b].add_product(s[b], sums[b]);
                p_bar[b] = s[b].scale_add(o[b], p_bar[b]);
            }
        }
        sums
    }

    /// Back through the products, longest first.
    #[inline(always)]
    fn pull_products<N: Value<Real = V::Real, Plain = V>>(&self, memory: &mut Memory<N>) {
        for (t, &[parent, q]) in self.products.iter().enumerate().rev() {
            let (parent, q) = (parent as usize * ROWS, q as usize * ROWS);
            for b in 0..ROWS {
                let bar = memory.p_bar[(t + 1) * ROWS + b];
                memory.a_bar[q + b] = bar.add_product(memory.p[parent + b], memory.a_bar[q + b]);
                memory.p_bar[parent + b] = bar.mul_add(memory.a[q + b], memory.p_bar[parent + b]);
            }
        }
    }

    fn groups<'a>(&self, call: Call<V::Real>, scratch: &mut Scratch<'a>) -> Groups<'a> {
        Groups::new(call.sizes.rows, self.n_species, Some(call.indices[0]), scratch)
    }
}

impl<V: Value<Plain = V>> Kernel<V::Real> for ContractionKernel<V> {
    fn scratch(&self, sizes: Sizes, _: Pass, threads: usize) -> usize {
        Groups::lines(sizes.rows, self.n_species) + threads * self.lines_a_thread()
    }

    fn forward(&self, call: Call<V::Real>, out: &mut [V::Real], mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        let sources = [Source::constant(call.inputs[0]), Source::constant(call.inputs[1])];
        let results = Results { out: Some(Disjoint::new(out)), x_bar: None, w_bar: None };
        self.run::<V>(&groups, sources, &[], &results, scratch);
    }

    fn backward(&self, call: Call<V::Real>, cotangent: &[V::Real], gradients: Wanted<V::Real>, mut scratch: Scratch) {
        let groups = self.groups(call, &mut scratch);
        let sources = [Source::constant(call.inputs[0]), Source::constant(call.inputs[1])];
        let [x, w] = gradients else { unreachable!("two inputs") };
        let results = Results {
            out: None,
            x_bar: x.as_deref_mut().map(Disjoint::new),
            w_bar: w.as_deref_mut().map(Disjoint::new),
        };
        self.run::<V>(&groups, sources, cotangent, &results, scratch);
    }

    fn double_backward(
        &self,
        call: Call<V::Real>,
        cotangent: &[V::Real],
        directions: &[Option<&[V::Real]>],
        seconds: Wanted<V::Real>,
        mut scratch: Scratch,
    ) {
        let groups = self.groups(call, &mut scratch);
        let source = |k: usize| Source { value: call.inputs[k], tangent: directions[k] };
        let [x, w, out] = seconds else { unreachable!("two inputs and the cotangent") };
        let results = Results {
            out: out.as_deref_mut().map(Disjoint::new),
            x_bar: x.as_deref_mut().map(Disjoint::new),
            w_bar: w.as_deref_mut().map(Disjoint::new),
        };
        self.run::<Dual<V>>(&groups, [source(0), source(1)], cotangent, &results, scratch);
    }
}
