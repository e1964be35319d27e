//! A tape on an engine: forwards, backwards, and both along a direction.
//!
//! With values `x`, their tangents `ẋ` along a direction, and the gradients `x̄` of a sum of results, the tangents of the gradients are
//! `d/dε x̄(x + ε ẋ)`: what backwards does, differentiated. For a single operation that is its double backward pass, with the
//! gradient of its result, and its backward pass with the tangent of that.

use super::engine::{Along, Engine};
use super::tape::{Arrays, Counts, Kind, Step, Tape, Value};
use crate::{Result, parallel};
use std::any::Any;
use std::sync::Arc;

/// A tape, on whatever engine.
pub trait Passes<S>: Send + Sync {
    fn tape(&self) -> &Tape;

    /// Replaces values that stay from call to call.
    ///
    /// # Errors
    /// No memory; the driver's.
    fn set_weights(&mut self, weights: Vec<(usize, Vec<S>)>) -> Result<()>;

    /// Whether there is memory for an evaluation and its gradient.
    ///
    /// # Errors
    /// [`crate::Error::Memory`].
    fn check(&self, counts: &Counts, what: &dyn Fn() -> String) -> Result<()>;

    /// All values from those of `leaves`; those of `results`, and from gradients by results those by all `leaves` that move.
    ///
    /// # Errors
    /// Numbers that are not finite; no memory.
    fn evaluate(&self, counts: Counts, leaves: Arrays<S>, results: &[usize], bars: Arrays<S>) -> Result<Evaluated<S>>;

    /// Gradients by parameters of what [`Passes::evaluate`] has kept: tangents of the gradients along a direction.
    ///
    /// # Errors
    /// As there.
    fn gradient(&self, kept: &Kept, along: Arrays<S>, bars: Arrays<S>, dbars: Arrays<S>) -> Result<Arrays<S>>;
}

/// The values of an evaluation.
pub type Kept = Box<dyn Any + Send + Sync>;

pub struct Evaluated<S> {
    pub kept: Kept,
    pub results: Vec<Vec<S>>,
    pub bars: Arrays<S>,
}

pub struct OnEngine<E: Engine> {
    engine: E,
    tape: Tape,
    /// By step; none where it is no operation.
    ops: Vec<Option<E::Op>>,
    weights: Vec<(usize, Arc<E::Array>)>,
}

/// Values and what their steps have made of indices.
struct Values<E: Engine> {
    counts: Counts,
    lists: Vec<Option<E::Lists>>,
    x: Vec<Option<Arc<E::Array>>>,
}

type Bars<E> = Vec<Option<<E as Engine>::Array>>;

impl<E: Engine> OnEngine<E> {
    /// # Errors
    /// Operations that cannot be; the driver's.
    pub fn new(engine: E, tape: Tape) -> Result<OnEngine<E>> {
        let op = |step: &Step| match &step.kind {
            Kind::Op { spec, .. } => engine.op(spec).map(Some),
            _ => Ok(None),
        };
        // Devices compile them.
        let ops = parallel::map(&tape.steps, op).into_iter().collect::<Result<_>>()?;
        Ok(OnEngine { engine, tape, ops, weights: Vec::new() })
    }

    fn upload(&self, arrays: Arrays<E::Number>) -> Result<Bars<E>> {
        arrays.into_iter().map(|x| x.map(|x| self.engine.upload(x)).transpose()).collect()
    }

    fn download(&self, arrays: &Bars<E>, wanted: impl Fn(&Value) -> bool) -> Result<Arrays<E::Number>> {
        let one = |(x, value): (&Option<E::Array>, &Value)| {
            x.as_ref().filter(|_| wanted(value)).map(|x| self.engine.download(x)).transpose()
        };
        arrays.iter().zip(&self.tape.values).map(one).collect()
    }

    fn lists(&self, counts: &Counts) -> Result<Vec<Option<E::Lists>>> {
        let lists = |(step, op): (&Step, &Option<E::Op>)| match (&step.kind, op) {
            (Kind::Op { over, indices, .. }, Some(op)) => {
                let indices = indices.iter().map(|&i| counts.index(i)).collect();
                self.engine.lists(op, counts.sizes(*over), indices).map(Some)
            }
            _ => Ok(None),
        };
        self.tape.steps.iter().zip(&self.ops).map(lists).collect()
    }
}

impl<E: Engine + 'static> Passes<E::Number> for OnEngine<E> {
    fn tape(&self) -> &Tape {
        &self.tape
    }

    fn set_weights(&mut self, weights: Vec<(usize, Vec<E::Number>)>) -> Result<()> {
        let one = |(value, x): (usize, Vec<E::Number>)| Ok((value, Arc::new(self.engine.upload(x)?)));
        self.weights = weights.into_iter().map(one).collect::<Result<_>>()?;
        Ok(())
    }

    fn check(&self, counts: &Counts, what: &dyn Fn() -> String) -> Result<()> {
        let steps = self.tape.steps.iter().zip(&self.ops);
        let ops = steps.filter_map(|(step, op)| match (&step.kind, op) {
            (Kind::Op { over, .. }, Some(op)) => Some((op, counts.sizes(*over))),
            _ => None,
        });
        // Values, tangents, gradients and theirs.
        self.engine.check(4.0 * self.tape.total(counts), ops, what)
    }

    fn evaluate(
        &self,
        counts: Counts,
        leaves: Arrays<E::Number>,
        results: &[usize],
        bars: Arrays<E::Number>,
    ) -> Result<Evaluated<E::Number>> {
        // They stay until what reads them is done, whether it fails or not.
        let mut values = Values { lists: self.lists(&counts)?, counts, x: Vec::new() };
        let (results, bars) = self.engine.run(|scratch| {
            values.x = self.upload(leaves)?.into_iter().map(|x| x.map(Arc::new)).collect();
            for (value, w) in &self.weights {
                values.x[*value] = Some(w.clone());
            }
            self.forward(&mut values, scratch)?;
            let mut bars = self.upload(bars)?;
            self.reverse(&values, &mut bars, |v| v.moves, scratch)?;
            let result = |&k: &usize| self.engine.download(values.x[k].as_ref().expect("evaluated"));
            let results = results.iter().map(result).collect::<Result<_>>()?;
            Ok((results, self.download(&bars, |v| v.moves)?))
        })?;
        Ok(Evaluated { kept: Box::new(values), results, bars })
    }

    fn gradient(
        &self,
        kept: &Kept,
        along: Arrays<E::Number>,
        bars: Arrays<E::Number>,
        dbars: Arrays<E::Number>,
    ) -> Result<Arrays<E::Number>> {
        let values: &Values<E> = kept.downcast_ref().expect("the values of this tape");
        self.engine.run(|scratch| {
            let mut dx = self.upload(along)?;
            self.tangents(values, &mut dx, scratch)?;
            let (mut bars, mut dbars) = (self.upload(bars)?, self.upload(dbars)?);
            self.reverse_along(values, &dx, &mut bars, &mut dbars, scratch)?;
            self.download(&dbars, |v| v.is_parameter)
        })
    }
}

impl<E: Engine> OnEngine<E> {
    /// Fills in what is not there yet.
    fn forward(&self, values: &mut Values<E>, scratch: &mut E::Scratch) -> Result<()> {
        let engine = &self.engine;
        for (k, step) in self.tape.steps.iter().enumerate() {
            let inputs = self.inputs(values, step);
            let out = match &step.kind {
                Kind::Op { .. } => {
                    let mut out = engine.array(self.tape.len(&values.counts, step.out))?;
                    engine.forward(self.op(values, k), &inputs, &mut out, scratch)?;
                    out
                }
                Kind::Map(curve) => engine.map(*curve, 0, inputs[0], &[])?,
                Kind::Scale(curve) => {
                    let s = Along { value: inputs[1], tangent: None };
                    engine.scale(*curve, self.width(step), s, Some(inputs[0]), None)?
                }
                Kind::Add | Kind::Concat | Kind::OwnPart { .. } => {
                    let inputs: Vec<_> = inputs.into_iter().map(Some).collect();
                    self.linear(&values.counts, step, &inputs)?
                }
            };
            values.x[step.out] = Some(Arc::new(out));
        }
        Ok(())
    }

    /// From tangents of some values to those of all that depend on them.
    fn tangents(&self, values: &Values<E>, dx: &mut Bars<E>, scratch: &mut E::Scratch) -> Result<()> {
        let engine = &self.engine;
        for (k, step) in self.tape.steps.iter().enumerate().filter(|(_, step)| self.tape.values[step.out].moves) {
            let inputs = self.inputs(values, step);
            let along: Vec<Option<&E::Array>> = step.inputs.iter().map(|&k| dx[k].as_ref()).collect();
            let out = match &step.kind {
                Kind::Op { .. } => {
                    let n = self.tape.len(&values.counts, step.out);
                    let mut seconds: Bars<E> = inputs.iter().map(|_| None).collect();
                    seconds.push(Some(engine.array(n)?));
                    let op = self.op(values, k);
                    engine.double_backward(op, &inputs, &engine.zeros(n)?, &along, &mut seconds, scratch)?;
                    seconds.pop().flatten()
                }
                Kind::Map(curve) => along[0].map(|d| engine.map(*curve, 1, inputs[0], &[d])).transpose()?,
                Kind::Scale(curve) => {
                    let s = Along { value: inputs[1], tangent: along[1] };
                    Some(engine.scale(*curve, self.width(step), s, along[0], along[1].map(|_| inputs[0]))?)
                }
                Kind::Add | Kind::Concat | Kind::OwnPart { .. } => Some(self.linear(&values.counts, step, &along)?),
            };
            dx[step.out] = out;
        }
        Ok(())
    }

    /// From gradients by results to those by all values that are `wanted`.
    fn reverse(
        &self,
        values: &Values<E>,
        bars: &mut Bars<E>,
        wanted: impl Fn(&Value) -> bool,
        scratch: &mut E::Scratch,
    ) -> Result<()> {
        for (k, step) in self.tape.steps.iter().enumerate().rev() {
            if let Some(bar) = bars[step.out].take() {
                let to = self.pull(values, k, &bar, &wanted, scratch)?;
                self.put(step, bars, to)?;
            }
        }
        Ok(())
    }

    /// [`OnEngine::reverse`] by what varies with parameters, and its tangents; of parameters these alone.
    fn reverse_along(
        &self,
        values: &Values<E>,
        dx: &Bars<E>,
        bars: &mut Bars<E>,
        dbars: &mut Bars<E>,
        scratch: &mut E::Scratch,
    ) -> Result<()> {
        for (k, step) in self.tape.steps.iter().enumerate().rev() {
            let (bar, dbar) = (bars[step.out].take(), dbars[step.out].take());
            if let Some(bar) = &bar {
                let inner = |v: &Value| v.varies && !v.is_parameter;
                self.put(step, bars, self.pull(values, k, bar, inner, scratch)?)?;
                self.put(step, dbars, self.pull_along(values, dx, k, bar, scratch)?)?;
            }
            if let Some(dbar) = &dbar {
                self.put(step, dbars, self.pull(values, k, dbar, |v| v.varies, scratch)?)?;
            }
        }
        Ok(())
    }

    /// The gradients by the inputs of a step that are wanted.
    fn pull(
        &self,
        values: &Values<E>,
        k: usize,
        bar: &E::Array,
        wanted: impl Fn(&Value) -> bool,
        scratch: &mut E::Scratch,
    ) -> Result<Bars<E>> {
        let (engine, step) = (&self.engine, &self.tape.steps[k]);
        let inputs = self.inputs(values, step);
        let is_wanted: Vec<bool> = step.inputs.iter().map(|&k| wanted(&self.tape.values[k])).collect();
        let only = |k: usize, make: &mut dyn FnMut() -> Result<E::Array>| match is_wanted[k] {
            true => make().map(Some),
            false => Ok(None),
        };
        if !is_wanted.contains(&true) {
            return Ok(is_wanted.iter().map(|_| None).collect());
        }
        let width = self.width(step);
        Ok(match &step.kind {
            Kind::Op { .. } => {
                let mut to = self.room(values, step, &is_wanted)?;
                engine.backward(self.op(values, k), &inputs, bar, &mut to, scratch)?;
                to
            }
            Kind::Map(curve) => vec![Some(engine.map(*curve, 1, inputs[0], &[bar])?)],
            Kind::Scale(curve) => {
                let s = || Along { value: inputs[1], tangent: None };
                vec![
                    only(0, &mut || engine.scale(*curve, width, s(), Some(bar), None))?,
                    only(1, &mut || engine.contract(*curve, width, s(), bar, Some(inputs[0]), None))?,
                ]
            }
            Kind::Add => (0..2).map(|k| only(k, &mut || engine.copy(bar))).collect::<Result<_>>()?,
            Kind::OwnPart { heads } => vec![Some(engine.part(width, [values.counts.head, *heads], bar)?)],
            Kind::Concat => {
                let mut to = self.room(values, step, &is_wanted)?;
                let n = values.counts.rows(self.tape.values[step.out].extent);
                for (to, columns) in to.iter_mut().zip(self.tape.columns(step)) {
                    if let Some(to) = to {
                        engine.columns(n, (bar, [width, columns.start]), (to, [columns.len(), 0]))?;
                    }
                }
                to
            }
        })
    }

    /// How these gradients change along the direction while that by the result stays.
    fn pull_along(
        &self,
        values: &Values<E>,
        dx: &Bars<E>,
        k: usize,
        bar: &E::Array,
        scratch: &mut E::Scratch,
    ) -> Result<Bars<E>> {
        let (engine, step) = (&self.engine, &self.tape.steps[k]);
        let along: Vec<Option<&E::Array>> = step.inputs.iter().map(|&k| dx[k].as_ref()).collect();
        let varies: Vec<bool> = step.inputs.iter().map(|&k| self.tape.values[k].varies).collect();
        let linear = matches!(step.kind, Kind::Add | Kind::Concat | Kind::OwnPart { .. });
        if linear || along.iter().all(Option::is_none) || !varies.contains(&true) {
            return Ok(step.inputs.iter().map(|_| None).collect());
        }
        let (inputs, width) = (self.inputs(values, step), self.width(step));
        Ok(match &step.kind {
            Kind::Op { .. } => {
                let mut to = self.room(values, step, &varies)?;
                to.push(None);
                engine.double_backward(self.op(values, k), &inputs, bar, &along, &mut to, scratch)?;
                to.truncate(inputs.len());
                to
            }
            Kind::Map(curve) => {
                vec![along[0].map(|d| engine.map(*curve, 2, inputs[0], &[d, bar])).transpose()?]
            }
            Kind::Scale(curve) => {
                let s = || Along { value: inputs[1], tangent: along[1] };
                let first = match along[1].filter(|_| varies[0]) {
                    Some(_) => Some(engine.scale(*curve, width, s(), None, Some(bar))?),
                    None => None,
                };
                let second = match varies[1] {
                    true => {
                        let b = along[1].map(|_| inputs[0]);
                        Some(engine.contract(*curve, width, s(), bar, along[0], b)?)
                    }
                    false => None,
                };
                vec![first, second]
            }
            Kind::Add | Kind::Concat | Kind::OwnPart { .. } => unreachable!("these are linear"),
        })
    }

    /// A step that is linear, of values or tangents; of none it is zero.
    fn linear(&self, counts: &Counts, step: &Step, inputs: &[Option<&E::Array>]) -> Result<E::Array> {
        let (engine, width) = (&self.engine, self.width(step));
        let zeros = || engine.zeros(self.tape.len(counts, step.out));
        match (&step.kind, inputs) {
            (Kind::Add, [Some(a), Some(b)]) => {
                let mut out = engine.copy(a)?;
                engine.add(&mut out, b)?;
                Ok(out)
            }
            (Kind::Add, [Some(one), None] | [None, Some(one)]) => engine.copy(one),
            (Kind::OwnPart { heads }, [Some(x)]) => engine.part(width, [counts.head, *heads], x),
            (Kind::Concat, _) => {
                let mut out = zeros()?;
                let n = counts.rows(self.tape.values[step.out].extent);
                for (from, columns) in inputs.iter().zip(self.tape.columns(step)) {
                    if let Some(from) = from {
                        engine.columns(n, (from, [columns.len(), 0]), (&mut out, [width, columns.start]))?;
                    }
                }
                Ok(out)
            }
            _ => zeros(),
        }
    }

    fn width(&self, step: &Step) -> usize {
        self.tape.values[step.out].width
    }

    fn op<'a>(&'a self, values: &'a Values<E>, k: usize) -> (&'a E::Op, &'a E::Lists) {
        match (&self.ops[k], &values.lists[k]) {
            (Some(op), Some(lists)) => (op, lists),
            _ => unreachable!("step {k} is an operation"),
        }
    }

    fn inputs<'a>(&self, values: &'a Values<E>, step: &Step) -> Vec<&'a E::Array> {
        step.inputs.iter().map(|&k| &**values.x[k].as_ref().expect("a value of a step before")).collect()
    }

    /// Arrays for gradients by the inputs that are wanted.
    fn room(&self, values: &Values<E>, step: &Step, wanted: &[bool]) -> Result<Bars<E>> {
        let room = |(&k, &wanted): (&usize, &bool)| match wanted {
            true => self.engine.array(self.tape.len(&values.counts, k)).map(Some),
            false => Ok(None),
        };
        step.inputs.iter().zip(wanted).map(room).collect()
    }

    /// Adds gradients by the inputs of a step to what is there.
    fn put(&self, step: &Step, bars: &mut Bars<E>, more: Bars<E>) -> Result<()> {
        for (&k, more) in step.inputs.iter().zip(more) {
            match (bars[k].as_mut(), more) {
                (Some(to), Some(more)) => self.engine.add(to, &more)?,
                (None, more) => bars[k] = more,
                (Some(_), None) => {}
            }
        }
        Ok(())
    }
}
