//! From a file's configuration to a sequence of operations, whose weights are the tensors of the file as they stand.

use super::builder::{Builder, Id, Leaf};
use super::parameters::{Packed, Parameters, Piece};
use super::tape::{Curve, Index, Kind, Tape, Value};
use crate::dtype::Dtype;
use crate::mace::network::Network;
use crate::mace::spec::{
    ContractionConfig, GateConfig, InteractionConfig, LinearConfig, MaceSpec, MlpConfig, ProductConfig, ReadoutConfig,
    SkipConfig,
};
use crate::ops::activation::Activation;
use crate::ops::contraction::{Basis, Contraction, Tensor};
use crate::ops::gate::Gate;
use crate::ops::linear::Linear;
use crate::ops::mlp::Mlp;
use crate::ops::product::channelwise::Channelwise;
use crate::ops::{Extent, Irrep, Irreps, Operation};
use crate::{Error, Result};

/// Operations from leaves and weights to readouts.
pub struct Program {
    pub leaves: Vec<(usize, Leaf)>,
    pub packed: Vec<Packed>,
    pub parameters: Parameters,
    /// (atoms, heads) each; their sum is the energy, before scale and shift.
    pub readouts: Vec<usize>,
}

impl Program {
    /// Of a spec that is a network's.
    ///
    /// # Errors
    /// What an operation says of its irreps; what is not covered.
    pub fn new(spec: &MaceSpec, net: &Network, storage: Dtype) -> Result<(Program, Tape)> {
        let c = &spec.config;
        let mut b = Builder {
            spec,
            n_species: net.species.len(),
            storage,
            tape: Tape::default(),
            leaves: Vec::new(),
            packed: Vec::new(),
            names: Vec::new(),
        };
        let edges = Edges {
            y: b.leaf(Leaf::Harmonics, Extent::Rows, (c.lmax + 1).pow(2)),
            features: b.leaf(Leaf::Features, Extent::Rows, c.radial.n),
            cutoff: b.leaf(Leaf::Cutoff, Extent::Rows, 1),
        };
        let mut h = b.embedding(net)?;
        let mut readouts = Vec::new();
        let first_readout = c.num_interactions - c.readouts.len();
        for t in 0..c.num_interactions {
            h = b.layer(t, h, &edges)?;
            if t >= first_readout {
                let r = t - first_readout;
                readouts.push(b.readout(&format!("readouts.{r}"), &c.readouts[r], h)?);
            }
        }
        let Builder { tape, leaves, mut packed, names, .. } = b;
        let parameters = Parameters::new(spec, names.clone());
        let place = |name: &str| parameters.list.iter().position(|p| p.name == name).expect("all names are there");
        packed.iter_mut().flat_map(|p| &mut p.pieces).for_each(|p| p.parameter = place(&names[p.parameter]));
        Ok((Program { leaves, packed, parameters, readouts }, tape))
    }
}

/// What all layers read of the edges.
struct Edges {
    y: Id,
    features: Id,
    cutoff: Id,
}

fn scalars(n: usize) -> Result<Irreps> {
    Irreps::uniform(n, [Irrep::SCALAR])
}

impl Builder<'_> {
    /// `h^0`.
    fn embedding(&mut self, net: &Network) -> Result<Id> {
        let spec = self.spec;
        let c = &spec.config;
        let species = self.leaf(Leaf::Species, Extent::Nodes, self.n_species);
        let h = self.linear("node_embedding.linear", &c.node_embedding, species, Extent::Nodes)?;
        let Some(extra) = &net.extra else { return Ok(h) };
        let mut rows = Vec::new();
        for (k, p) in extra.properties.iter().enumerate() {
            let chosen = self.leaf(Leaf::Property(k), Extent::Nodes, p.n_rows);
            let table = self.tensor(&format!("joint_embedding.embedders.{}.weight", p.name));
            let (irreps_in, irreps_out) = (scalars(p.n_rows)?, scalars(p.table.len() / p.n_rows)?);
            let map = Linear { irreps_in, irreps_out, bias: false, species: None };
            rows.push(self.op(Operation::Linear(map), &[chosen, table], Extent::Nodes, &[])?);
        }
        let x = self.concat(&rows);
        let (k, width) = (self.tape.values[h].width, self.tape.values[x].width);
        let inputs =
            [x, self.tensor("joint_embedding.project.0.weight"), self.leaf(Leaf::Constant(0.0), Extent::Fixed(1), k)];
        // A layer of torch: (out, in), no factor.
        let activation = Activation::Silu;
        let layer = Mlp { widths: vec![width, k], activation, constant: 1.0, layer_norm: Some(1e-5) };
        let x = self.op(Operation::Mlp(layer), &inputs, Extent::Nodes, &[])?;
        let x = self.activated(x, 1.0);
        Ok(self.sum(h, x))
    }

    fn layer(&mut self, t: usize, h: Id, edges: &Edges) -> Result<Id> {
        let spec = self.spec;
        let (c, p) = (&spec.config.interactions[t], &spec.config.products[t]);
        let name = |part: &str| format!("interactions.{t}.{part}");
        let up = self.linear(&name("linear_up"), &c.linear_up, h, Extent::Nodes)?;
        let input = self.edge_input(t, c, edges)?;
        let w = self.net(&name("conv_tp_weights"), &c.conv_tp_weights, input)?;
        let w = self.late(w, edges);
        let product = Channelwise {
            irreps_in1: c.conv_tp.irreps_in1.clone(),
            irreps_in2: c.conv_tp.irreps_in2.clone(),
            targets: c.conv_tp.irreps_out.clone(),
            shared_weights: false,
            convolution: true,
        };
        let indices = [Index::Sender, Index::Receiver];
        let m = self.op(Operation::Channelwise(product), &[up, edges.y, w], Extent::Rows, &indices)?;
        let map = c.linear.as_ref().map(|m| ("linear", m)).or(c.linear_1.as_ref().map(|m| ("linear_1", m)));
        let (part, map) = map.ok_or_else(|| Error::Model(format!("MACE: {} is missing", name("linear"))))?;
        let mut a = self.linear(&name(part), map, m, Extent::Nodes)?;
        a = match &c.density_fn {
            None => {
                let factor = 1.0 / c.avg_num_neighbors;
                self.map(a, Curve::Line { factor, shift: 0.0 })
            }
            Some(density) => {
                let norm = self.norm(t, c, density, input, edges)?;
                self.scaled(a, norm, Curve::Inverse)
            }
        };
        let mut skip = None;
        match (&c.skip_tp, &c.equivariant_nonlin) {
            (Some(SkipConfig::Linear(config)), Some(gate)) => {
                a = self.gate(t, c, gate, a, up)?;
                skip = Some(self.linear(&name("skip_tp"), config, h, Extent::Nodes)?);
            }
            (Some(SkipConfig::Product(config)), None) => {
                let map = Linear {
                    irreps_in: config.irreps_in1.clone(),
                    irreps_out: config.irreps_out.clone(),
                    bias: false,
                    species: Some(self.n_species),
                };
                let parameter = self.name(&name("skip_tp.weight"));
                let w = self.weights(map.n_weights() * self.n_species, vec![Piece::indexed(parameter, &map)]);
                // Blocks without skip map the message itself.
                let residual = c.class.contains("Residual");
                let x = if residual { h } else { a };
                let y = self.op(Operation::Linear(map), &[x, w], Extent::Nodes, &[Index::Species])?;
                if residual {
                    skip = Some(y);
                } else {
                    a = y;
                }
            }
            _ => return Err(Error::Model(format!("MACE: {}: not the skip connection of its block", name("skip_tp")))),
        }
        let next = self.product(t, p, a)?;
        Ok(match skip.filter(|_| p.use_sc) {
            Some(skip) => self.sum(next, skip),
            None => next,
        })
    }

    /// Radial features, and those of both species where the block has tables of them.
    fn edge_input(&mut self, t: usize, c: &InteractionConfig, edges: &Edges) -> Result<Id> {
        let (Some(source), Some(target)) = (&c.source_embedding, &c.target_embedding) else {
            return Ok(edges.features);
        };
        let mut parts = vec![edges.features];
        for (leaf, part, config) in
            [(Leaf::Sender, "source_embedding", source), (Leaf::Receiver, "target_embedding", target)]
        {
            let species = self.leaf(leaf, Extent::Rows, self.n_species);
            parts.push(self.linear(&format!("interactions.{t}.{part}"), config, species, Extent::Rows)?);
        }
        Ok(self.concat(&parts))
    }

    /// A net of the edges.
    fn net(&mut self, name: &str, config: &MlpConfig, x: Id) -> Result<Id> {
        let mut inputs = vec![x];
        let activation = Activation::Silu;
        let net = match config {
            MlpConfig::Plain { sizes, act_constant, .. } => {
                let layers = 0..sizes.len() - 1;
                inputs.extend(layers.map(|k| self.tensor(&format!("{name}.layer{k}.weight"))));
                Mlp { widths: sizes.clone(), activation, constant: *act_constant, layer_norm: None }
            }
            MlpConfig::LayerNorm { sizes, eps, .. } => {
                if eps.iter().any(|e| *e != eps[0]) {
                    return Err(Error::Model(format!("MACE: {name}: norms with different ε")));
                }
                for k in 0..sizes.len() - 1 {
                    for part in ["weight", "bias"] {
                        inputs.push(self.tensor(&format!("{name}.net.{}.{part}", 3 * k)));
                    }
                    for part in ["weight", "bias"].into_iter().filter(|_| k + 2 < sizes.len()) {
                        inputs.push(self.tensor(&format!("{name}.net.{}.{part}", 3 * k + 1)));
                    }
                }
                let epsilon = eps.first().copied().unwrap_or(1e-5);
                Mlp { widths: sizes.clone(), activation, constant: 1.0, layer_norm: Some(epsilon) }
            }
        };
        self.op(Operation::Mlp(net), &inputs, Extent::Rows, &[])
    }

    /// Times the cutoff, where features do not have it.
    fn late(&mut self, w: Id, edges: &Edges) -> Id {
        match self.spec.config.radial.apply_cutoff {
            true => w,
            false => self.scaled(w, edges.cutoff, Curve::IDENTITY),
        }
    }

    /// What messages are divided by: `α + β Σ_j tanh d²`.
    fn norm(&mut self, t: usize, c: &InteractionConfig, density: &MlpConfig, input: Id, edges: &Edges) -> Result<Id> {
        let name = format!("interactions.{t}");
        let d = self.net(&format!("{name}.density_fn"), density, input)?;
        let rho = self.map(d, Curve::Density);
        let rho = self.late(rho, edges);
        let scalar = || scalars(1);
        let product = Channelwise {
            irreps_in1: scalar()?,
            irreps_in2: scalar()?,
            targets: scalar()?,
            shared_weights: false,
            convolution: true,
        };
        let ones = [Extent::Nodes, Extent::Rows].map(|extent| self.leaf(Leaf::Constant(1.0), extent, 1));
        let indices = [Index::Sender, Index::Receiver];
        let sum = self.op(Operation::Channelwise(product), &[ones[0], ones[1], rho], Extent::Rows, &indices)?;
        if c.equivariant_nonlin.is_none() {
            return Ok(self.map(sum, Curve::Line { factor: 1.0, shift: 1.0 }));
        }
        let map = Linear { irreps_in: scalar()?, irreps_out: scalar()?, bias: true, species: None };
        let inputs = [sum, self.tensor(&format!("{name}.beta")), self.tensor(&format!("{name}.alpha"))];
        self.op(Operation::Linear(map), &inputs, Extent::Nodes, &[])
    }

    fn gate(&mut self, t: usize, c: &InteractionConfig, gate: &GateConfig, m: Id, up: Id) -> Result<Id> {
        let name = |part: &str| format!("interactions.{t}.{part}");
        let missing = || Error::Model(format!("MACE: interactions.{t}: maps of its gate are missing"));
        let residual = c.linear_res.as_ref().ok_or_else(missing)?;
        let residual = self.linear(&name("linear_res"), residual, up, Extent::Nodes)?;
        let x = self.sum(m, residual);
        let operation = Operation::Gate(Gate {
            scalars: gate.scalars.clone(),
            gated: gate.gated.clone(),
            activation: Activation::Silu,
            constant: gate.act_constant,
            gate_activation: Activation::Sigmoid,
            gate_constant: gate.gate_constant,
        });
        let x = self.op(operation, &[x], Extent::Nodes, &[])?;
        self.linear(&name("linear_2"), c.linear_2.as_ref().ok_or_else(missing)?, x, Extent::Nodes)
    }

    fn product(&mut self, t: usize, p: &ProductConfig, a: Id) -> Result<Id> {
        let name = format!("products.{t}.symmetric_contractions.contractions");
        let ContractionConfig { irreps_in, irreps_out, correlation } = &p.contraction;
        let order = correlation.first().copied().unwrap_or(1);
        if correlation.iter().any(|&c| c != order) {
            return Err(Error::Model(format!("MACE: {name}: training with orders that differ is not covered")));
        }
        let agnostic = self.spec.config.use_agnostic_product;
        let (species, index) = if agnostic { (1, Index::Zero) } else { (self.n_species, Index::Species) };
        let k = irreps_in.blocks().first().map_or(0, |b| b.mul);
        let (mut tensors, mut columns, mut stride) = (Vec::new(), Vec::new(), 0);
        for block in 0..correlation.len() {
            let mut of_block = Vec::new();
            for nu in 1..=order {
                let tensor = self.spec.tensors.get(&format!("{name}.{block}.U_matrix_{nu}"));
                let tensor =
                    tensor.ok_or_else(|| Error::Model(format!("MACE: {name}.{block}: a coupling is missing")))?;
                let paths = tensor.shape.last().copied().unwrap_or(0);
                let (index, value) = tensor.nonzeros().unzip();
                of_block.push(Tensor { paths, index, value });
            }
            // Weights have the highest order first.
            for (below, tensor) in of_block.iter().rev().enumerate() {
                let part = if below == 0 { "weights_max".into() } else { format!("weights.{}", below - 1) };
                columns.push((self.name(&format!("{name}.{block}.{part}")), tensor.paths * k, stride));
                stride += tensor.paths * k;
            }
            tensors.push(of_block);
        }
        let piece =
            |&(parameter, width, at): &(usize, usize, usize)| Piece::columns(parameter, [species, width], at, stride);
        let pieces = columns.iter().map(piece).collect();
        let w = self.weights(species * stride, pieces);
        let contraction = Contraction {
            irreps_in: irreps_in.clone(),
            irreps_out: irreps_out.clone(),
            correlation: order,
            species,
            basis: Basis::Couplings(tensors),
            projection: None,
        };
        let b = self.op(Operation::Contraction(contraction), &[a, w], Extent::Nodes, &[index])?;
        self.linear(&format!("products.{t}.linear"), &p.linear, b, Extent::Nodes)
    }

    /// (atoms, heads).
    fn readout(&mut self, name: &str, c: &ReadoutConfig, h: Id) -> Result<Id> {
        let need = |map: &'_ Option<LinearConfig>, part: &str| {
            map.clone().ok_or_else(|| Error::Model(format!("MACE: {name} has no `{part}`")))
        };
        if c.class == "LinearReadoutBlock" {
            return self.linear(&format!("{name}.linear"), &need(&c.linear, "linear")?, h, Extent::Nodes);
        }
        let constant = c.act_constant.unwrap_or(1.0);
        let mut x = self.linear(&format!("{name}.linear_1"), &need(&c.linear_1, "linear_1")?, h, Extent::Nodes)?;
        x = self.activated(x, constant);
        if let Some(middle) = &c.linear_mid {
            x = self.heads_apart(x);
            x = self.linear(&format!("{name}.linear_mid"), middle, x, Extent::Nodes)?;
            x = self.activated(x, constant);
        }
        x = self.heads_apart(x);
        self.linear(&format!("{name}.linear_2"), &need(&c.linear_2, "linear_2")?, x, Extent::Nodes)
    }

    /// Hidden numbers of the head that is evaluated; those of the others become zero.
    fn heads_apart(&mut self, x: Id) -> Id {
        let Value { extent, width, .. } = self.tape.values[x];
        match self.spec.config.heads.len() {
            1 => x,
            heads => self.step(Kind::OwnPart { heads }, &[x], extent, width),
        }
    }
}
