//! The gate on a device (`kernels/ops/gate.cu`): a thread has a scalar or a gated channel.

use super::cuda::rowwise::THREADS;
use super::cuda::source::{BlockAt, Source, blocks_at};
use super::gate::Gate;
use super::spec::Spec;
use crate::Result;

/// Threads of a row.
pub(crate) fn across(op: &Gate) -> usize {
    op.scalars.dim() + op.n_gates()
}

pub(crate) fn source(op: &Gate, spec: &Spec) -> Result<String> {
    let ports = spec.ports()?;
    let mut source = Source::checked(spec.storage);
    for (name, value) in [
        ("N_SCALARS", op.scalars.dim()),
        ("N_GATES", op.n_gates()),
        ("DIM_IN", ports.inputs[0].width),
        ("DIM_OUT", ports.output.width),
        ("THREADS", THREADS),
    ] {
        source.define(name, value);
    }
    for (name, activation, constant) in
        [("SCALAR", op.activation, op.constant), ("GATE", op.gate_activation, op.gate_constant)]
    {
        source.define(name, activation.curve()).define(&format!("{name}_CONSTANT"), format!("{constant:e}"));
    }
    // Gated blocks with channels: the last ones of both sides.
    let n = op.gated.blocks().len();
    let gated = |blocks: Vec<BlockAt>| -> Vec<BlockAt> {
        let first = blocks.len() - n;
        blocks[first..].iter().filter(|b| b.mul > 0).copied().collect()
    };
    let x = gated(blocks_at(&ports.inputs[0], spec.layout));
    let out = gated(blocks_at(&ports.output, spec.layout_out.unwrap_or(spec.layout)));
    let mut first = vec![0];
    x.iter().for_each(|b| first.push(first.last().expect("a first one") + b.mul));
    source.table("u32", "BLOCK_first", first);
    // A table without entries cannot be.
    let mut table = |name: &str, blocks: &[BlockAt], entry: fn(&BlockAt) -> usize| {
        source.table("u32", name, blocks.iter().map(entry).chain([0]));
    };
    table("BLOCK_dim", &x, |b| b.dim);
    for (name, blocks) in [("IN", &x), ("OUT", &out)] {
        table(&format!("{name}_base"), blocks, |b| b.start);
        table(&format!("{name}_component"), blocks, |b| b.component);
        table(&format!("{name}_channel"), blocks, |b| b.channel);
    }
    let files = [include_str!("../../kernels/ops/activation.cuh"), include_str!("../../kernels/ops/gate.cu")];
    Ok(source.finish(&files))
}
