//! What every operation is: named arguments, a result, and three passes over them.

use super::irreps::Irreps;
use super::layout;
use super::scratch::Scratch;
use crate::parallel;
use crate::simd::{Lanes, Real, Value};
use crate::{Error, Result};

/// What the rows of an argument are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Extent {
    /// As many as [`Sizes::rows`]; the edges of a convolution.
    Rows,
    /// As many as [`Sizes::nodes`].
    Nodes,
    /// This many: weights.
    Fixed(usize),
}

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Rows; the edges of a convolution.
    pub rows: usize,
    /// Nodes of a convolution; other operations have none.
    pub nodes: usize,
}

impl Sizes {
    /// # Errors
    /// Where an index could not count them.
    pub(crate) fn check(self) -> Result<()> {
        match self.rows.max(self.nodes) < u32::MAX as usize {
            true => Ok(()),
            false => Err(Error::Argument(format!("{} rows and {} nodes are too many", self.rows, self.nodes))),
        }
    }
}

/// An argument or the result: a matrix of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    pub name: String,
    pub extent: Extent,
    /// Numbers in a row.
    pub width: usize,
    /// Matrices (2l + 1, mul) in a row, whose layout may be chosen. None where it may not.
    pub blocks: Vec<[usize; 2]>,
}

impl Port {
    pub(crate) fn new(name: impl Into<String>, extent: Extent, width: usize) -> Port {
        Port { name: name.into(), extent, width, blocks: Vec::new() }
    }

    pub(crate) fn of_irreps(name: &str, extent: Extent, irreps: &Irreps) -> Port {
        Port { blocks: layout::shapes(irreps), ..Port::new(name, extent, irreps.dim()) }
    }

    pub fn n_rows(&self, sizes: Sizes) -> usize {
        match self.extent {
            Extent::Rows => sizes.rows,
            Extent::Nodes => sizes.nodes,
            Extent::Fixed(n) => n,
        }
    }

    /// Numbers in all rows.
    pub fn len(&self, sizes: Sizes) -> usize {
        self.n_rows(sizes).saturating_mul(self.width)
    }

    /// # Errors
    /// If `len` numbers, which are called `name`, are not all rows.
    pub(crate) fn check_len(&self, name: &str, sizes: Sizes, len: usize) -> Result<()> {
        let (n_rows, width) = (self.n_rows(sizes), self.width);
        match Some(len) == n_rows.checked_mul(width) {
            true => Ok(()),
            false => Err(Error::Argument(format!("{name}: {len} numbers, expected {n_rows} × {width}"))),
        }
    }
}

/// An argument of indices: one a row.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexPort {
    pub name: &'static str,
    /// How many there are to choose from; none: the nodes.
    pub bound: Option<usize>,
}

/// All arguments and the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Ports {
    pub inputs: Vec<Port>,
    pub indices: Vec<IndexPort>,
    pub output: Port,
}

impl Ports {
    /// The length of what belongs to each of the inputs, if it is there, and that there are as many; `what` stands before their names.
    ///
    /// # Errors
    /// Another number of them, a wrong length.
    pub(crate) fn check_inputs(
        &self,
        what: &str,
        n: usize,
        sizes: Sizes,
        len: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        if n != self.inputs.len() {
            let names: Vec<&str> = self.inputs.iter().map(|p| &p.name[..]).collect();
            let expected = format!("expected {}: {}", self.inputs.len(), names.join(", "));
            return Err(Error::Argument(format!("{what}inputs: {n} of them, {expected}")));
        }
        for (k, port) in self.inputs.iter().enumerate() {
            if let Some(len) = len(k) {
                port.check_len(&format!("{what}{}", port.name), sizes, len)?;
            }
        }
        Ok(())
    }

    /// The lengths of second gradients: by input, and that of the cotangent last.
    ///
    /// # Errors
    /// As [`Ports::check_inputs`].
    pub(crate) fn check_seconds(&self, n: usize, sizes: Sizes, len: impl Fn(usize) -> Option<usize>) -> Result<()> {
        let Some(last) = n.checked_sub(1) else {
            return Err(Error::Argument(format!("0 second gradients, expected {}", self.inputs.len() + 1)));
        };
        self.check_inputs("second gradient of ", last, sizes, &len)?;
        len(last).map_or(Ok(()), |len| self.output.check_len("second gradient of cotangent", sizes, len))
    }

    /// Lengths and ranges of all indices.
    ///
    /// # Errors
    /// A list that is missing or of another length than there are rows, an index out of range.
    pub(crate) fn check_indices(&self, sizes: Sizes, indices: &[&[u32]]) -> Result<()> {
        if indices.len() != self.indices.len() {
            let (n, expected) = (indices.len(), self.indices.len());
            return Err(Error::Argument(format!("{n} arguments of indices, expected {expected}")));
        }
        for (IndexPort { name, bound }, index) in self.indices.iter().zip(indices) {
            let bound = bound.unwrap_or(sizes.nodes);
            if index.len() != sizes.rows {
                return Err(Error::Argument(format!("{name}: {} indices, expected {}", index.len(), sizes.rows)));
            }
            if let Some(k) = index.iter().position(|&i| i as usize >= bound) {
                return Err(Error::Argument(format!("{name}: {} at {k}, expected less than {bound}", index[k])));
            }
        }
        Ok(())
    }
}

/// The most arguments that an operation has.
pub(crate) const MAX_INPUTS: usize = 40;

/// Which pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    Forward,
    Backward,
    DoubleBackward,
}

/// The arguments of one call, checked, in the type of computing and in `ir_mul`.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a, T> {
    pub sizes: Sizes,
    pub inputs: &'a [&'a [T]],
    pub indices: &'a [&'a [u32]],
}

/// One of the results of a backward pass, where it is asked for.
pub(crate) type Wanted<'a, 'b, T> = &'a mut [Option<&'b mut [T]>];

/// An operation for one type of vectors. With the result `y(x)`, the cotangent `ȳ` and `s = Σ ȳ y`:
/// forward gives `y`, backward `∂s/∂x` and, along directions `ẋ`, double backward the gradient of `t = Σ ẋ ∂s/∂x` with respect
/// to every `x`, which is the tangent of backward, and to `ȳ`, which is the tangent of forward.
///
/// Results are overwritten. They depend neither on the number of threads nor on what the scratch memory holds.
pub(crate) trait Kernel<T: Real>: Send + Sync {
    /// Lines of scratch memory, for as many threads.
    fn scratch(&self, sizes: Sizes, pass: Pass, threads: usize) -> usize;
    fn forward(&self, call: Call<T>, out: &mut [T], scratch: Scratch);
    fn backward(&self, call: Call<T>, cotangent: &[T], gradients: Wanted<T>, scratch: Scratch);
    /// `directions` by input, none for zero; `seconds` by input, and that of the cotangent last.
    fn double_backward(
        &self,
        call: Call<T>,
        cotangent: &[T],
        directions: &[Option<&[T]>],
        seconds: Wanted<T>,
        scratch: Scratch,
    );
    /// What is wrong with the numbers themselves, after the result was found not to be finite.
    fn diagnose(&self, _call: Call<T>) -> Option<String> {
        None
    }
}

/// An argument, and its direction where there is one.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a, T> {
    pub value: &'a [T],
    pub tangent: Option<&'a [T]>,
}

impl<'a, T: Real> Source<'a, T> {
    pub fn constant(value: &'a [T]) -> Source<'a, T> {
        Source { value, tangent: None }
    }

    #[inline(always)]
    pub fn from(self, start: usize) -> Source<'a, T> {
        Source { value: &self.value[start..], tangent: self.tangent.map(|t| &t[start..]) }
    }

    /// The `n ≤ N` numbers from `at` on; zeros after them.
    #[inline(always)]
    pub fn load<V: Value<Real = T>>(self, at: usize, n: usize) -> V {
        let value = load_part(&self.value[at..], n);
        match self.tangent {
            Some(tangent) if V::HAS_TANGENT => V::join(value, load_part(&tangent[at..], n)),
            _ => V::join(value, V::Plain::zero()),
        }
    }

    /// As [`Source::load`], without looking at lengths.
    ///
    /// # Safety
    /// There are `at + n` numbers.
    #[inline(always)]
    pub unsafe fn load_at<V: Value<Real = T>>(self, at: usize, n: usize) -> V {
        // SAFETY: the caller has counted the values, and a direction is as long as they are.
        unsafe {
            let value = load_at(self.value, at, n);
            match self.tangent {
                Some(tangent) if V::HAS_TANGENT => V::join(value, load_at(tangent, at, n)),
                _ => V::join(value, V::Plain::zero()),
            }
        }
    }

    /// One number in all lanes.
    #[inline(always)]
    pub fn splat<V: Value<Real = T>>(self, at: usize) -> V {
        let tangent = if V::HAS_TANGENT { self.tangent.map_or(T::default(), |t| t[at]) } else { T::default() };
        V::join(V::Plain::splat(self.value[at]), V::Plain::splat(tangent))
    }

    /// As [`Source::splat`], without looking at lengths.
    ///
    /// # Safety
    /// There is such a number.
    #[inline(always)]
    pub unsafe fn splat_at<V: Value<Real = T>>(self, at: usize) -> V {
        debug_assert!(at < self.value.len() && self.tangent.is_none_or(|t| at < t.len()));
        // SAFETY: the caller has counted the values, and a direction is as long as they are.
        let number = |x: &[T]| unsafe { *x.get_unchecked(at) };
        let tangent = if V::HAS_TANGENT { self.tangent.map_or(T::default(), number) } else { T::default() };
        V::join(V::Plain::splat(number(self.value)), V::Plain::splat(tangent))
    }
}

/// An array, entry by entry. In kernels there are no closures over vectors: what the compiler does not inline would be compiled
/// without their instruction set, and be ten times slower.
macro_rules! entries {
    ($k:ident < $n:expr, $zero:expr => $value:expr) => {{
        let mut all = [$zero; $n];
        for ($k, entry) in all.iter_mut().enumerate() {
            *entry = $value;
        }
        all
    }};
}
pub(crate) use entries;

/// The first `n ≤ N` numbers, and zeros.
#[inline(always)]
pub(crate) fn load_part<V: Lanes>(x: &[V::Real], n: usize) -> V {
    if n == V::N { V::load(x) } else { V::from_fn(|k| if k < n { x[k] } else { V::Real::default() }) }
}

/// The `n ≤ N` numbers from `at` on, and zeros.
///
/// # Safety
/// There are `at + n` numbers.
#[inline(always)]
pub(crate) unsafe fn load_at<V: Lanes>(x: &[V::Real], at: usize, n: usize) -> V {
    debug_assert!(at + n <= x.len());
    // SAFETY: the caller has counted: `at + n` are there.
    load_part(unsafe { x.get_unchecked(at..at + n) }, n)
}

/// Overwrites the `n ≤ N` numbers from `at` on.
///
/// # Safety
/// There are `at + n` numbers.
#[inline(always)]
pub(crate) unsafe fn store_at<V: Lanes>(v: V, x: &mut [V::Real], at: usize, n: usize) {
    debug_assert!(at + n <= x.len());
    // SAFETY: the caller has counted: `at + n` are there.
    store_part(v, unsafe { x.get_unchecked_mut(at..at + n) }, n);
}

/// Overwrites the first `n ≤ N` numbers.
#[inline(always)]
pub(crate) fn store_part<V: Lanes>(v: V, x: &mut [V::Real], n: usize) {
    if n == V::N {
        v.store(x);
    } else {
        x[..n].copy_from_slice(&v.to_array()[..n]);
    }
}

/// Runs `f` for parts of `0..n` of at most `size`.
pub(crate) fn for_parts(n: usize, size: usize, f: impl Fn(std::ops::Range<usize>) + Sync) {
    parallel::for_each_init(n.div_ceil(size), || (), |(), k| f(k * size..n.min((k + 1) * size)));
}

/// Fills with zeros, on all threads.
pub(crate) fn clear<T: Real>(x: &mut [T]) {
    parallel::for_chunks_mut(x, 1 << 15, |_, x| x.fill(T::default()));
}
