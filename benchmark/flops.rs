//! Useful operations of equivariant operations, two for a multiply–add.

use acerust::ops::{Convention, Operation, Sizes};

/// Forward, and forward with backward; none where there is nothing but memory to speak of.
pub fn flops(operation: &Operation, sizes: Sizes) -> Option<[f64; 2]> {
    let rows = sizes.rows as f64;
    match operation {
        // A product with the weight, and for each number of `M` one sum forward and two backward.
        Operation::Channelwise(op) => {
            let paths = op.paths(Convention::O3E3nn);
            let sum = |f: fn([usize; 2]) -> usize| -> f64 {
                paths.iter().map(|p| (p.mul[0] * p.dim[0] * f([p.dim[1], p.dim[2]])) as f64).sum()
            };
            // Where `y` is a scalar, `M` is diagonal.
            let forward = sum(|[y, out]| 1 + 2 * if y == 1 { 1 } else { out });
            let backward = sum(|[y, out]| 5 + 4 * if y == 1 { 1 } else { out });
            Some([rows * forward, rows * (forward + backward)])
        }
        // Of a term backward: its own sum, those of its factor and of its number.
        Operation::Contraction(op) => {
            let program = op.program(Convention::O3E3nn).expect("a program");
            let terms = program.leaves.len() + program.runs.len() + program.products.len() / 2;
            let channels = op.irreps_in.blocks()[0].mul;
            Some([1.0, 4.0].map(|times| times * 2.0 * (terms * channels) as f64 * rows))
        }
        Operation::Linear(op) => {
            let sums: usize = op.pairs().iter().map(|p| p.dim * p.mul[0] * p.mul[1]).sum();
            Some([1.0, 3.0].map(|times| times * 2.0 * sums as f64 * rows))
        }
        Operation::Mlp(op) => {
            let sums: usize = op.widths.windows(2).map(|w| w[0] * w[1]).sum();
            Some([1.0, 3.0].map(|times| times * 2.0 * sums as f64 * rows))
        }
        _ => None,
    }
}
