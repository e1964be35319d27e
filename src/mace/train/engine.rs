//! Where arrays of a tape live, and what computes on them.

use super::tape::Curve;
use crate::Result;
use crate::dtype::Storage;
use crate::ops::{Sizes, Spec};
use std::sync::Arc;

/// A device as a tape sees it. Arrays are rows of [`Engine::Number`]; every function gives the same bits every time.
pub trait Engine: Send + Sync {
    type Number: Storage;
    type Array: Send + Sync;
    type Op: Send + Sync;
    /// What an operation makes of sizes and indices.
    type Lists: Send + Sync;
    /// Memory that passes use one after another.
    type Scratch;

    /// # Errors
    /// As [`crate::ops::Op::new`].
    fn op(&self, spec: &Spec) -> Result<Self::Op>;

    /// # Errors
    /// Indices out of range; the driver's.
    fn lists(&self, op: &Self::Op, sizes: Sizes, indices: Vec<Arc<[u32]>>) -> Result<Self::Lists>;

    /// Whether there is memory for so many numbers, and the scratch memory of such operations.
    ///
    /// # Errors
    /// [`crate::Error::Memory`], with `what`.
    fn check<'a>(
        &self,
        numbers: f64,
        ops: impl Iterator<Item = (&'a Self::Op, Sizes)>,
        what: impl FnOnce() -> String,
    ) -> Result<()>
    where
        Self::Op: 'a;

    /// Runs passes, and waits for them. What `f` calls does not use the threads of a pool on the way to a device.
    ///
    /// # Errors
    /// Those of `f`; results of operations that are not finite.
    fn run<T>(&self, f: impl FnOnce(&mut Self::Scratch) -> Result<T>) -> Result<T>;

    /// Memory whose contents are anything.
    ///
    /// # Errors
    /// None left, here and below.
    fn array(&self, n: usize) -> Result<Self::Array>;
    fn zeros(&self, n: usize) -> Result<Self::Array>;
    fn upload(&self, x: Vec<Self::Number>) -> Result<Self::Array>;
    fn download(&self, x: &Self::Array) -> Result<Vec<Self::Number>>;

    /// `out = y(inputs)`
    fn forward(
        &self,
        op: (&Self::Op, &Self::Lists),
        inputs: &[&Self::Array],
        out: &mut Self::Array,
        scratch: &mut Self::Scratch,
    ) -> Result<()>;

    /// As [`crate::ops::Op::backward`].
    fn backward(
        &self,
        op: (&Self::Op, &Self::Lists),
        inputs: &[&Self::Array],
        cotangent: &Self::Array,
        gradients: &mut [Option<Self::Array>],
        scratch: &mut Self::Scratch,
    ) -> Result<()>;

    /// As [`crate::ops::Op::double_backward`].
    fn double_backward(
        &self,
        op: (&Self::Op, &Self::Lists),
        inputs: &[&Self::Array],
        cotangent: &Self::Array,
        directions: &[Option<&Self::Array>],
        seconds: &mut [Option<Self::Array>],
        scratch: &mut Self::Scratch,
    ) -> Result<()>;

    /// Derivative `order` of the curve at `x`, times the factors.
    fn map(&self, curve: Curve, order: usize, x: &Self::Array, factors: &[&Self::Array]) -> Result<Self::Array>;

    /// By row with the number `s`: `φ(s) a + φ'(s) ds b`, rows of `width`.
    fn scale(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Self::Array>,
        a: Option<&Self::Array>,
        b: Option<&Self::Array>,
    ) -> Result<Self::Array>;

    /// By row with the number `s`: `φ'(s) ⟨c, a⟩ + φ''(s) ds ⟨c, b⟩`, rows of `width`.
    fn contract(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Self::Array>,
        c: &Self::Array,
        a: Option<&Self::Array>,
        b: Option<&Self::Array>,
    ) -> Result<Self::Array>;

    /// `to += more`
    fn add(&self, to: &mut Self::Array, more: &Self::Array) -> Result<()>;

    fn copy(&self, x: &Self::Array) -> Result<Self::Array>;

    /// Copies columns of rows of the width `w` from the column `at`, (w, at) each, as many as there are in both.
    fn columns(&self, n: usize, from: (&Self::Array, [usize; 2]), to: (&mut Self::Array, [usize; 2])) -> Result<()>;

    /// Columns of one part of several equal ones, (which, how many); others become zero.
    fn part(&self, width: usize, own_of: [usize; 2], x: &Self::Array) -> Result<Self::Array>;
}

/// Numbers, and their tangents where these are not zero.
pub struct Along<'a, A> {
    pub value: &'a A,
    pub tangent: Option<&'a A>,
}
