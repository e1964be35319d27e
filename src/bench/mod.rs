//! What a processor could do, and what a model asks of it.

mod stages;

pub use stages::{Stage, stages};

use crate::graph::Graph;
use crate::model::Model;
use crate::model::PartSpec;
use crate::parallel;
use crate::plan::Precision;
use crate::simd::{Isa, Lanes, Real, with_lanes};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The rate of fused multiply–adds that all threads of rayon's current pool reach together in registers,
/// two operations each, in 10⁹/s: the best of many short rounds, about 0.1 s in all.
///
/// # Panics
/// If the processor lacks the instruction set, see [`Isa::is_available`].
pub fn fma_peak(precision: Precision, isa: Isa) -> f64 {
    let round = match precision {
        Precision::F64 => with_lanes!(isa, f64, V => round::<V> as fn(Duration) -> f64),
        _ => with_lanes!(isa, f32, V => round::<V> as fn(Duration) -> f64),
    };
    (0..60).map(|_| parallel::on_each(|| round(Duration::from_millis(2))).iter().sum()).fold(0.0, f64::max)
}

/// Independent sums: enough to hide the latency of the instruction, few enough for 16 registers.
const CHAINS: usize = 12;

/// 10⁹ operations per second of one thread, for about this long.
fn round<V: Lanes>(time: Duration) -> f64 {
    const PASSES: usize = 4_000;
    let factor = V::splat(V::Real::of(black_box(0.999_999)));
    let term = V::splat(V::Real::of(black_box(1e-6)));
    let mut sums = [V::splat(V::Real::of(black_box(1.0))); CHAINS];
    let (start, mut passes) = (Instant::now(), 0);
    while start.elapsed() < time {
        sums = V::vectorize(
            #[inline(always)]
            || {
                let mut sums = sums;
                for _ in 0..PASSES {
                    sums = sums.map(|s| s.mul_add(factor, term));
                }
                sums
            },
        );
        passes += PASSES;
    }
    let seconds = start.elapsed().as_secs_f64();
    black_box(sums.map(|s| s.to_array()[0]));
    (2 * CHAINS * V::N * passes) as f64 / seconds * 1e-9
}

/// The nominal number of operations of energy and forces of a structure with this graph.
///
/// It counts the mathematics in one fixed form, whatever is done in fact, so that rates compare over time. With
/// `n_R` radial functions, `n_Y = (lmax + 1)²` harmonics and `n_A` of the `A` in use, a many-body part takes
///
/// - an edge: `10 n_R` (a cubic and its slope each), `10 n_Y` (value, and its share of the gradient),
///   `2 n_A` (pooling), `4 n_A` (the adjoint of pooling: with respect to `R` and to `Y`);
/// - a centre: 4 for each product that no other product extends, and 5 for each one, given or shared, that is extended.
///
/// Where each species of neighbours has an `A` of its own, an edge counts that of one species; with an embedding a centre counts for each
/// density.
///
/// A pair part takes 10 an edge, a one-body part nothing. Distances, scatter and sums are not counted.
pub fn nominal_flops(model: &Model, graph: &Graph) -> f64 {
    let flops = |part: &PartSpec| {
        let (edge, centre) = part.flops();
        let within = |r: &&[f64; 3]| r.iter().map(|x| x * x).sum::<f64>() <= part.rcut() * part.rcut();
        (edge * graph.vectors().iter().filter(within).count() + centre * graph.n_centres()) as f64
    };
    model.spec().parts.iter().map(flops).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Structure;
    use std::collections::BTreeSet;

    #[test]
    fn the_peak_is_that_of_some_processor() {
        for isa in Isa::available() {
            for precision in [Precision::F64, Precision::F32] {
                let peak = fma_peak(precision, isa);
                assert!(peak > 0.1 && peak < 1e6, "{isa:?}, {precision:?}: {peak}");
            }
        }
    }

    #[test]
    fn operations_are_counted_by_hand() {
        let json = std::fs::read_to_string("benchmark/models/sio_o2.json").expect("a model");
        let model = Model::from_json(json).expect("a model");
        let part = &model.spec().parts[2];
        let PartSpec::Ace(ace) = part else { panic!("no many-body part") };
        let (edge, centre) = part.flops();
        // Order 2: every product of two is a leaf, every first factor of one is an inner node.
        let singles: BTreeSet<u32> = ace.aa.iter().filter(|f| f.len() == 1).map(|f| f[0]).collect();
        let firsts: BTreeSet<u32> = ace.aa.iter().filter(|f| f.len() == 2).map(|f| f[0]).collect();
        let pairs = ace.aa.iter().filter(|f| f.len() == 2).count();
        assert_eq!(centre, 4 * (pairs + singles.difference(&firsts).count()) + 5 * firsts.len());
        // Harmonics beyond l = 2 are in the file, but no `A` has them.
        assert_eq!((ace.angular.lmax, ace.a.iter().map(|a| a[1]).max()), (4, Some(8)));
        assert_eq!(edge, 10 * ace.n_radial_used() + 10 * 9 + 6 * ace.a.len());
        // Two atoms within the cutoff: two edges; the pair model adds 10 to each.
        let pair = Structure { numbers: vec![14; 2], positions: vec![[0.0; 3], [0.0, 0.0, 2.0]], ..Default::default() };
        let graph = Graph::build(&pair, model.rcut()).expect("a graph");
        assert_eq!(nominal_flops(&model, &graph), (2 * (edge + 10) + 2 * centre) as f64);
    }
}
