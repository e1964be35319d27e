//! Every operation as `mace.md` writes it, in loops, in `mul_ir`; for any kind of numbers.

use acerust::ops::activation::Activation;
use acerust::ops::contraction::Contraction;
use acerust::ops::coupling::{Convention, w3j};
use acerust::ops::gate::Gate;
use acerust::ops::linear::Linear;
use acerust::ops::mlp::Mlp;
use acerust::ops::product::channelwise::Channelwise;
use acerust::ops::product::fully_connected::FullyConnected;
use acerust::ops::radial::{Radial, RadialBasis, Transform};
use acerust::ops::{Irrep, Irreps, Operation, Parity, Sizes, Spec};
use std::ops::{Add, Mul, Sub};

/// What the text computes with.
pub trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    fn of(x: f64) -> Self;
    fn value(self) -> f64;
    /// A function with this inside, given it and its first two derivatives there.
    fn chain(self, f: [f64; 3]) -> Self;

    fn exp(self) -> Self {
        self.chain([self.value().exp(); 3])
    }
    fn sin(self) -> Self {
        let (s, c) = self.value().sin_cos();
        self.chain([s, c, -s])
    }
    fn powf(self, p: f64) -> Self {
        let x = self.value();
        self.chain([x.powf(p), p * x.powf(p - 1.0), p * (p - 1.0) * x.powf(p - 2.0)])
    }
}

impl Number for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn value(self) -> f64 {
        self
    }
    fn chain(self, f: [f64; 3]) -> f64 {
        f[0]
    }
}

/// Derivatives along two directions: value, both first ones, the mixed second one.
#[derive(Clone, Copy, Debug)]
pub struct Hyper(pub [f64; 4]);

impl Add for Hyper {
    type Output = Hyper;
    fn add(self, o: Hyper) -> Hyper {
        Hyper(std::array::from_fn(|k| self.0[k] + o.0[k]))
    }
}

impl Sub for Hyper {
    type Output = Hyper;
    fn sub(self, o: Hyper) -> Hyper {
        Hyper(std::array::from_fn(|k| self.0[k] - o.0[k]))
    }
}

impl Mul for Hyper {
    type Output = Hyper;
    fn mul(self, o: Hyper) -> Hyper {
        let ([a, a1, a2, a12], [b, b1, b2, b12]) = (self.0, o.0);
        Hyper([a * b, a * b1 + a1 * b, a * b2 + a2 * b, a * b12 + a1 * b2 + a2 * b1 + a12 * b])
    }
}

impl Number for Hyper {
    fn of(x: f64) -> Hyper {
        Hyper([x, 0.0, 0.0, 0.0])
    }
    fn value(self) -> f64 {
        self.0[0]
    }
    fn chain(self, [f, d, dd]: [f64; 3]) -> Hyper {
        let [_, a, b, ab] = self.0;
        Hyper([f, d * a, d * b, dd * a * b + d * ab])
    }
}

/// The result of an operation.
pub fn evaluate<T: Number>(spec: &Spec, sizes: Sizes, x: &[Vec<T>], index: &[Vec<u32>]) -> Vec<T> {
    let rows = sizes.rows;
    match &spec.operation {
        Operation::Harmonics(op) => x[0].chunks(3).flat_map(|v| harmonics(op.lmax, v)).collect(),
        Operation::Linear(op) => linear(op, rows, x, index),
        Operation::Channelwise(op) => channelwise(op, spec.convention, sizes, x, index),
        Operation::FullyConnected(op) => fully_connected(op, spec.convention, sizes, x, index),
        Operation::Contraction(op) => contraction(op, spec.convention, rows, x, index),
        Operation::Radial(op) => (0..rows).flat_map(|k| radial(op, x[0][k], index, k)).collect(),
        Operation::Mlp(op) => (0..rows).flat_map(|k| mlp(op, k, x)).collect(),
        Operation::Gate(op) => {
            let n = x[0].len().checked_div(rows).unwrap_or(0);
            (0..rows).flat_map(|k| gate(op, &x[0][k * n..(k + 1) * n])).collect()
        }
    }
}

/// `C(a, b → c)[i, j, k]`
fn coupling(convention: Convention, [a, b, c]: [Irrep; 3]) -> impl Fn(usize, usize, usize) -> f64 {
    let w = w3j(a.l, b.l, c.l, convention);
    move |i, j, k| (c.dim() as f64).sqrt() * w[(i * b.dim() + j) * c.dim() + k]
}

/// `Y_(l+1)` from `Y_l` and `Y_1`, of the length that they have at the pole.
fn harmonics<T: Number>(lmax: usize, v: &[T]) -> Vec<T> {
    let r = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).powf(-0.5);
    let first: Vec<T> = v.iter().map(|&x| x * r * T::of(3f64.sqrt())).collect();
    let pole = [0.0, 3f64.sqrt(), 0.0];
    let (mut y, mut at_pole) = (vec![T::of(1.0)], vec![1.0]);
    let mut out = y.clone();
    for l in 1..=lmax {
        let w = w3j(l - 1, 1, l, Convention::O3E3nn);
        let w = |i: usize, j: usize, k: usize| w[(i * 3 + j) * (2 * l + 1) + k];
        let sum = |i: usize, j: usize, k: usize| y[i] * first[j] * T::of(w(i, j, k));
        let next: Vec<T> = (0..2 * l + 1)
            .map(|k| {
                (0..2 * l - 1)
                    .flat_map(|i| (0..3).map(move |j| (i, j)))
                    .map(|(i, j)| sum(i, j, k))
                    .reduce(T::add)
                    .unwrap()
            })
            .collect();
        let next_pole: Vec<f64> = (0..2 * l + 1)
            .map(|k| {
                (0..2 * l - 1)
                    .flat_map(|i| (0..3).map(move |j| (i, j)))
                    .map(|(i, j)| w(i, j, k) * at_pole[i] * pole[j])
                    .sum()
            })
            .collect();
        let scale = ((2 * l + 1) as f64).sqrt() / next_pole[l];
        y = next.into_iter().map(|x| x * T::of(scale)).collect();
        at_pole = next_pole.into_iter().map(|x| x * scale).collect();
        out.extend_from_slice(&y);
    }
    out
}

fn linear<T: Number>(op: &Linear, rows: usize, x: &[Vec<T>], index: &[Vec<u32>]) -> Vec<T> {
    let (n_in, n_out) = (op.irreps_in.dim(), op.irreps_out.dim());
    let n_w = x[1].len() / op.species.unwrap_or(1);
    let mut out = vec![T::of(0.0); rows * n_out];
    for row in 0..rows {
        let z = if op.species.is_some() { index[0][row] as usize } else { 0 };
        let mut w = z * n_w;
        for (a, from) in op.irreps_in.blocks().iter().zip(op.irreps_in.slices()) {
            for (b, to) in op.irreps_out.blocks().iter().zip(op.irreps_out.slices()) {
                if a.irrep != b.irrep {
                    continue;
                }
                let (dim, scale) = (a.irrep.dim(), 1.0 / (op.irreps_in.count(a.irrep) as f64).sqrt());
                for (u, v) in (0..a.mul).flat_map(|u| (0..b.mul).map(move |v| (u, v))) {
                    for m in 0..dim {
                        let to = &mut out[row * n_out + to.start + v * dim + m];
                        *to = *to + x[1][w] * x[0][row * n_in + from.start + u * dim + m] * T::of(scale);
                    }
                    w += 1;
                }
            }
        }
        let mut b = 0;
        for (block, to) in op.irreps_out.blocks().iter().zip(op.irreps_out.slices()) {
            if op.bias && block.irrep == Irrep::SCALAR {
                for k in to {
                    out[row * n_out + k] = out[row * n_out + k] + x[2][b];
                    b += 1;
                }
            }
        }
    }
    out
}

/// Sender and receiver of an edge; rows are their own.
fn ends(convolution: bool, index: &[Vec<u32>], e: usize) -> [usize; 2] {
    if convolution { [index[0][e] as usize, index[1][e] as usize] } else { [e, e] }
}

fn channelwise<T: Number>(
    op: &Channelwise,
    convention: Convention,
    sizes: Sizes,
    x: &[Vec<T>],
    index: &[Vec<u32>],
) -> Vec<T> {
    let mut paths = Vec::new();
    for (a, p) in op.irreps_in1.blocks().iter().enumerate() {
        for (b, q) in op.irreps_in2.blocks().iter().enumerate() {
            for l in p.irrep.l.abs_diff(q.irrep.l)..=p.irrep.l + q.irrep.l {
                let irrep = Irrep { l, parity: p.irrep.parity * q.irrep.parity };
                if op.targets.blocks().iter().any(|t| t.irrep == irrep) {
                    paths.push((irrep, a, b));
                }
            }
        }
    }
    paths.sort_by_key(|(irrep, ..)| (irrep.l, irrep.parity == Parity::Even));
    let mul = |a: usize| op.irreps_in1.blocks()[a].mul;
    let n_w: usize = paths.iter().map(|p| mul(p.1)).sum();
    let n_out: usize = paths.iter().map(|p| mul(p.1) * p.0.dim()).sum();
    let (s1, s2) = (op.irreps_in1.slices(), op.irreps_in2.slices());
    let (n1, n2) = (op.irreps_in1.dim(), op.irreps_in2.dim());
    let mut out = vec![T::of(0.0); n_out * if op.convolution { sizes.nodes } else { sizes.rows }];
    for e in 0..sizes.rows {
        let [j, i] = ends(op.convolution, index, e);
        let (mut w, mut to) = (if op.shared_weights { 0 } else { e * n_w }, i * n_out);
        for &(irrep, a, b) in &paths {
            let (p, q) = (op.irreps_in1.blocks()[a].irrep, op.irreps_in2.blocks()[b].irrep);
            let c = coupling(convention, [p, q, irrep]);
            for u in 0..mul(a) {
                for k in 0..irrep.dim() {
                    for (m, n) in (0..p.dim()).flat_map(|m| (0..q.dim()).map(move |n| (m, n))) {
                        let xy = x[0][j * n1 + s1[a].start + u * p.dim() + m] * x[1][e * n2 + s2[b].start + n];
                        out[to + k] = out[to + k] + x[2][w] * xy * T::of(c(m, n, k));
                    }
                }
                to += irrep.dim();
                w += 1;
            }
        }
    }
    out
}

fn fully_connected<T: Number>(
    op: &FullyConnected,
    convention: Convention,
    sizes: Sizes,
    x: &[Vec<T>],
    index: &[Vec<u32>],
) -> Vec<T> {
    let irreps = [&op.irreps_in1, &op.irreps_in2, &op.irreps_out];
    let mut paths = Vec::new();
    for (a, p) in irreps[0].blocks().iter().enumerate() {
        for (b, q) in irreps[1].blocks().iter().enumerate() {
            for (c, r) in irreps[2].blocks().iter().enumerate() {
                let triangle = r.irrep.l >= p.irrep.l.abs_diff(q.irrep.l) && r.irrep.l <= p.irrep.l + q.irrep.l;
                if triangle && r.irrep.parity == p.irrep.parity * q.irrep.parity {
                    paths.push([a, b, c]);
                }
            }
        }
    }
    let block = |k: usize, b: usize| irreps[k].blocks()[b];
    let n_w: usize = paths.iter().map(|&[a, b, c]| block(0, a).mul * block(1, b).mul * block(2, c).mul).sum();
    let fan = |c: usize| {
        let to = paths.iter().filter(|p| p[2] == c);
        to.map(|p| block(0, p[0]).mul * block(1, p[1]).mul).sum::<usize>() as f64
    };
    let [n1, n2, n3] = irreps.map(Irreps::dim);
    let [s1, s2, s3] = irreps.map(Irreps::slices);
    let mut out = vec![T::of(0.0); n3 * if op.convolution { sizes.nodes } else { sizes.rows }];
    for e in 0..sizes.rows {
        let [j, i] = ends(op.convolution, index, e);
        let mut w = if op.shared_weights { 0 } else { e * n_w };
        for &[a, b, c] in &paths {
            let [p, q, r] = [block(0, a), block(1, b), block(2, c)];
            let cg = coupling(convention, [p.irrep, q.irrep, r.irrep]);
            for (u, v) in (0..p.mul).flat_map(|u| (0..q.mul).map(move |v| (u, v))) {
                for t in 0..r.mul {
                    for k in 0..r.irrep.dim() {
                        for (m, n) in (0..p.irrep.dim()).flat_map(|m| (0..q.irrep.dim()).map(move |n| (m, n))) {
                            let x1 = x[0][j * n1 + s1[a].start + u * p.irrep.dim() + m];
                            let x2 = x[1][e * n2 + s2[b].start + v * q.irrep.dim() + n];
                            let to = &mut out[i * n3 + s3[c].start + t * r.irrep.dim() + k];
                            *to = *to + x[2][w] * x1 * x2 * T::of(cg(m, n, k) / fan(c).sqrt());
                        }
                    }
                    w += 1;
                }
            }
        }
    }
    out
}

/// A tensor (2l + 1, d, …, d).
struct Chain {
    irrep: Irrep,
    tensor: Vec<f64>,
}

/// The chains of order `nu`, sorted.
fn chains(inputs: &[Irrep], nu: usize, convention: Convention) -> Vec<Chain> {
    let d: usize = inputs.iter().map(|i| i.dim()).sum();
    let mut chains: Vec<Chain> = Vec::new();
    let mut start = 0;
    for &irrep in inputs {
        let mut tensor = vec![0.0; irrep.dim() * d];
        (0..irrep.dim()).for_each(|m| tensor[m * d + start + m] = 1.0);
        chains.push(Chain { irrep, tensor });
        start += irrep.dim();
    }
    let sort = |chains: &mut Vec<Chain>| chains.sort_by_key(|c| (c.irrep.l, c.irrep.parity == Parity::Even));
    for _ in 1..nu {
        let mut longer = Vec::new();
        for chain in &chains {
            let n = chain.tensor.len() / chain.irrep.dim();
            let mut start = 0;
            for &l in inputs {
                for irrep in chain.irrep.product(l) {
                    let natural = irrep.parity == Irrep::natural(irrep.l).parity;
                    if nu == 4 && !natural {
                        continue;
                    }
                    let w = w3j(irrep.l, chain.irrep.l, l.l, convention);
                    let scale = (irrep.dim() as f64).sqrt();
                    let mut tensor = vec![0.0; irrep.dim() * n * d];
                    for big in 0..irrep.dim() {
                        for (m1, m) in (0..chain.irrep.dim()).flat_map(|a| (0..l.dim()).map(move |b| (a, b))) {
                            let c = scale * w[(big * chain.irrep.dim() + m1) * l.dim() + m];
                            for q in 0..n {
                                tensor[(big * n + q) * d + start + m] += c * chain.tensor[m1 * n + q];
                            }
                        }
                    }
                    longer.push(Chain { irrep, tensor });
                }
                start += l.dim();
            }
        }
        sort(&mut longer);
        chains = longer;
    }
    chains
}

fn contraction<T: Number>(
    op: &Contraction,
    convention: Convention,
    rows: usize,
    x: &[Vec<T>],
    index: &[Vec<u32>],
) -> Vec<T> {
    let inputs: Vec<Irrep> = op.irreps_in.blocks().iter().map(|b| b.irrep).collect();
    let d: usize = inputs.iter().map(|i| i.dim()).sum();
    let channels = op.irreps_in.blocks()[0].mul;
    let n_out = op.irreps_out.dim();
    let n_w = x[1].len() / op.species;
    let mut out = vec![T::of(0.0); rows * n_out];
    let (mut path, mut start) = (0, 0);
    let orders: Vec<Vec<Chain>> = (1..=op.correlation).map(|nu| chains(&inputs, nu, convention)).collect();
    for block in op.irreps_out.blocks() {
        let dim = block.irrep.dim();
        for (order, chains) in orders.iter().enumerate().rev() {
            for chain in chains.iter().filter(|c| c.irrep == block.irrep) {
                let n = d.pow(order as u32 + 1);
                for (k, &u) in chain.tensor.iter().enumerate().filter(|(_, u)| **u != 0.0) {
                    for row in 0..rows {
                        for c in 0..channels {
                            let mut q = k % n;
                            let mut product = x[1][index[0][row] as usize * n_w + path * channels + c] * T::of(u);
                            for _ in 0..=order {
                                product = product * x[0][(row * channels + c) * d + q % d];
                                q /= d;
                            }
                            let to = &mut out[row * n_out + start + c * dim + k / n];
                            *to = *to + product;
                        }
                    }
                }
                path += 1;
            }
        }
        start += channels * dim;
    }
    out
}

fn activation<T: Number>(activation: Activation, x: T) -> T {
    let one = T::of(1.0);
    let sigmoid = |x: T| (one + (T::of(0.0) - x).exp()).powf(-1.0);
    match activation {
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => sigmoid(x + x) * T::of(2.0) - one,
        _ => x,
    }
}

fn radial<T: Number>(op: &Radial, r: T, index: &[Vec<u32>], row: usize) -> Vec<T> {
    let (one, u) = (T::of(1.0), r * T::of(1.0 / op.r_max));
    let f = op.cutoff.map(|p| {
        let q = f64::from(p);
        let term = |c: f64, k: f64| u.powf(q + k) * T::of(c);
        let f =
            one - term((q + 1.0) * (q + 2.0) / 2.0, 0.0) + term(q * (q + 2.0), 1.0) - term(q * (q + 1.0) / 2.0, 2.0);
        if r.value() < op.r_max { f } else { T::of(0.0) }
    });
    let t = match &op.transform {
        Some(Transform::Agnesi { radii, a, q, p }) => {
            let r0 = 0.5 * (radii[index[0][row] as usize] + radii[index[1][row] as usize]);
            let s = r * T::of(1.0 / r0);
            (one + T::of(*a) * s.powf(*q) * (one + s.powf(q - p)).powf(-1.0)).powf(-1.0)
        }
        Some(Transform::Soft { radii, alpha }) => {
            let r0 = radii[index[0][row] as usize] + radii[index[1][row] as usize];
            let (p0, p1) = (0.75 * r0, 4.0 / 3.0 * r0);
            let s = (r - T::of((p0 + p1) / 2.0)) * T::of(alpha / (p1 - p0));
            T::of(p0) + (r - T::of(p0)) * (one + activation(Activation::Tanh, s)) * T::of(0.5)
        }
        None => r,
    };
    let n = op.n_functions();
    let basis = |k: usize| match &op.basis {
        RadialBasis::Bessel { .. } => {
            let w = (k + 1) as f64 * std::f64::consts::PI / op.r_max;
            T::of((2.0 / op.r_max).sqrt()) * (t * T::of(w)).sin() * t.powf(-1.0)
        }
        RadialBasis::Gaussian { .. } => {
            let gamma = -0.5 * ((n - 1) as f64 / op.r_max).powi(2);
            let d = t - T::of(op.r_max * k as f64 / (n - 1) as f64);
            (d * d * T::of(gamma)).exp()
        }
        RadialBasis::Chebyshev { .. } => (0..=k).fold((one, t), |(a, b), _| (b, T::of(2.0) * t * b - a)).0,
        RadialBasis::Identity => t,
        RadialBasis::Constant => one,
    };
    (0..n).map(|k| f.map_or(basis(k), |f| f * basis(k))).collect()
}

fn mlp<T: Number>(op: &Mlp, row: usize, x: &[Vec<T>]) -> Vec<T> {
    let n = op.widths.len() - 1;
    let mut h = x[0][row * op.widths[0]..(row + 1) * op.widths[0]].to_vec();
    let mut next = 1;
    let mut take = || {
        next += 1;
        &x[next - 1]
    };
    for k in 0..n {
        let (n_in, n_out) = (op.widths[k], op.widths[k + 1]);
        let w = take();
        let normed = op.layer_norm.is_some();
        let b = if normed { Some(take()) } else { None };
        let mut a: Vec<T> = (0..n_out)
            .map(|v| {
                let term = |u: usize| match normed {
                    true => h[u] * w[v * n_in + u],
                    false => h[u] * w[u * n_out + v] * T::of(1.0 / (n_in as f64).sqrt()),
                };
                let sum = (0..n_in).map(term).reduce(T::add).unwrap();
                b.map_or(sum, |b| sum + b[v])
            })
            .collect();
        if k + 1 < n {
            if let Some(epsilon) = op.layer_norm {
                let (scale, shift) = (take(), take());
                let part = T::of(1.0 / n_out as f64);
                let mean = a.iter().copied().reduce(T::add).unwrap() * part;
                let variance = a.iter().map(|&x| (x - mean) * (x - mean)).reduce(T::add).unwrap() * part;
                let inverse = (variance + T::of(epsilon)).powf(-0.5);
                a.iter_mut().enumerate().for_each(|(j, x)| *x = (*x - mean) * inverse * scale[j] + shift[j]);
            }
            a.iter_mut().for_each(|x| *x = activation(op.activation, *x) * T::of(op.constant));
        }
        h = a;
    }
    h
}

fn gate<T: Number>(op: &Gate, x: &[T]) -> Vec<T> {
    let scalars = op.scalars.dim();
    let n_gates: usize = op.gated.blocks().iter().map(|b| b.mul).sum();
    let mut out: Vec<T> = x[..scalars].iter().map(|&x| activation(op.activation, x) * T::of(op.constant)).collect();
    let (mut gate, mut at) = (scalars, scalars + n_gates);
    for block in op.gated.blocks() {
        for _ in 0..block.mul {
            let g = activation(op.gate_activation, x[gate]) * T::of(op.gate_constant);
            out.extend((0..block.irrep.dim()).map(|m| g * x[at + m]));
            at += block.irrep.dim();
            gate += 1;
        }
    }
    out
}
