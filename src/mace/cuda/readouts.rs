//! Readouts on a device, in double precision.

use super::Run;
use super::layer::Step;
use super::source::THREADS;
use crate::Result;
use crate::device::cuda::context::{Buffer, Context};
use crate::device::cuda::kernel::arguments;
use crate::device::cuda::stream::Stream;
use crate::mace::network::{Network, ReadoutKind};
use std::sync::Arc;

struct Readout {
    layer: usize,
    /// Numbers that come out of each of its layers.
    n_out: Buffer<u32>,
    n_layers: u32,
    /// Matrices, each with its bias.
    weights: Buffer<f64>,
    constant: f64,
}

/// Of all heads.
pub struct Readouts(Vec<Vec<Readout>>);

impl Readouts {
    pub fn new(net: &Network, device: &Arc<Context>, stream: &Stream) -> Result<Readouts> {
        let one = |r: &crate::mace::network::Readout| -> Result<Readout> {
            let (n_out, weights, constant) = match &r.kind {
                ReadoutKind::Linear(w) => (vec![1], [&w[..], &[0.0]].concat(), 0.0),
                ReadoutKind::Mlp { layers, constant } => {
                    let mut weights = Vec::new();
                    for layer in layers {
                        weights.extend_from_slice(&layer.w);
                        weights.extend((0..layer.n_out).map(|k| layer.b.get(k).copied().unwrap_or(0.0)));
                    }
                    (layers.iter().map(|l| l.n_out as u32).collect(), weights, *constant)
                }
            };
            let n_layers = n_out.len() as u32;
            let mut readout = Readout {
                layer: r.layer,
                n_out: Buffer::new(device),
                n_layers,
                weights: Buffer::new(device),
                constant,
            };
            readout.n_out.upload(&n_out, stream)?;
            readout.weights.upload(&weights, stream)?;
            Ok(readout)
        };
        let heads = net.readouts.iter().map(|head| head.iter().map(one).collect::<Result<Vec<_>>>());
        Ok(Readouts(heads.collect::<Result<_>>()?))
    }

    /// Adds to the energies of the first `n` atoms what the readouts of layer `t` make of its features, and to `bar` the gradient times
    /// `scale`; where there are addresses for them.
    #[allow(clippy::too_many_arguments)]
    pub fn read(
        &self,
        run: &Run,
        (head, t): (usize, usize),
        n: usize,
        step: &Step,
        features: u64,
        scale: f64,
        [energies, bar]: [u64; 2],
    ) -> Result<()> {
        let (n32, width, k) = (n as u32, step.next_width() as u32, step.k as u32);
        for readout in self.0[head].iter().filter(|r| r.layer == t) {
            let (n_out, weights) = (readout.n_out.ptr, readout.weights.ptr);
            let arguments = arguments![
                n32,
                width,
                k,
                readout.n_layers,
                n_out,
                weights,
                readout.constant,
                scale,
                features,
                energies,
                bar
            ];
            let blocks = n.div_ceil(THREADS / 32);
            run.queue(&run.kernels.atoms, "readout", [blocks, 1, 1], THREADS, arguments)?;
        }
        Ok(())
    }
}
