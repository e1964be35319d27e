//! Operations one after another: forwards, backwards, and both along a direction.
//!
//! With values `x`, their tangents `ẋ` along a direction, and the gradients `x̄` of a sum of results, the tangents of the gradients are
//! `d/dε x̄(x + ε ẋ)`: what backwards does, differentiated. For a single operation that is its double backward pass, with the
//! gradient of its result, and its backward pass with the tangent of that.

use crate::Result;
use crate::dtype::Storage;
use crate::memory;
use crate::ops::{Args, Extent, Op, Sizes, Workspace};
use std::ops::Range;

/// What one number becomes, with two derivatives.
pub type Function = Box<dyn Fn(f64) -> [f64; 3] + Send + Sync>;

/// An array of rows.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    pub extent: Extent,
    pub width: usize,
    /// Is it a parameter, or does it depend on some?
    pub is_parameter: bool,
    pub varies: bool,
    /// Does it depend on where atoms are?
    pub moves: bool,
}

/// Lists of indices that operations choose by.
#[derive(Clone, Copy, Debug)]
pub enum Index {
    Species,
    Sender,
    Receiver,
    /// A zero for each atom.
    Zero,
}

pub enum Kind<S: Storage> {
    /// Over atoms, or over edges.
    Op {
        op: Box<Op<S>>,
        over: Extent,
        indices: Vec<Index>,
    },
    /// `φ` of every number.
    Map(Function),
    /// The rows of the first times `φ` of the number in that row of the second.
    Scale(Function),
    Add,
    /// Rows side by side.
    Concat,
    /// The columns of the head, of as many equal parts; the others become zero.
    OwnPart {
        heads: usize,
    },
}

pub struct Step<S: Storage> {
    pub kind: Kind<S>,
    pub inputs: Vec<usize>,
    pub out: usize,
}

pub struct Tape<S: Storage> {
    pub values: Vec<Value>,
    pub steps: Vec<Step<S>>,
}

/// How much there is of everything, and indices.
#[derive(Default)]
pub struct Counts {
    pub atoms: usize,
    pub species: Vec<u32>,
    pub sender: Vec<u32>,
    pub receiver: Vec<u32>,
    pub zeros: Vec<u32>,
    pub head: usize,
}

/// Arrays by value; none where there is nothing, which is zero.
pub type Arrays<S> = Vec<Option<Vec<S>>>;

impl Counts {
    pub fn edges(&self) -> usize {
        self.sender.len()
    }

    pub fn rows(&self, extent: Extent) -> usize {
        match extent {
            Extent::Nodes => self.atoms,
            Extent::Rows => self.edges(),
            Extent::Fixed(n) => n,
        }
    }

    fn index(&self, index: Index) -> &[u32] {
        match index {
            Index::Species => &self.species,
            Index::Sender => &self.sender,
            Index::Receiver => &self.receiver,
            Index::Zero => &self.zeros,
        }
    }

    fn sizes(&self, over: Extent) -> Sizes {
        Sizes { rows: self.rows(over), nodes: self.atoms }
    }
}

impl<S: Storage> Tape<S> {
    pub fn len(&self, counts: &Counts, value: usize) -> usize {
        counts.rows(self.values[value].extent) * self.values[value].width
    }

    /// About what all arrays take, bytes: values, tangents, gradients and theirs.
    pub fn bytes(&self, counts: &Counts) -> f64 {
        let numbers: f64 = (0..self.values.len()).map(|v| self.len(counts, v) as f64).sum();
        let scratch = self.steps.iter().map(|step| match &step.kind {
            Kind::Op { op, over, .. } => op.scratch(counts.sizes(*over), crate::ops::Pass::DoubleBackward) as f64,
            _ => 0.0,
        });
        4.0 * numbers * size_of::<S>() as f64 + scratch.fold(0.0, f64::max)
    }

    fn array(&self, counts: &Counts, value: usize) -> Vec<S> {
        let mut array = Vec::new();
        memory::resize(&mut array, self.len(counts, value), S::default());
        array
    }

    /// Fills in what is not there yet.
    pub fn forward(&self, counts: &Counts, x: &mut Arrays<S>, workspace: &mut Workspace) -> Result<()> {
        for step in &self.steps {
            let mut out = self.array(counts, step.out);
            let inputs: Vec<&[S]> = step.inputs.iter().map(|&k| of(x, k)).collect();
            match &step.kind {
                Kind::Op { op, over, indices } => {
                    let indices: Vec<&[u32]> = indices.iter().map(|&i| counts.index(i)).collect();
                    let args = Args { sizes: counts.sizes(*over), inputs: &inputs, indices: &indices };
                    op.forward(&args, &mut out, workspace)?;
                }
                Kind::Map(f) => put(&mut out, |k| f(inputs[0][k].to_f64())[0]),
                Kind::Scale(f) => {
                    let width = self.values[step.out].width;
                    put(&mut out, |k| inputs[0][k].to_f64() * f(inputs[1][k / width].to_f64())[0]);
                }
                Kind::Add | Kind::Concat | Kind::OwnPart { .. } => self.linear(step, counts.head, &inputs, &mut out),
            }
            x[step.out] = Some(out);
        }
        Ok(())
    }

    /// From tangents of some values to those of all that depend on them.
    pub fn tangents(
        &self,
        counts: &Counts,
        x: &Arrays<S>,
        dx: &mut Arrays<S>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        for step in self.steps.iter().filter(|step| self.values[step.out].moves) {
            let mut out = self.array(counts, step.out);
            let inputs: Vec<&[S]> = step.inputs.iter().map(|&k| of(x, k)).collect();
            let along: Vec<Option<&[S]>> = step.inputs.iter().map(|&k| dx[k].as_deref()).collect();
            let number = |d: Option<&[S]>, k: usize| d.map_or(0.0, |d| d[k].to_f64());
            match &step.kind {
                Kind::Op { op, over, indices } => {
                    let indices: Vec<&[u32]> = indices.iter().map(|&i| counts.index(i)).collect();
                    let args = Args { sizes: counts.sizes(*over), inputs: &inputs, indices: &indices };
                    let nothing = self.array(counts, step.out);
                    let mut seconds: Vec<Option<&mut [S]>> = inputs.iter().map(|_| None).collect();
                    seconds.push(Some(&mut out));
                    op.double_backward(&args, &nothing, &along, &mut seconds, workspace)?;
                }
                Kind::Map(f) => put(&mut out, |k| f(inputs[0][k].to_f64())[1] * number(along[0], k)),
                Kind::Scale(f) => {
                    let width = self.values[step.out].width;
                    put(&mut out, |k| {
                        let [value, slope, _] = f(inputs[1][k / width].to_f64());
                        let change = slope * number(along[1], k / width);
                        value * number(along[0], k) + change * inputs[0][k].to_f64()
                    });
                }
                Kind::Add | Kind::Concat | Kind::OwnPart { .. } => {
                    let zeros: Vec<Vec<S>> = step.inputs.iter().map(|&k| self.array(counts, k)).collect();
                    let along: Vec<&[S]> = along.iter().zip(&zeros).map(|(d, zero)| d.unwrap_or(zero)).collect();
                    self.linear(step, counts.head, &along, &mut out);
                }
            }
            dx[step.out] = Some(out);
        }
        Ok(())
    }

    /// From gradients by results to those by all values that are `wanted`.
    pub fn reverse(
        &self,
        counts: &Counts,
        x: &Arrays<S>,
        bars: &mut Arrays<S>,
        wanted: impl Fn(&Value) -> bool,
        workspace: &mut Workspace,
    ) -> Result<()> {
        for step in self.steps.iter().rev() {
            if let Some(bar) = bars[step.out].take() {
                let to = self.pull(counts, x, step, &bar, &wanted, workspace)?;
                step.inputs.iter().zip(to).for_each(|(&k, g)| add(&mut bars[k], g));
            }
        }
        Ok(())
    }

    /// [`Tape::reverse`] by what varies with parameters, and its tangents; of parameters these alone.
    pub fn reverse_along(
        &self,
        counts: &Counts,
        [x, dx]: [&Arrays<S>; 2],
        bars: &mut Arrays<S>,
        dbars: &mut Arrays<S>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        for step in self.steps.iter().rev() {
            let (bar, dbar) = (bars[step.out].take(), dbars[step.out].take());
            if let Some(bar) = &bar {
                let inner = |v: &Value| v.varies && !v.is_parameter;
                let to = self.pull(counts, x, step, bar, inner, workspace)?;
                step.inputs.iter().zip(to).for_each(|(&k, g)| add(&mut bars[k], g));
                let to = self.pull_along(counts, [x, dx], step, bar, workspace)?;
                step.inputs.iter().zip(to).for_each(|(&k, g)| add(&mut dbars[k], g));
            }
            if let Some(dbar) = &dbar {
                let to = self.pull(counts, x, step, dbar, |v| v.varies, workspace)?;
                step.inputs.iter().zip(to).for_each(|(&k, g)| add(&mut dbars[k], g));
            }
        }
        Ok(())
    }

    /// The gradients by the inputs of a step that are wanted.
    fn pull(
        &self,
        counts: &Counts,
        x: &Arrays<S>,
        step: &Step<S>,
        bar: &[S],
        wanted: impl Fn(&Value) -> bool,
        workspace: &mut Workspace,
    ) -> Result<Arrays<S>> {
        let inputs: Vec<&[S]> = step.inputs.iter().map(|&k| of(x, k)).collect();
        let room = |&k: &usize| wanted(&self.values[k]).then(|| self.array(counts, k));
        let mut to: Arrays<S> = step.inputs.iter().map(room).collect();
        if to.iter().all(Option::is_none) {
            return Ok(to);
        }
        match &step.kind {
            Kind::Op { op, over, indices } => {
                let indices: Vec<&[u32]> = indices.iter().map(|&i| counts.index(i)).collect();
                let args = Args { sizes: counts.sizes(*over), inputs: &inputs, indices: &indices };
                let mut gradients: Vec<Option<&mut [S]>> = to.iter_mut().map(Option::as_deref_mut).collect();
                op.backward(&args, bar, &mut gradients, workspace)?;
            }
            Kind::Map(f) => {
                for to in to.iter_mut().flatten() {
                    put(to, |k| f(inputs[0][k].to_f64())[1] * bar[k].to_f64());
                }
            }
            Kind::Scale(f) => {
                let width = self.values[step.out].width;
                if let Some(to) = &mut to[0] {
                    put(to, |k| f(inputs[1][k / width].to_f64())[0] * bar[k].to_f64());
                }
                if let Some(to) = &mut to[1] {
                    put(to, |row| f(inputs[1][row].to_f64())[1] * dot(row, width, bar, inputs[0]));
                }
            }
            Kind::Add | Kind::Concat | Kind::OwnPart { .. } => self.transposed(step, counts.head, bar, &mut to),
        }
        Ok(to)
    }

    /// How these gradients change along the direction while that by the result stays.
    fn pull_along(
        &self,
        counts: &Counts,
        [x, dx]: [&Arrays<S>; 2],
        step: &Step<S>,
        bar: &[S],
        workspace: &mut Workspace,
    ) -> Result<Arrays<S>> {
        let along: Vec<Option<&[S]>> = step.inputs.iter().map(|&k| dx[k].as_deref()).collect();
        if along.iter().all(Option::is_none) || matches!(step.kind, Kind::Add | Kind::Concat | Kind::OwnPart { .. }) {
            return Ok(step.inputs.iter().map(|_| None).collect());
        }
        let inputs: Vec<&[S]> = step.inputs.iter().map(|&k| of(x, k)).collect();
        let room = |&k: &usize| self.values[k].varies.then(|| self.array(counts, k));
        let mut to: Arrays<S> = step.inputs.iter().map(room).collect();
        let number = |d: Option<&[S]>, k: usize| d.map_or(0.0, |d| d[k].to_f64());
        match &step.kind {
            Kind::Op { op, over, indices } => {
                let indices: Vec<&[u32]> = indices.iter().map(|&i| counts.index(i)).collect();
                let args = Args { sizes: counts.sizes(*over), inputs: &inputs, indices: &indices };
                let mut seconds: Vec<Option<&mut [S]>> = to.iter_mut().map(Option::as_deref_mut).collect();
                seconds.push(None);
                op.double_backward(&args, bar, &along, &mut seconds, workspace)?;
            }
            Kind::Map(f) => {
                for to in to.iter_mut().flatten() {
                    put(to, |k| f(inputs[0][k].to_f64())[2] * number(along[0], k) * bar[k].to_f64());
                }
            }
            Kind::Scale(f) => {
                let width = self.values[step.out].width;
                if let Some(to) = &mut to[0] {
                    put(to, |k| {
                        let row = k / width;
                        f(inputs[1][row].to_f64())[1] * number(along[1], row) * bar[k].to_f64()
                    });
                }
                if let Some(to) = &mut to[1] {
                    put(to, |row| {
                        let [_, slope, second] = f(inputs[1][row].to_f64());
                        let change = along[0].map_or(0.0, |d| dot(row, width, bar, d));
                        slope * change + second * number(along[1], row) * dot(row, width, bar, inputs[0])
                    });
                }
            }
            Kind::Add | Kind::Concat | Kind::OwnPart { .. } => unreachable!("these are linear"),
        }
        Ok(to)
    }

    fn linear(&self, step: &Step<S>, head: usize, inputs: &[&[S]], out: &mut [S]) {
        let width = self.values[step.out].width;
        match &step.kind {
            Kind::Add => put(out, |k| inputs[0][k].to_f64() + inputs[1][k].to_f64()),
            Kind::OwnPart { heads } => {
                let own = |k: usize| k % width * heads / width == head;
                put(out, |k| if own(k) { inputs[0][k].to_f64() } else { 0.0 });
            }
            _ => {
                for (from, columns) in inputs.iter().zip(self.columns(step)) {
                    for (to, from) in out.chunks_mut(width).zip(from.chunks(columns.len().max(1))) {
                        to[columns.clone()].copy_from_slice(from);
                    }
                }
            }
        }
    }

    fn transposed(&self, step: &Step<S>, head: usize, bar: &[S], to: &mut Arrays<S>) {
        let width = self.values[step.out].width;
        match &step.kind {
            Kind::Add => to.iter_mut().flatten().for_each(|to| to.copy_from_slice(bar)),
            Kind::OwnPart { .. } => to.iter_mut().flatten().for_each(|to| self.linear(step, head, &[bar], to)),
            _ => {
                for (to, columns) in to.iter_mut().zip(self.columns(step)) {
                    for (to, bar) in
                        to.iter_mut().flat_map(|to| to.chunks_mut(columns.len().max(1))).zip(bar.chunks(width))
                    {
                        to.copy_from_slice(&bar[columns.clone()]);
                    }
                }
            }
        }
    }

    /// Where each input of a step is among the columns of its result.
    fn columns(&self, step: &Step<S>) -> Vec<Range<usize>> {
        let mut end = 0;
        let next = |&k: &usize| {
            end += self.values[k].width;
            end - self.values[k].width..end
        };
        step.inputs.iter().map(next).collect()
    }
}

fn of<S>(x: &Arrays<S>, k: usize) -> &[S] {
    x[k].as_deref().expect("a value of a step before")
}

fn put<S: Storage>(out: &mut [S], f: impl Fn(usize) -> f64) {
    out.iter_mut().enumerate().for_each(|(k, out)| *out = S::of(f(k)));
}

fn dot<S: Storage>(row: usize, width: usize, a: &[S], b: &[S]) -> f64 {
    let part = row * width..(row + 1) * width;
    a[part.clone()].iter().zip(&b[part]).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

/// Adds an array to what is there.
pub fn add<S: Storage>(to: &mut Option<Vec<S>>, more: Option<Vec<S>>) {
    match (to.as_mut(), more) {
        (Some(to), Some(more)) => to.iter_mut().zip(more).for_each(|(x, y)| *x = S::of(x.to_f64() + y.to_f64())),
        (None, more) => *to = more,
        (Some(_), None) => {}
    }
}
