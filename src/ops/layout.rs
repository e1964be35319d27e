//! The two orders of the numbers of a block.

use super::irreps::Irreps;
use serde::{Deserialize, Serialize};

/// How the numbers of a block lie: row-major, the last one side by side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// (mul, 2l + 1): the components of a channel side by side.
    MulIr,
    /// (2l + 1, mul): the channels of a component side by side, as the kernels have them.
    #[default]
    IrMul,
}

/// The blocks of a row as they lie in memory: columns (`mul`) and rows (`2l + 1`) of each in `ir_mul`.
pub(crate) fn shapes(irreps: &Irreps) -> Vec<[usize; 2]> {
    irreps.blocks().iter().map(|b| [b.irrep.dim(), b.mul]).collect()
}

/// Transposes a matrix, (rows, columns) in `from`.
#[inline(always)]
pub(crate) fn transpose_block<S: Copy, T>([n, m]: [usize; 2], from: &[S], to: &mut [T], convert: impl Fn(S) -> T) {
    // The longer loop is the inner one; a single row or column is a copy.
    if n == 1 || m == 1 {
        to.iter_mut().zip(from).for_each(|(t, &f)| *t = convert(f));
    } else if n < m {
        for (i, row) in from.chunks(m).enumerate() {
            to.iter_mut().skip(i).step_by(n).zip(row).for_each(|(t, &f)| *t = convert(f));
        }
    } else {
        for (j, row) in to.chunks_mut(n).enumerate() {
            row.iter_mut().zip(from.iter().skip(j).step_by(m)).for_each(|(t, &f)| *t = convert(f));
        }
    }
}

/// Rows of these irreps in the other layout: from `layout` to the one that is left.
///
/// # Panics
/// If `x` or `out` is not a number of whole rows.
pub fn transpose<T: Copy>(irreps: &Irreps, layout: Layout, x: &[T], out: &mut [T]) {
    let dim = irreps.dim();
    if dim == 0 {
        return;
    }
    assert!(x.len() == out.len() && x.len().is_multiple_of(dim), "whole rows of {dim} numbers");
    for (x, out) in x.chunks(dim).zip(out.chunks_mut(dim)) {
        for (block, slice) in irreps.blocks().iter().zip(irreps.slices()) {
            let [rows, columns] = [block.irrep.dim(), block.mul];
            let shape = if layout == Layout::MulIr { [columns, rows] } else { [rows, columns] };
            if !slice.is_empty() {
                transpose_block(shape, &x[slice.clone()], &mut out[slice], |x| x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_transposed_and_back() {
        let irreps: Irreps = "2x0e+3x1o+0x1e+1x2e+9x1o".parse().unwrap();
        let x: Vec<usize> = (0..2 * irreps.dim()).collect();
        let (mut y, mut z) = (vec![0; x.len()], vec![0; x.len()]);
        transpose(&irreps, Layout::MulIr, &x, &mut y);
        assert_eq!(y[..11], [0, 1, 2, 5, 8, 3, 6, 9, 4, 7, 10]);
        assert_eq!(y[11..16], x[11..16]);
        assert_eq!(y[16..19], [16, 19, 22]);
        assert_eq!(y[irreps.dim() + 3], irreps.dim() + 5);
        transpose(&irreps, Layout::IrMul, &y, &mut z);
        assert_eq!(x, z);
    }
}
