//! Operations one after another, as plain data: what they read and write, and how much there is of it.

use crate::dtype::Storage;
use crate::ops::activation::Activation;
use crate::ops::{Extent, Sizes, Spec};
use std::ops::Range;
use std::sync::Arc;

/// What one number becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// `factor · x + shift`
    Line { factor: f64, shift: f64 },
    /// `1/x`
    Inverse,
    /// `factor · silu(x)`
    Silu { factor: f64 },
    /// `tanh x²`
    Density,
}

impl Curve {
    pub const IDENTITY: Curve = Curve::Line { factor: 1.0, shift: 0.0 };

    /// With two derivatives.
    pub fn eval(self, x: f64) -> [f64; 3] {
        match self {
            Curve::Line { factor, shift } => [factor * x + shift, factor, 0.0],
            Curve::Inverse => [1.0 / x, -1.0 / (x * x), 2.0 / (x * x * x)],
            Curve::Silu { factor } => Activation::Silu.eval(x).map(|y| factor * y),
            Curve::Density => {
                let f = (x * x).tanh();
                let slope = 1.0 - f * f;
                [f, 2.0 * x * slope, 2.0 * slope * (1.0 - 4.0 * x * x * f)]
            }
        }
    }
}

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

#[derive(Debug)]
pub enum Kind {
    /// Over atoms, or over edges.
    Op {
        spec: Box<Spec>,
        over: Extent,
        indices: Vec<Index>,
    },
    /// `φ` of every number.
    Map(Curve),
    /// The rows of the first times `φ` of the number in that row of the second.
    Scale(Curve),
    Add,
    /// Rows side by side.
    Concat,
    /// The columns of the head, of as many equal parts; the others become zero.
    OwnPart {
        heads: usize,
    },
}

#[derive(Debug)]
pub struct Step {
    pub kind: Kind,
    pub inputs: Vec<usize>,
    pub out: usize,
}

#[derive(Debug, Default)]
pub struct Tape {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
}

/// How much there is of everything, and indices.
#[derive(Clone, Default)]
pub struct Counts {
    pub atoms: usize,
    pub edges: usize,
    pub species: Arc<[u32]>,
    pub sender: Arc<[u32]>,
    pub receiver: Arc<[u32]>,
    pub zeros: Arc<[u32]>,
    pub head: usize,
}

/// Arrays of the host by value; none where there is nothing, which is zero.
pub type Arrays<S> = Vec<Option<Vec<S>>>;

impl Counts {
    pub fn rows(&self, extent: Extent) -> usize {
        match extent {
            Extent::Nodes => self.atoms,
            Extent::Rows => self.edges,
            Extent::Fixed(n) => n,
        }
    }

    pub fn index(&self, index: Index) -> Arc<[u32]> {
        match index {
            Index::Species => self.species.clone(),
            Index::Sender => self.sender.clone(),
            Index::Receiver => self.receiver.clone(),
            Index::Zero => self.zeros.clone(),
        }
    }

    pub fn sizes(&self, over: Extent) -> Sizes {
        Sizes { rows: self.rows(over), nodes: self.atoms }
    }
}

impl Tape {
    pub fn len(&self, counts: &Counts, value: usize) -> usize {
        counts.rows(self.values[value].extent) * self.values[value].width
    }

    /// Numbers of all arrays.
    pub fn total(&self, counts: &Counts) -> f64 {
        (0..self.values.len()).map(|v| self.len(counts, v) as f64).sum()
    }

    /// No array of any value.
    pub fn nothing<S: Storage>(&self) -> Arrays<S> {
        self.values.iter().map(|_| None).collect()
    }

    /// Where each input of a step is among the columns of its result.
    pub fn columns(&self, step: &Step) -> Vec<Range<usize>> {
        let mut end = 0;
        let next = |&k: &usize| {
            end += self.values[k].width;
            end - self.values[k].width..end
        };
        step.inputs.iter().map(next).collect()
    }
}
