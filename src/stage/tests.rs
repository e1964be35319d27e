//! Every stage against its definition, and every slope and adjoint against differences.

use super::block::{Block, Cutoff};
use super::couple::Coupling;
use super::mix::{self, Mixed, Weights};
use super::pool::{self, Shell, Slots};
use super::product::Trie;
use super::radial::Radial;
use super::rows::{RadialRows, RowsScratch};
use super::spec::{EnvelopeSpec, FunctionsSpec, RadialSpec, SplineSpec, TransformSpec};
use super::table::Table;
use crate::graph::{Edges, Graph, Sites};
use crate::simd::{Lanes, Portable};

type V = Portable<f64, 2>;
const N: usize = V::N;
const RCUT: f64 = 5.0;

/// A number in −1..1 for every index.
fn number(k: usize) -> f64 {
    (1.0 + 12.9898 * k as f64).sin()
}

fn transforms() -> [TransformSpec; 3] {
    [(0.0, 2.2, 2, 2, 1.0), (0.7, 2.5, 4, 1, -1.0), (0.3, 2.0, 3, 2, 1.0)].map(|(rin, req, pin, pcut, sign)| {
        let a = 0.5;
        let s: f64 = (RCUT - rin) / (req - rin);
        let x = 1.0 / (1.0 + a * s.powi(pin) / (1.0 + s.powi(pin - pcut)));
        let b1 = sign * 2.0 / (x - 1.0);
        TransformSpec { rin, req, pin: pin as u32, pcut: pcut as u32, a, b0: -0.5 * b1 * (x + 1.0), b1 }
    })
}

fn envelopes() -> [EnvelopeSpec; 4] {
    [
        EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1: 2, p2: 2, s: 1.3 },
        EnvelopeSpec::Poly2sx { x1: -1.0, x2: 1.0, p1: 3, p2: 4, s: 0.4 },
        EnvelopeSpec::Poly1sr { rcut: RCUT, p: 2 },
        EnvelopeSpec::Ace1Poly1sr { rcut: RCUT, r0: 2.1, p: 3 },
    ]
}

const N_T: usize = 5;

/// Radial functions of every kind; splines where the flag says so.
fn radials() -> Vec<(Radial, bool)> {
    let row = |seed: usize| (0..N_T).map(|t| number(100 * seed + t)).collect::<Vec<_>>();
    let polynomial = FunctionsSpec::Polynomial {
        a: vec![0.9, 1.1, 1.5, 1.7],
        b: vec![0.0, 0.1, 0.05, -0.1],
        c: vec![0.0, 0.0, -0.6, -0.7],
        w: vec![(0..N_T).map(|t| (0..4).map(|q| number(10 * t + q)).collect()).collect()],
    };
    let (values, slopes) = ((0..13).map(row).collect(), (13..26).map(row).collect());
    let spline = FunctionsSpec::Spline { tables: vec![SplineSpec { x0: -1.0, x1: 1.0, values, slopes }] };
    let columns: Vec<usize> = (0..N_T).collect();
    let mut all = Vec::new();
    for transform in transforms() {
        for envelope in envelopes() {
            for (functions, splined) in [(polynomial.clone(), false), (spline.clone(), true)] {
                let (transforms, envelopes) = (vec![transform], vec![envelope]);
                let spec = RadialSpec { transforms, envelopes, functions, spec: vec![] };
                all.push((Radial::new(1, &spec, &columns), splined));
            }
        }
    }
    all
}

fn eval(radial: &Radial, r: f64) -> ([f64; N_T], [f64; N_T]) {
    let (mut f, mut df) = ([0.0; N_T], [0.0; N_T]);
    radial.eval(0, r, &mut f, &mut df);
    (f, df)
}

#[test]
fn slopes_of_transforms_and_envelopes_agree_with_differences() {
    let step = 1e-5;
    for t in transforms() {
        for e in envelopes() {
            for k in 0..400 {
                let r = 0.8 + 0.0104 * f64::from(k);
                let y = |r: f64| t.eval(r);
                let fd = (y(r + step).value - y(r - step).value) / (2.0 * step);
                assert!((y(r).slope - fd).abs() < 1e-8, "{t:?} at {r}");
                let value = |r: f64| e.eval(r, y(r)).value;
                let fd = (value(r + step) - value(r - step)) / (2.0 * step);
                let slope = e.eval(r, y(r)).slope;
                assert!((slope - fd).abs() < 1e-7 * (1.0 + slope.abs()), "{e:?} at {r}: {slope} {fd}");
            }
            assert_eq!(e.eval(RCUT + 0.1, t.eval(RCUT + 0.1)).value, 0.0);
        }
    }
}

#[test]
fn slopes_of_radial_functions_agree_with_differences() {
    let step = 1e-6;
    for (radial, _) in radials() {
        for k in 0..400 {
            let r = 0.8 + 0.0104 * f64::from(k);
            let (plus, minus, (_, df)) = (eval(&radial, r + step).0, eval(&radial, r - step).0, eval(&radial, r));
            for t in 0..N_T {
                let fd = (plus[t] - minus[t]) / (2.0 * step);
                assert!((df[t] - fd).abs() < 3e-5 * (1.0 + df[t].abs()), "at {r}: {} {fd}", df[t]);
            }
        }
    }
}

/// Values and slopes of single edges of these lengths, as the engine computes them.
fn by_rows(rows: &RadialRows<V>, lengths: &[f64]) -> Vec<([f64; N_T], [f64; N_T])> {
    let mut out = Vec::new();
    let (mut block, mut scratch) = (Block::<V>::default(), RowsScratch::default());
    let (mut f, mut df) = (vec![V::zero(); rows.stride()], vec![V::zero(); rows.stride()]);
    for lengths in lengths.chunks(V::N) {
        let n = lengths.len();
        let r: Vec<_> = lengths.iter().map(|&r| [0.0, r, 0.0]).collect();
        let first: Vec<u32> = (0..=n as u32).collect();
        let neighbour = vec![0; n];
        let edges =
            Edges { n_owned: n, n_centres: n, n_atoms: n, first: &first, neighbour: &neighbour, ..Edges::default() };
        let graph = Graph::from_edges(&edges, &r).unwrap();
        let centres: Vec<u32> = (0..n as u32).collect();
        let sites = Sites { graph: &graph, species: &vec![0; n], n_species: 1 };
        block.pack(sites, 0, &centres, Cutoff { rcut: RCUT, by_species: false, of_pairs: &[] }, |_| {});
        rows.eval_slots::<true>(&block, 0..1, &mut scratch, &mut f, &mut df);
        for lane in 0..n {
            let of = |x: &[V]| std::array::from_fn(|t| x[t].to_array()[lane]);
            out.push((of(&f), of(&df)));
        }
    }
    out
}

#[test]
fn rows_are_the_radial_functions() {
    let lengths: Vec<f64> = (0..501).map(|k| 0.2 + 0.00958 * f64::from(k)).collect();
    for (radial, _) in radials() {
        for (&r, found) in lengths.iter().zip(by_rows(&RadialRows::new(radial.clone(), None), &lengths)) {
            let (f, df) = eval(&radial, r);
            for t in 0..N_T {
                let scale = f.iter().fold(1.0f64, |m, x| m.max(x.abs()));
                assert!((found.0[t] - f[t]).abs() < 1e-13 * scale, "value at {r}");
                let scale = df.iter().fold(scale, |m, x| m.max(x.abs()));
                assert!((found.1[t] - df[t]).abs() < 1e-12 * scale, "slope at {r}");
            }
        }
    }
}

#[test]
fn tables_keep_what_they_promise() {
    let mut missing = 0;
    for (radial, _) in radials().into_iter().filter(|(_, splined)| !splined) {
        for tolerance in [1e-6, 1e-9, 1e-11] {
            let start = radial.table_start().expect("a table");
            let Some(table) = Table::new(&radial, start, RCUT, tolerance) else {
                // Steep functions are not known to that many digits themselves.
                assert!(tolerance < 1e-10, "no table to {tolerance:.0e}");
                missing += 1;
                continue;
            };
            let rows = RadialRows::new(radial.clone(), Some(table));
            // Between the points where the table measures itself, too.
            let lengths: Vec<f64> =
                (0..40_000).map(|k| start + (RCUT - start) * (f64::from(k) + 0.5) / 40_000.0).collect();
            let (mut largest, mut error) = ([[0.0f64; 2]; N_T], [[0.0f64; 2]; N_T]);
            for (&r, found) in lengths.iter().zip(by_rows(&rows, &lengths)) {
                let exact = eval(&radial, r);
                for t in 0..N_T {
                    for (k, (a, b)) in [(exact.0[t], found.0[t]), (exact.1[t], found.1[t])].into_iter().enumerate() {
                        largest[t][k] = largest[t][k].max(a.abs());
                        error[t][k] = error[t][k].max((a - b).abs());
                    }
                }
            }
            for t in 0..N_T {
                for k in 0..2 {
                    let relative = error[t][k] / largest[t][k];
                    assert!(relative <= tolerance, "{} {relative:.2e} for {tolerance:.0e}", ["value", "slope"][k]);
                }
            }
            // Shorter distances are evaluated exactly.
            let short: Vec<f64> = (1..50).map(|k| start * f64::from(k) / 50.0).collect();
            for (&r, found) in short.iter().zip(by_rows(&rows, &short)) {
                assert_eq!(found, eval(&radial, r), "at {r}, before the table");
            }
        }
    }
    assert!(missing <= 4, "{missing} functions of 12 have no table to 1e-11");
}

const N_Y: usize = 64;

/// Shells with a gap, with many functions and with few, narrow and wide; how many functions and how many `A`.
fn shells() -> ([Shell; 4], usize, usize) {
    let (mut t0, mut a0) = (0, 0);
    let shells = [(0, 9), (1, 3), (3, 2), (7, 1)].map(|(l, n)| {
        let shell = Shell { l, t0, n, a0 };
        (t0, a0) = (t0 + n, a0 + n * (2 * l + 1));
        shell
    });
    (shells, t0, a0)
}

fn vectors(seed: usize, n: usize) -> Vec<V> {
    (0..n).map(|k| V::from_fn(|lane| number(1000 * seed + N * k + lane))).collect()
}

fn inner(a: &[V], b: &[V]) -> [f64; N] {
    let sum = a.iter().zip(b).fold(V::zero(), |sum, (&a, &b)| sum + a * b).to_array();
    std::array::from_fn(|lane| sum[lane])
}

#[track_caller]
fn assert_near(a: [f64; N], b: [f64; N]) {
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
}

#[test]
fn pooling_and_its_adjoint() {
    let (shells, n_t, n_a) = shells();
    let n_slots = 3;
    let (r, dr, y) = (vectors(1, n_t * n_slots), vectors(2, n_t * n_slots), vectors(3, N_Y * n_slots));
    let slots = Slots { r: &r, dr: &dr, y: &y, n_r: n_t, n_y: N_Y };
    // Two shells add to what is there, two overwrite it.
    let (old, fresh) = (vectors(5, n_a), shells[2].a0);
    let mut a = old.clone();
    pool::pool(&shells, slots, n_slots, fresh, &mut a);
    for shell in shells {
        for n in 0..shell.n {
            for m in 0..2 * shell.l + 1 {
                let r: Vec<V> = (0..n_slots).map(|s| r[s * n_t + shell.t0 + n]).collect();
                let y: Vec<V> = (0..n_slots).map(|s| y[s * N_Y + shell.l * shell.l + m]).collect();
                let at = shell.a0 + n * (2 * shell.l + 1) + m;
                let kept = if at < fresh { inner(&old[at..][..1], &[V::splat(1.0)]) } else { inner(&[], &[]) };
                assert_near(
                    inner(&a[at..][..1], &[V::splat(1.0)]),
                    std::array::from_fn(|k| kept[k] + inner(&r, &y)[k]),
                );
            }
        }
    }
    // ⟨Ā, A⟩ is linear in the harmonics and in the radial functions of a slot.
    let a_bar = vectors(4, n_a);
    let one_slot = |r: &[V], s: usize| {
        let mut a = vec![V::zero(); n_a];
        let slots = Slots { r: &r[s * n_t..], y: &y[s * N_Y..], ..slots };
        pool::pool(&shells, slots, 1, usize::MAX, &mut a);
        inner(&a, &a_bar)
    };
    let (mut y_bar, mut radial) = (vec![V::zero(); N_Y * n_slots], vec![V::zero(); n_slots]);
    V::vectorize(|| pool::pullback(&shells, slots, n_slots, &a_bar, &mut y_bar, &mut radial));
    for s in 0..n_slots {
        assert_near(inner(&y_bar[s * N_Y..][..N_Y], &y[s * N_Y..][..N_Y]), one_slot(&r, s));
        assert_near(inner(&[radial[s]], &[V::splat(1.0)]), one_slot(&dr, s));
    }
}

/// Pooled polynomials mixed into `A` are the pooled mixtures; the adjoints are those of linear maps.
#[test]
fn mixing_and_its_adjoint() {
    let (shells, n_t, n_a) = shells();
    for (q0, n_q) in [(0, 1), (1, 2), (0, 5), (2, 11)] {
        let mut n_pooled = 0;
        let mixed = shells.map(|to| {
            let from = Shell { t0: q0, n: n_q - q0, a0: n_pooled, ..to };
            n_pooled += from.n * from.width();
            Mixed { from, to }
        });
        let raw = mixed.map(|m| m.from);
        let n_slots = 3;
        let stride = n_t + 1;
        let w: Vec<f64> = (0..n_q * stride).map(|k| if k < q0 * stride { 0.0 } else { number(7 * k) }).collect();
        let weights = Weights { w: &w, stride };
        let (p, dp, y) = (vectors(1, n_q * n_slots), vectors(2, n_q * n_slots), vectors(3, N_Y * n_slots));
        let slots = Slots { r: &p, dr: &dp, y: &y, n_r: n_q, n_y: N_Y };
        let a_from = |p: &[V], slots: Slots<V>, n: usize| {
            let (mut pooled, mut a) = (vec![V::zero(); n_pooled], vec![V::zero(); n_a]);
            pool::pool(&raw, Slots { r: p, ..slots }, n, usize::MAX, &mut pooled);
            mix::mix(&mixed, weights, &pooled, &mut a);
            a
        };
        let r: Vec<V> = (0..n_slots * n_t)
            .map(|k| (0..n_q).fold(V::zero(), |r, q| r + V::splat(w[q * stride + k % n_t]) * p[k / n_t * n_q + q]))
            .collect();
        let mut expected = vec![V::zero(); n_a];
        pool::pool(&shells, Slots { r: &r, dr: &r, y: &y, n_r: n_t, n_y: N_Y }, n_slots, usize::MAX, &mut expected);
        for (a, expected) in a_from(&p, slots, n_slots).iter().zip(&expected) {
            assert_near(inner(&[*a], &[V::splat(1.0)]), inner(&[*expected], &[V::splat(1.0)]));
        }
        let a_bar = vectors(4, n_a);
        let mut pooled_bar = vectors(5, n_pooled);
        let (mut y_bar, mut radial) = (vec![V::zero(); N_Y * n_slots], vec![V::zero(); n_slots]);
        mix::pullback(&mixed, weights, &a_bar, &mut pooled_bar);
        V::vectorize(|| pool::pullback(&raw, slots, n_slots, &pooled_bar, &mut y_bar, &mut radial));
        for s in 0..n_slots {
            let one = slots.from(s);
            assert_near(inner(&y_bar[s * N_Y..][..N_Y], &y[s * N_Y..][..N_Y]), inner(&a_from(one.r, one, 1), &a_bar));
            assert_near(inner(&[radial[s]], &[V::splat(1.0)]), inner(&a_from(one.dr, one, 1), &a_bar));
        }
    }
}

/// Products of order 1 to 5 of six `A`, with powers.
fn products() -> Vec<Vec<u32>> {
    [&[0][..], &[3], &[0, 0], &[1, 4], &[0, 1, 1], &[2, 2, 2], &[0, 1, 1, 5], &[3, 3, 3, 3], &[1, 2, 3, 4, 5]]
        .map(<[u32]>::to_vec)
        .into()
}

fn product(factors: &[u32], a: &[f64]) -> f64 {
    factors.iter().map(|&v| a[v as usize]).product()
}

/// `∂/∂A_v` of a product.
fn derivative(factors: &[u32], v: u32, a: &[f64]) -> f64 {
    let power = factors.iter().filter(|&&w| w == v).count() as i32;
    let rest: f64 = factors.iter().filter(|&&w| w != v).map(|&w| a[w as usize]).product();
    if power == 0 { 0.0 } else { f64::from(power) * a[v as usize].powi(power - 1) * rest }
}

#[test]
fn products_and_their_adjoint() {
    let products = products();
    let trie = Trie::new(&products);
    let mut c = vec![0.0; trie.n_coefficients()];
    products.iter().enumerate().for_each(|(k, _)| c[trie.slot[k]] += number(k));
    let a: Vec<f64> = (0..6).map(|v| 1.0 + 0.5 * number(50 + v)).collect();
    let lanes: Vec<V> = a.iter().map(|&a| V::splat(a)).collect();
    let (mut a_bar, mut p, mut s) =
        (vec![V::splat(9.0); 6], vec![V::zero(); trie.n_inner()], vec![V::zero(); trie.n_inner()]);
    let with = V::vectorize(|| trie.eval::<V, true>(&c, &lanes, &mut a_bar, &mut p, &mut s)).to_array()[0];
    let without = V::vectorize(|| trie.eval::<V, false>(&c, &lanes, &mut [], &mut p, &mut s)).to_array()[0];
    let expected: f64 = products.iter().enumerate().map(|(k, f)| number(k) * product(f, &a)).sum();
    assert!((with - expected).abs() < 1e-13 && (without - expected).abs() < 1e-13, "{with} {without} {expected}");
    for v in 0..6u32 {
        let expected: f64 = products.iter().enumerate().map(|(k, f)| number(k) * derivative(f, v, &a)).sum();
        assert!((a_bar[v as usize].to_array()[0] - expected).abs() < 1e-12, "∂E/∂A_{v}");
    }
}

#[test]
fn couplings_and_their_derivatives() {
    let products = products();
    let couplings = vec![
        vec![(0, 0.7), (4, -1.2)],
        vec![],
        vec![(8, 0.3), (7, 1.1), (5, 0.4)],
        (0..9).map(|k| (k, number(k))).collect(),
    ];
    let coupling = Coupling::new(&products, &couplings);
    let a: Vec<f64> = (0..6).map(|v| 1.0 + 0.5 * number(70 + v)).collect();
    let lanes: Vec<V> = a.iter().map(|&a| V::splat(a)).collect();
    let mut monomials = vec![V::zero(); coupling.n_monomials()];
    let (mut basis, mut derivatives) = (vec![V::zero(); 4], vec![V::zero(); coupling.n_derivatives()]);
    coupling.monomials(&lanes, &mut monomials);
    coupling.basis(&monomials, &mut basis);
    coupling.derivatives(&monomials, &mut derivatives);
    for (b, row) in couplings.iter().enumerate() {
        let expected: f64 = row.iter().map(|&(k, c)| c * product(&products[k], &a)).sum();
        assert!((basis[b].to_array()[0] - expected).abs() < 1e-13);
        for v in 0..6 {
            let expected: f64 = row.iter().map(|&(k, c)| c * derivative(&products[k], v, &a)).sum();
            let of_v = coupling.derivatives_of(b).filter(|&d| coupling.derivative_v[d] == v);
            let found: f64 = of_v.map(|d| derivatives[d].to_array()[0]).sum();
            assert!((found - expected).abs() < 1e-12, "∂B_{b}/∂A_{v}");
        }
    }
}

#[test]
fn a_block_has_the_edges_inside_the_cutoffs_of_their_pairs() {
    let (n, most, of_pairs) = (2, 40, [0.0, 4.0, 9.0, 3.0, 3.5, 2.0, 0.0, 0.0, 0.0]);
    let r: Vec<_> =
        (0..n * most).map(|k| [4.0 * number(3 * k), 4.0 * number(3 * k + 1), 4.0 * number(3 * k + 2)]).collect();
    let species: Vec<u32> = (0..50).map(|k| [1, 0, 2, 0, 1][k % 5]).collect();
    let neighbour: Vec<u32> = (0..n * most).map(|k| (k * 7 % 50) as u32).collect();
    let first = [0, 31, (n * most) as u32];
    let edges =
        Edges { n_owned: n, n_centres: n, n_atoms: 50, first: &first, neighbour: &neighbour, ..Edges::default() };
    let graph = Graph::from_edges(&edges, &r).unwrap();
    let sites = Sites { graph: &graph, species: &species, n_species: 3 };
    let mut block = Block::<V>::default();
    let cases = [(true, &of_pairs[..]), (true, &[]), (false, &of_pairs[..])];
    for (centres, (by_species, of_pairs)) in [&[1, 0][..], &[1]].into_iter().flat_map(|c| cases.map(|case| (c, case))) {
        block.scribble();
        block.pack(sites, 0, centres, Cutoff { rcut: RCUT, by_species, of_pairs }, |_| {});
        let inside = |z: usize| if by_species { of_pairs.get(z).map_or(RCUT, |r| r.min(RCUT)) } else { RCUT };
        let mut total = 0;
        for lane in centres.len()..N {
            assert!(
                (0..block.n_slots).all(|s| block.edges(s)[lane] == u32::MAX && block.r[s].to_array()[lane] == RCUT)
            );
        }
        for (lane, i) in centres.iter().map(|&i| i as usize).enumerate() {
            let length = |e: usize| r[e].iter().map(|x| x * x).sum::<f64>().sqrt();
            let z = |e: usize| species[neighbour[e] as usize] as usize;
            let expected: Vec<usize> = graph.edges(i).filter(|&e| length(e) < inside(z(e))).collect();
            let mut found = Vec::new();
            for s in 0..block.n_slots {
                let (e, mask) = (block.edges(s)[lane], block.mask[s].to_array()[lane]);
                assert_eq!(mask, f64::from(u8::from(e != u32::MAX)));
                if e != u32::MAX {
                    found.push(e as usize);
                    assert_eq!(block.pairs(s, 3)[lane], z(e as usize));
                    assert_eq!([block.x[s], block.y[s], block.z[s]].map(|x| x.to_array()[lane]), r[e as usize]);
                }
            }
            found.sort_unstable();
            assert_eq!(found, expected);
            total += found.len();
        }
        assert_eq!(block.n_edges, total);
    }
}

#[test]
#[should_panic(expected = "3 centres for 2 lanes")]
fn a_block_has_no_more_centres_than_lanes() {
    let graph = Graph::isolated(3);
    let sites = Sites { graph: &graph, species: &[0; 3], n_species: 1 };
    Block::<V>::default().pack(sites, 0, &[0, 1, 2], Cutoff { rcut: RCUT, by_species: false, of_pairs: &[] }, |_| {});
}

#[test]
fn many_species_do_not_make_a_table_that_fills_the_memory() {
    let n = 64;
    let rows = vec![vec![1.0]; 40];
    let functions = FunctionsSpec::Polynomial { a: vec![1.0], b: vec![0.0], c: vec![0.0], w: vec![rows; n * n] };
    let (transforms, envelopes) = (vec![transforms()[0]; n * (n + 1) / 2], vec![envelopes()[0]; n * (n + 1) / 2]);
    let spec = RadialSpec { transforms, envelopes, functions, spec: vec![] };
    let radial = Radial::new(n, &spec, &(0..40).collect::<Vec<_>>());
    // The coarsest table that is tried would take 500 MB.
    assert!(Table::new(&radial, 1.0, RCUT, 1e-3).is_none());
}
