//! For an edge, a path and a channel v of `y`: `M[a, c] = Σ_b C[a, b, c] y[v, b]`, `t[u, c] = Σ_a x[u, a] M[a, c]`,
//! `out[w, c] += Σ_u W[u, v, w] t[u, c]`. Backwards `t̄[u, c] = Σ_w W[u, v, w] ō[w, c]`, `W̄[u, v, w] += Σ_c t[u, c] ō[w, c]`,
//! `x̄[u, a] += Σ_c M[a, c] t̄[u, c]`, `M̄[a, c] = Σ_u x[u, a] t̄[u, c]`, `ȳ[v, b] += Σ_ac C[a, b, c] M̄[a, c]`.

use super::convolution::{Bars, MEMORY, Product};
use super::paths::Path;
use crate::ops::kernel::{Source, load_part, store_part};
use crate::simd::{Lanes, Real, Value};

pub(super) struct FullyConnectedProduct<V: Lanes> {
    paths: Vec<(Path, Vec<V::Real>)>,
    /// The most numbers of any `M` and `t`.
    n_matrix: usize,
    n_inner: usize,
}

/// Some of the memory: a value and its tangent.
struct Pair<'a, T> {
    value: &'a mut [T],
    tangent: &'a mut [T],
}

impl<T: Real> Pair<'_, T> {
    fn source(&self) -> Source<'_, T> {
        Source { value: self.value, tangent: Some(self.tangent) }
    }

    #[inline(always)]
    fn store<N: Value<Real = T>>(&mut self, x: N, at: usize, n: usize) {
        store_part(x.value(), &mut self.value[at..], n);
        if N::HAS_TANGENT {
            store_part(x.result(), &mut self.tangent[at..], n);
        }
    }
}

/// The sum of all lanes.
#[inline(always)]
fn total<V: Lanes>(v: V) -> V::Real {
    v.to_array()[..V::N].iter().fold(V::Real::default(), |sum, &x| sum + x)
}

impl<V: Value<Plain = V>> FullyConnectedProduct<V> {
    pub fn new(paths: Vec<Path>) -> Self {
        let with_numbers = |p: Path| {
            let numbers = p.coupling.iter().map(|e| V::Real::of(e.value)).collect();
            (p, numbers)
        };
        let n_matrix = paths.iter().map(|p| p.dim[0] * p.dim[2]).max().unwrap_or(0);
        let n_inner = paths.iter().map(|p| p.mul[0] * p.dim[2]).max().unwrap_or(0);
        FullyConnectedProduct { paths: paths.into_iter().map(with_numbers).collect(), n_matrix, n_inner }
    }

    /// `M` and `t` of a path and a channel.
    #[inline(always)]
    fn inner<N: Value<Real = V::Real, Plain = V>>(
        (path, numbers): &(Path, Vec<V::Real>),
        v: usize,
        x: Source<V::Real>,
        y: Source<V::Real>,
        m: &mut Pair<V::Real>,
        t: &mut Pair<V::Real>,
    ) {
        let ([mul, copies, _], [rows, _, columns]) = (path.mul, path.dim);
        let fill = |y: &[V::Real], m: &mut [V::Real]| {
            m[..rows * columns].fill(V::Real::default());
            for (e, &c) in path.coupling.iter().zip(numbers) {
                m[e.index[0] * columns + e.index[2]] += c * y[path.start[1] + e.index[1] * copies + v];
            }
        };
        fill(y.value, m.value);
        match y.tangent {
            Some(y) if N::HAS_TANGENT => fill(y, m.tangent),
            _ => m.tangent[..rows * columns].fill(V::Real::default()),
        }
        for c in 0..columns {
            for u in (0..mul).step_by(N::N) {
                let n = N::N.min(mul - u);
                let mut sum = N::zero();
                for a in 0..rows {
                    let x: N = x.load(path.start[0] + a * mul + u, n);
                    sum = x.mul_add(m.source().splat(a * columns + c), sum);
                }
                t.store(sum, c * mul + u, n);
            }
        }
    }
}

impl<V: Value<Plain = V>> Product<V> for FullyConnectedProduct<V> {
    fn memory(&self) -> [usize; MEMORY] {
        [2 * self.n_matrix, 2 * self.n_inner, 2 * self.n_inner, self.n_matrix, 0, 0]
    }

    #[inline(always)]
    unsafe fn sum<N: Value<Real = V::Real, Plain = V>>(
        &self,
        xyw: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        out: &mut [V::Real],
        [m, t, ..]: &mut [&mut [V::Real]; MEMORY],
    ) {
        let (mut m, mut t) = (halves(m), halves(t));
        for place in places {
            let [x, y, w] = std::array::from_fn(|k| xyw[k].from(place[k]));
            for plan in &self.paths {
                let path = &plan.0;
                let ([mul, copies, wide], columns) = (path.mul, path.dim[2]);
                for v in 0..copies {
                    Self::inner::<N>(plan, v, x, y, &mut m, &mut t);
                    let t = t.source();
                    for c in 0..columns {
                        for k in (0..wide).step_by(N::N) {
                            let n = N::N.min(wide - k);
                            let out = &mut out[path.start[2] + c * wide + k..];
                            let mut sum = load_part(out, n);
                            for u in 0..mul {
                                let w: N = w.load(path.w.start + (u * copies + v) * wide + k, n);
                                sum = w.add_product(t.splat(c * mul + u), sum);
                            }
                            store_part(sum, out, n);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn pull<N: Value<Real = V::Real, Plain = V>>(
        &self,
        k: usize,
        xyw: [Source<V::Real>; 3],
        places: &[[usize; 3]],
        o: &[V::Real],
        Bars { x: mut x_bar, y: mut y_bar, w: mut w_bar, fresh }: Bars<V::Real>,
        [m, t, t_bar, m_bar, ..]: &mut [&mut [V::Real]; MEMORY],
    ) {
        let [x, y, w] = std::array::from_fn(|q| xyw[q].from(places[k][q]));
        let (mut m, mut t, t_bar) = (halves(m), halves(t), halves(t_bar));
        if let Some(y) = &mut y_bar {
            y.fill(V::Real::default());
        }
        for plan in &self.paths {
            let (path, numbers) = plan;
            let ([mul, copies, wide], [rows, _, columns]) = (path.mul, path.dim);
            for v in 0..copies {
                Self::inner::<N>(plan, v, x, y, &mut m, &mut t);
                for u in 0..mul {
                    let at = path.w.start + (u * copies + v) * wide;
                    for c in 0..columns {
                        let mut sum = N::zero();
                        let factor = t.source().splat::<N>(c * mul + u).result();
                        for k in (0..wide).step_by(N::N) {
                            let n = N::N.min(wide - k);
                            let o: V = load_part(&o[path.start[2] + c * wide + k..], n);
                            sum = w.load::<N>(at + k, n).scale_add(o, sum);
                            if let Some(w) = &mut w_bar {
                                let w = &mut w[at + k..];
                                let before = if fresh && c == 0 { V::zero() } else { load_part(w, n) };
                                store_part(factor.mul_add(o, before), w, n);
                            }
                        }
                        t_bar.value[c * mul + u] = total(sum.value());
                        t_bar.tangent[c * mul + u] = total(sum.result());
                    }
                }
                if let Some(x_bar) = &mut x_bar {
                    for a in 0..rows {
                        for u in (0..mul).step_by(N::N) {
                            let n = N::N.min(mul - u);
                            let x_bar = &mut x_bar[path.start[0] + a * mul + u..];
                            let mut sum = load_part(x_bar, n);
                            for c in 0..columns {
                                let t: N = t_bar.source().load(c * mul + u, n);
                                sum = t.add_product(m.source().splat(a * columns + c), sum);
                            }
                            store_part(sum, x_bar, n);
                        }
                    }
                }
                if let Some(y_bar) = &mut y_bar {
                    for a in 0..rows {
                        for c in 0..columns {
                            let mut sum = V::zero();
                            for u in (0..mul).step_by(N::N) {
                                let n = N::N.min(mul - u);
                                let x: N = x.load(path.start[0] + a * mul + u, n);
                                sum = x.add_product(t_bar.source().load(c * mul + u, n), sum);
                            }
                            m_bar[a * columns + c] = total(sum);
                        }
                    }
                    for (e, &c) in path.coupling.iter().zip(numbers) {
                        let bar = m_bar[e.index[0] * columns + e.index[2]];
                        y_bar[path.start[1] + e.index[1] * copies + v] += c * bar;
                    }
                }
            }
        }
    }
}

fn halves<'a, T>(memory: &'a mut [T]) -> Pair<'a, T> {
    let (value, tangent) = memory.split_at_mut(memory.len() / 2);
    Pair { value, tangent }
}
