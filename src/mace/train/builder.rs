//! How operations are put one after another: values, weights made of tensors, single steps.

use super::parameters::{Packed, Piece};
use super::tape::{Curve, Index, Kind, Step, Tape, Value};
use crate::dtype::Dtype;
use crate::mace::spec::{LinearConfig, MaceSpec};
use crate::ops::linear::Linear;
use crate::ops::{Extent, Operation, Spec};
use crate::{Error, Result};

/// What is known before a call, and what a call brings.
#[derive(Clone, Copy, Debug)]
pub enum Leaf {
    Harmonics,
    Features,
    Cutoff,
    /// 1 in the column of the species: of atoms, of senders and receivers of edges.
    Species,
    Sender,
    Receiver,
    /// `√rows` in the column of the row that the value of a property chooses.
    Property(usize),
    Constant(f64),
}

/// What has been put there so far.
pub struct Builder<'a> {
    pub spec: &'a MaceSpec,
    pub n_species: usize,
    /// Of all operations.
    pub storage: Dtype,
    pub tape: Tape,
    pub leaves: Vec<(usize, Leaf)>,
    pub packed: Vec<Packed>,
    /// Of parameters, as pieces count them.
    pub names: Vec<String>,
}

/// The place of an array of numbers.
pub type Id = usize;

impl Builder<'_> {
    pub fn value(&mut self, value: Value) -> Id {
        self.tape.values.push(value);
        self.tape.values.len() - 1
    }

    pub fn leaf(&mut self, leaf: Leaf, extent: Extent, width: usize) -> Id {
        let moves = matches!(leaf, Leaf::Harmonics | Leaf::Features | Leaf::Cutoff);
        let id = self.value(Value { extent, width, is_parameter: false, varies: false, moves });
        self.leaves.push((id, leaf));
        id
    }

    pub fn step(&mut self, kind: Kind, inputs: &[Id], extent: Extent, width: usize) -> Id {
        let any = |f: fn(&Value) -> bool| inputs.iter().any(|&k| f(&self.tape.values[k]));
        let (varies, moves) = (any(|v| v.varies), any(|v| v.moves));
        let out = self.value(Value { extent, width, is_parameter: false, varies, moves });
        self.tape.steps.push(Step { kind, inputs: inputs.to_vec(), out });
        out
    }

    pub fn op(&mut self, operation: Operation, inputs: &[Id], over: Extent, indices: &[Index]) -> Result<Id> {
        let spec = Spec { storage: self.storage, ..Spec::new(operation) };
        let (ports, values) = (spec.ports()?, &self.tape.values);
        for (port, &k) in ports.inputs.iter().zip(inputs) {
            let (is, should) = match port.extent {
                Extent::Fixed(n) => (values[k].width, n * port.width),
                _ => (values[k].width, port.width),
            };
            if is != should {
                return Err(Error::Model(format!("MACE: {} has {is} numbers instead of {should}", port.name)));
            }
        }
        let extent = if ports.output.extent == Extent::Rows { over } else { ports.output.extent };
        let width = ports.output.width;
        Ok(self.step(Kind::Op { spec: Box::new(spec), over, indices: indices.to_vec() }, inputs, extent, width))
    }

    pub fn map(&mut self, x: Id, curve: Curve) -> Id {
        let Value { extent, width, .. } = self.tape.values[x];
        self.step(Kind::Map(curve), &[x], extent, width)
    }

    pub fn scaled(&mut self, x: Id, by: Id, curve: Curve) -> Id {
        let Value { extent, width, .. } = self.tape.values[x];
        self.step(Kind::Scale(curve), &[x, by], extent, width)
    }

    pub fn sum(&mut self, a: Id, b: Id) -> Id {
        let Value { extent, width, .. } = self.tape.values[a];
        self.step(Kind::Add, &[a, b], extent, width)
    }

    pub fn concat(&mut self, parts: &[Id]) -> Id {
        let width = parts.iter().map(|&k| self.tape.values[k].width).sum();
        let extent = self.tape.values[parts[0]].extent;
        self.step(Kind::Concat, parts, extent, width)
    }

    pub fn activated(&mut self, x: Id, constant: f64) -> Id {
        self.map(x, Curve::Silu { factor: constant })
    }

    /// The number of a parameter among the names.
    pub fn name(&mut self, name: &str) -> usize {
        match self.names.iter().position(|n| n == name) {
            Some(k) => k,
            None => {
                self.names.push(name.into());
                self.names.len() - 1
            }
        }
    }

    pub fn weights(&mut self, len: usize, pieces: Vec<Piece>) -> Id {
        let value =
            self.value(Value { extent: Extent::Fixed(1), width: len, is_parameter: true, varies: true, moves: false });
        self.packed.push(Packed { value, len, pieces });
        value
    }

    /// The numbers of a tensor as they are; a map without paths has none.
    pub fn tensor(&mut self, name: &str) -> Id {
        let n = self.spec.tensors.get(name).map_or(0, |t| t.shape.iter().product());
        match n {
            0 => self.weights(0, Vec::new()),
            n => {
                let parameter = self.name(name);
                self.weights(n, vec![Piece::whole(parameter, n)])
            }
        }
    }

    pub fn linear(&mut self, name: &str, config: &LinearConfig, x: Id, over: Extent) -> Result<Id> {
        let bias = config.paths.iter().any(|p| p.input == -1);
        let (irreps_in, irreps_out) = (config.irreps_in.clone(), config.irreps_out.clone());
        let mut inputs = vec![x, self.tensor(&format!("{name}.weight"))];
        if bias {
            inputs.push(self.tensor(&format!("{name}.bias")));
        }
        self.op(Operation::Linear(Linear { irreps_in, irreps_out, bias, species: None }), &inputs, over, &[])
    }
}
