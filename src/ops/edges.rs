//! The edges of a convolution, by receiver or by sender, in an order that does not depend on how they were given.

use super::kernel::Call;
use super::scratch::{Scratch, lines};
use super::species::counting_sort;
use crate::simd::Real;
use std::cmp::Ordering;

/// Edges by one of their ends, the *centre*.
#[derive(Clone, Copy)]
pub(crate) struct Edges<'a> {
    /// The edges of centre `i` are `order[first[i]..first[i + 1]]`.
    first: &'a [u32],
    order: &'a [u32],
    /// The centres and other ends of all edges, as they were given.
    other: &'a [u32],
}

impl<'a> Edges<'a> {
    pub fn lines(rows: usize, nodes: usize) -> usize {
        2 * lines::<u32>(rows) + lines::<u32>(nodes.max(rows) + 1)
    }

    /// Every row is the only edge of its own centre, to itself: a product without a convolution.
    pub fn rows(n: usize, scratch: &mut Scratch<'a>) -> Edges<'a> {
        let first = scratch.indices(n + 1);
        first.iter_mut().zip(0..).for_each(|(f, k)| *f = k);
        Edges { first, order: &first[..n], other: &first[..n] }
    }

    /// Sorted by centre, then by the other end; between the same two nodes by what `compare` says.
    pub fn sorted(
        centre: &'a [u32],
        other: &'a [u32],
        nodes: usize,
        compare: impl Fn(u32, u32) -> Ordering,
        scratch: &mut Scratch<'a>,
    ) -> Edges<'a> {
        let (order, by_other) = (scratch.indices(centre.len()), scratch.indices(centre.len()));
        let first = scratch.indices(nodes + 1);
        let ends = |e: u32| (centre[e as usize], other[e as usize]);
        if (1..centre.len() as u32).all(|e| ends(e - 1) < ends(e)) {
            counting_sort(centre, 0..centre.len() as u32, first, order);
            return Edges { first, order, other };
        }
        counting_sort(other, 0..centre.len() as u32, first, by_other);
        counting_sort(centre, by_other.iter().copied(), first, order);
        for same in order.chunk_by_mut(|&a, &b| ends(a) == ends(b)).filter(|same| same.len() > 1) {
            same.sort_unstable_by(|&a, &b| compare(a, b));
        }
        Edges { first, order, other }
    }

    /// Number of centres.
    pub fn len(&self) -> usize {
        self.first.len() - 1
    }

    /// The edges of a centre, with their other ends.
    #[inline(always)]
    pub fn of(&self, centre: usize) -> impl Iterator<Item = (usize, usize)> + Clone + 'a {
        let other = self.other;
        self.order[self.first[centre] as usize..self.first[centre + 1] as usize]
            .iter()
            .map(move |&e| (e as usize, other[e as usize] as usize))
    }
}

/// The edges of a call with the indices `sender` and `receiver`, or none; the arguments after the first one are given by edge.
/// By receiver, or by sender.
pub(crate) fn edges<'a, T: Real>(
    call: Call<'a, T>,
    by_sender: bool,
    directions: &[Option<&[T]>],
    scratch: &mut Scratch<'a>,
) -> Edges<'a> {
    let [sender, receiver] = call.indices else { return Edges::rows(call.sizes.rows, scratch) };
    let (centre, other) = if by_sender { (sender, receiver) } else { (receiver, sender) };
    // Edges between the same two atoms differ in what they carry; edges that do not are the same to any sum.
    let carried = call.inputs[1..].iter().copied().chain(directions.iter().skip(1).copied().flatten());
    let rows = call.sizes.rows;
    let compare = |a: u32, b: u32| {
        let order = |x: &[T]| match x.len() / rows {
            width if width * rows == x.len() => {
                let row = |e: u32| &x[e as usize * width..][..width];
                let differ = row(a).iter().zip(row(b)).map(|(p, q)| p.to_f64().total_cmp(&q.to_f64()));
                differ.fold(Ordering::Equal, Ordering::then)
            }
            _ => Ordering::Equal,
        };
        carried.clone().map(order).fold(Ordering::Equal, Ordering::then)
    };
    Edges::sorted(centre, other, call.sizes.nodes, compare, scratch)
}
