//! Memory for intermediates: the caller's, handed out in pieces, so that nothing is allocated while an operation runs.

use crate::parallel::Disjoint;
use crate::simd::{Real, Value};
use crate::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A cache line; what scratch memory is counted in.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line([u64; 8]);

/// Lines that `n` values need.
pub(crate) fn lines<T>(n: usize) -> usize {
    (n * size_of::<T>()).div_ceil(size_of::<Line>())
}

/// What is left of the scratch memory. Its contents are anything.
pub(crate) struct Scratch<'a> {
    rest: &'a mut [Line],
}

impl<'a> Scratch<'a> {
    pub fn new(memory: &'a mut [Line]) -> Scratch<'a> {
        Scratch { rest: memory }
    }

    /// The same memory once more, for what ends before the rest goes on.
    pub fn again(&mut self) -> Scratch<'_> {
        Scratch { rest: self.rest }
    }

    /// # Panics
    /// If there is not enough: the size that the kernel promised is wrong.
    pub fn indices(&mut self, n: usize) -> &'a mut [u32] {
        // SAFETY: any bits are a number.
        unsafe { self.piece(n) }
    }

    /// Numbers in the type of computing.
    pub fn reals<T: Real>(&mut self, n: usize) -> &'a mut [T] {
        // SAFETY: `f64` or `f32`.
        unsafe { self.piece(n) }
    }

    pub fn values<N: Value>(&mut self, n: usize) -> &'a mut [N] {
        // SAFETY: a vector of numbers, or two of them.
        unsafe { self.piece(n) }
    }

    /// # Safety
    /// Every pattern of bits is a `T`.
    unsafe fn piece<T>(&mut self, n: usize) -> &'a mut [T] {
        const { assert!(align_of::<T>() <= align_of::<Line>()) };
        let (piece, rest) = std::mem::take(&mut self.rest).split_at_mut(lines::<T>(n));
        self.rest = rest;
        // SAFETY: the piece is exclusive, large and aligned enough, initialised, and any bits are a `T` by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), n) }
    }

    /// A piece of `lines` for each of `n` threads.
    pub fn shares(mut self, n: usize, lines: usize) -> Shares<'a> {
        let rest = std::mem::take(&mut self.rest);
        Shares { memory: Disjoint::new(&mut rest[..n * lines]), lines, next: AtomicUsize::new(0) }
    }
}

/// Pieces of equal size, one a thread.
pub(crate) struct Shares<'a> {
    memory: Disjoint<'a, Line>,
    lines: usize,
    next: AtomicUsize,
}

impl Shares<'_> {
    /// A piece that nobody else has.
    pub fn next(&self) -> Scratch<'_> {
        let k = self.next.fetch_add(1, Relaxed);
        // SAFETY: no two have the same number; `slice` refuses one that is too large.
        Scratch { rest: unsafe { self.memory.slice(k * self.lines, self.lines) } }
    }
}

/// Scratch memory that grows to what is needed, and then stays.
#[derive(Debug, Default)]
pub struct Workspace {
    memory: Vec<Line>,
}

impl Workspace {
    pub fn new() -> Workspace {
        Workspace::default()
    }

    /// With room for this many bytes.
    ///
    /// # Errors
    /// If there is no such memory.
    pub fn with_bytes(bytes: usize) -> Result<Workspace> {
        let mut workspace = Workspace::new();
        workspace.lines(bytes.div_ceil(size_of::<Line>()))?;
        Ok(workspace)
    }

    pub fn bytes(&self) -> usize {
        self.memory.len() * size_of::<Line>()
    }

    pub(crate) fn lines(&mut self, n: usize) -> Result<&mut [Line]> {
        if self.memory.len() < n {
            // What is there is not worth a copy.
            self.memory = Vec::new();
            let refused = |_| Error::Argument(format!("no memory for {n} lines of scratch"));
            self.memory.try_reserve_exact(n).map_err(refused)?;
            self.memory.resize(n, Line([0; 8]));
        }
        Ok(&mut self.memory[..n])
    }

    /// Fills the memory with numbers that must not matter.
    pub fn soil(&mut self) {
        self.memory.fill(Line([f64::NAN.to_bits(); 8]));
    }
}
