//! Tapes on the processor: arrays are vectors, operations those of [`crate::ops::Op`].

use super::engine::{Along, Engine};
use super::tape::Curve;
use crate::dtype::Storage;
use crate::ops::{Args, Op, Pass, Sizes, Spec, Workspace};
use crate::{Error, Result};
use crate::{memory, parallel};
use std::marker::PhantomData;
use std::sync::Arc;

/// Numbers that a thread works on at a time.
const CHUNK: usize = 1 << 13;

pub struct Processor<S>(PhantomData<S>);

impl<S> Processor<S> {
    pub fn new() -> Processor<S> {
        Processor(PhantomData)
    }
}

/// The indices of an operation.
pub struct Lists {
    sizes: Sizes,
    indices: Vec<Arc<[u32]>>,
}

impl Lists {
    /// Runs `f` with the arguments of a call.
    fn with<S, T>(&self, inputs: &[&Vec<S>], f: impl FnOnce(&Args<S>) -> T) -> T {
        let inputs: Vec<&[S]> = inputs.iter().map(|x| &x[..]).collect();
        let indices: Vec<&[u32]> = self.indices.iter().map(|i| &i[..]).collect();
        f(&Args { sizes: self.sizes, inputs: &inputs, indices: &indices })
    }
}

fn slices<S>(arrays: &mut [Option<Vec<S>>]) -> Vec<Option<&mut [S]>> {
    arrays.iter_mut().map(Option::as_deref_mut).collect()
}

/// An array of what `f` says of each place.
fn made<S: Storage>(n: usize, f: impl Fn(usize) -> f64 + Sync) -> Result<Vec<S>> {
    let mut out = Vec::new();
    memory::resize(&mut out, n, S::default());
    parallel::for_chunks_mut(&mut out, CHUNK, |c, part| {
        part.iter_mut().zip(c * CHUNK..).for_each(|(to, k)| *to = S::of(f(k)));
    });
    Ok(out)
}

fn at<S: Storage>(x: Option<&Vec<S>>, k: usize) -> f64 {
    x.map_or(0.0, |x| x[k].to_f64())
}

/// What operations refuse after all has been checked is a number that their type cannot hold.
fn beyond(error: Error) -> Error {
    match error {
        Error::Argument(text) => Error::NotFinite(text),
        other => other,
    }
}

impl<S: Storage> Engine for Processor<S> {
    type Number = S;
    type Array = Vec<S>;
    type Op = Op<S>;
    type Lists = Lists;
    type Scratch = Workspace;

    fn op(&self, spec: &Spec) -> Result<Op<S>> {
        Op::new(spec)
    }

    fn lists(&self, _: &Op<S>, sizes: Sizes, indices: Vec<Arc<[u32]>>) -> Result<Lists> {
        Ok(Lists { sizes, indices })
    }

    fn check<'a>(
        &self,
        numbers: f64,
        ops: impl Iterator<Item = (&'a Op<S>, Sizes)>,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        let scratch = ops.map(|(op, sizes)| op.scratch(sizes, Pass::DoubleBackward) as f64);
        memory::check(numbers * size_of::<S>() as f64 + scratch.fold(0.0, f64::max), what)
    }

    fn run<T>(&self, f: impl FnOnce(&mut Workspace) -> Result<T>) -> Result<T> {
        f(&mut Workspace::new())
    }

    fn array(&self, n: usize) -> Result<Vec<S>> {
        self.zeros(n)
    }

    fn zeros(&self, n: usize) -> Result<Vec<S>> {
        let mut array = Vec::new();
        memory::resize(&mut array, n, S::default());
        Ok(array)
    }

    fn upload(&self, x: Vec<S>) -> Result<Vec<S>> {
        Ok(x)
    }

    fn download(&self, x: &Vec<S>) -> Result<Vec<S>> {
        Ok(x.clone())
    }

    fn forward(
        &self,
        (op, lists): (&Op<S>, &Lists),
        inputs: &[&Vec<S>],
        out: &mut Vec<S>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        lists.with(inputs, |args| op.forward(args, out, workspace)).map_err(beyond)
    }

    fn backward(
        &self,
        (op, lists): (&Op<S>, &Lists),
        inputs: &[&Vec<S>],
        cotangent: &Vec<S>,
        gradients: &mut [Option<Vec<S>>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let mut gradients = slices(gradients);
        lists.with(inputs, |args| op.backward(args, cotangent, &mut gradients, workspace)).map_err(beyond)
    }

    fn double_backward(
        &self,
        (op, lists): (&Op<S>, &Lists),
        inputs: &[&Vec<S>],
        cotangent: &Vec<S>,
        directions: &[Option<&Vec<S>>],
        seconds: &mut [Option<Vec<S>>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let along: Vec<Option<&[S]>> = directions.iter().map(|d| d.map(|d| &d[..])).collect();
        let mut seconds = slices(seconds);
        let pass = |args: &Args<S>| op.double_backward(args, cotangent, &along, &mut seconds, workspace);
        lists.with(inputs, pass).map_err(beyond)
    }

    fn map(&self, curve: Curve, order: usize, x: &Vec<S>, factors: &[&Vec<S>]) -> Result<Vec<S>> {
        made(x.len(), |k| {
            let product: f64 = factors.iter().map(|f| f[k].to_f64()).product();
            curve.eval(x[k].to_f64())[order] * product
        })
    }

    fn scale(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Vec<S>>,
        a: Option<&Vec<S>>,
        b: Option<&Vec<S>>,
    ) -> Result<Vec<S>> {
        made(s.value.len() * width, |k| {
            let row = k / width;
            let [value, slope, _] = curve.eval(s.value[row].to_f64());
            value * at(a, k) + slope * at(s.tangent, row) * at(b, k)
        })
    }

    fn contract(
        &self,
        curve: Curve,
        width: usize,
        s: Along<Vec<S>>,
        c: &Vec<S>,
        a: Option<&Vec<S>>,
        b: Option<&Vec<S>>,
    ) -> Result<Vec<S>> {
        let dot = |row: usize, x: Option<&Vec<S>>| {
            (row * width..(row + 1) * width).map(|k| c[k].to_f64() * at(x, k)).sum::<f64>()
        };
        made(s.value.len(), |row| {
            let [_, slope, second] = curve.eval(s.value[row].to_f64());
            slope * dot(row, a) + second * at(s.tangent, row) * dot(row, b)
        })
    }

    fn add(&self, to: &mut Vec<S>, more: &Vec<S>) -> Result<()> {
        parallel::for_chunks_mut(to, CHUNK, |c, part| {
            let more = &more[c * CHUNK..][..part.len()];
            part.iter_mut().zip(more).for_each(|(x, y)| *x = S::of(x.to_f64() + y.to_f64()));
        });
        Ok(())
    }

    fn copy(&self, x: &Vec<S>) -> Result<Vec<S>> {
        Ok(x.clone())
    }

    fn columns(
        &self,
        n: usize,
        (from, [from_width, from_at]): (&Vec<S>, [usize; 2]),
        (to, [to_width, to_at]): (&mut Vec<S>, [usize; 2]),
    ) -> Result<()> {
        let width = (from_width - from_at).min(to_width - to_at);
        for row in 0..n {
            let from = &from[row * from_width + from_at..][..width];
            to[row * to_width + to_at..][..width].copy_from_slice(from);
        }
        Ok(())
    }

    fn part(&self, width: usize, [own, parts]: [usize; 2], x: &Vec<S>) -> Result<Vec<S>> {
        made(x.len(), |k| if k % width * parts / width == own { x[k].to_f64() } else { 0.0 })
    }
}
