//! Products of complex `A` as sums of products of real `A`.
//!
//! With orthonormal real harmonics `a_m`, in the normalisation of `Y_00`, `A_0 = a_0`, `A_m = (−1)^m (a_m + i a_{−m})/√2` and
//! `A_{−m} = (a_m − i a_{−m})/√2` for `m > 0`. A product with `Q` factors of `m ≠ 0` has a real part of `2^(Q−1)` terms: every even
//! choice of these factors that take `a_{−|m|}`, with the sign `(−1)^(half their number)` times that of their `m`.

use super::{Factor, Function, Potential};
use std::collections::{BTreeMap, HashMap};

/// A real `A`: its neighbours' species, radial function and `(l, m)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    pub species: u32,
    /// Base functions `0 .. K`, then radial ones, `n` outer and `l` inner.
    pub t: u32,
    pub l: u32,
    pub m: i32,
}

/// Products smaller than this, relative to the largest of their centre, come from rounding.
const NEGLIGIBLE: f64 = 1e-14;

/// A sparse vector over real products: `(product, coefficient)`.
pub type Row = Vec<(u32, f64)>;

/// The real products of a potential: lists of `A`, ascending, none twice, in the order of their length, then of their factors.
#[derive(Debug)]
pub struct Products {
    pub a: Vec<Label>,
    /// Indices into `a`.
    pub aa: Vec<Vec<u32>>,
    /// By centre and density.
    pub densities: Vec<Vec<Row>>,
    /// By centre and function of a `.yaml`: the invariant function; empty where couplings are not known.
    pub functions: Vec<Vec<Row>>,
}

/// Sums of products: of labels and a coefficient for each of several columns.
type Sums = HashMap<Vec<Label>, Vec<f64>>;

impl Products {
    pub fn new(potential: &Potential) -> Products {
        let [n_base, _, lmax] = potential.sizes();
        let label = |f: Factor, rank: usize, m: i32| {
            let t = if rank == 1 { f.n } else { n_base + f.n * (lmax + 1) + f.l };
            Label { species: f.species as u32, t: t as u32, l: f.l as u32, m }
        };
        // By centre, densities and functions apart.
        let (mut densities, mut functions) = (Vec::new(), Vec::new());
        for (list, embedding) in potential.functions.iter().zip(&potential.embeddings) {
            let p = embedding.densities.len();
            let mut sums = Sums::new();
            for f in list {
                for (ms, c) in f.terms().zip(f.coefficients.chunks(p)) {
                    expand(f, ms, label, |key, x| add(&mut sums, key, c.iter().map(|c| c * x), p));
                }
            }
            densities.push(prune(sums, p));
            let coupled = list.iter().filter(|f| !f.coupling.is_empty()).map(|f| {
                let mut sums = Sums::new();
                for (ms, &c) in f.terms().zip(&f.coupling) {
                    expand(f, ms, label, |key, x| add(&mut sums, key, [c * x], 1));
                }
                prune(sums, 1)
            });
            functions.push(coupled.collect::<Vec<_>>());
        }
        let all = || densities.iter().chain(functions.iter().flatten());
        let mut a: Vec<Label> = all().flat_map(|sums| sums.keys().flatten().copied()).collect();
        a.sort_unstable();
        a.dedup();
        let place = |x: &Label| a.binary_search(x).expect("a label of a product") as u32;
        let mut index: BTreeMap<(usize, Vec<u32>), u32> = BTreeMap::new();
        let key = |labels: &Vec<Label>| (labels.len(), labels.iter().map(place).collect::<Vec<_>>());
        for labels in all().flat_map(|sums| sums.keys()) {
            index.insert(key(labels), 0);
        }
        index.values_mut().enumerate().for_each(|(k, at)| *at = k as u32);
        let row = |sums: &Sums, column: usize| {
            let entry = |(labels, c): (&Vec<Label>, &Vec<f64>)| (index[&key(labels)], c[column]);
            let mut row: Row = sums.iter().map(entry).filter(|(_, c)| *c != 0.0).collect();
            row.sort_unstable_by_key(|(k, _)| *k);
            row
        };
        let columns = |(sums, e): (&Sums, &super::Embedding)| (0..e.densities.len()).map(|p| row(sums, p)).collect();
        Products {
            densities: densities.iter().zip(&potential.embeddings).map(columns).collect(),
            functions: functions.iter().map(|list| list.iter().map(|sums| row(sums, 0)).collect()).collect(),
            aa: index.into_keys().map(|(_, factors)| factors).collect(),
            a,
        }
    }
}

/// Calls `each` with every real product of `Re Π A` and its coefficient.
fn expand(
    function: &Function,
    ms: &[i32],
    label: impl Fn(Factor, usize, i32) -> Label,
    mut each: impl FnMut(Vec<Label>, f64),
) {
    let rank = function.rank();
    let nonzero: Vec<usize> = (0..rank).filter(|&t| ms[t] != 0).collect();
    let odd = ms.iter().filter(|m| **m > 0 && **m % 2 != 0).count() % 2;
    let sign = if odd == 1 { -1.0 } else { 1.0 };
    let scale = sign * 0.5_f64.powi(nonzero.len() as i32).sqrt();
    for chosen in 0..1_u32 << nonzero.len() {
        let n = chosen.count_ones();
        if n % 2 == 1 {
            continue;
        }
        let mut c = if n % 4 == 0 { scale } else { -scale };
        let mut labels: Vec<Label> = (0..rank).map(|t| label(function.factors[t], rank, ms[t].abs())).collect();
        for (bit, &t) in nonzero.iter().enumerate() {
            if chosen >> bit & 1 == 1 {
                labels[t].m = -labels[t].m;
                c *= f64::from(ms[t].signum());
            }
        }
        labels.sort_unstable();
        each(labels, c);
    }
}

fn add(sums: &mut Sums, key: Vec<Label>, c: impl IntoIterator<Item = f64>, n: usize) {
    let sum = sums.entry(key).or_insert_with(|| vec![0.0; n]);
    sum.iter_mut().zip(c).for_each(|(sum, c)| *sum += c);
}

/// Without what is left of terms that cancel, column by column.
fn prune(mut sums: Sums, n: usize) -> Sums {
    let mut largest = vec![0.0_f64; n];
    for c in sums.values() {
        largest.iter_mut().zip(c).for_each(|(l, c)| *l = l.max(c.abs()));
    }
    sums.retain(|_, c| {
        c.iter_mut().zip(&largest).for_each(|(c, l)| {
            if c.abs() <= NEGLIGIBLE * l {
                *c = 0.0;
            }
        });
        c.iter().any(|c| *c != 0.0)
    });
    sums
}
