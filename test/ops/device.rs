//! Operations on a CUDA device, with numbers that come from the host and go back.

use crate::battery::Passes;
use acerust::dtype::Storage;
use acerust::ops::Args;
use acerust::ops::cuda::{DeviceOp, Prepared, Span};
use acerust::{Error, Result};
use cudarc::driver::{CudaSlice, DevicePtr, DriverError};

pub struct OnDevice {
    pub device: DeviceOp,
}

/// Numbers on the device.
pub struct Numbers {
    bytes: CudaSlice<u8>,
    len: usize,
}

fn failed(e: DriverError) -> Error {
    Error::Device(e.to_string())
}

impl OnDevice {
    pub fn prepare<S>(&self, args: &Args<S>) -> Result<Prepared> {
        self.device.prepare(args.sizes, args.indices)
    }

    pub fn upload<S: Storage>(&self, x: &[S]) -> Result<Numbers> {
        // SAFETY: plain numbers are bytes.
        let bytes = unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u8>(), size_of_val(x)) };
        let bytes = self.device.stream().clone_htod(if bytes.is_empty() { &[0_u8][..] } else { bytes });
        Ok(Numbers { bytes: bytes.map_err(failed)?, len: x.len() })
    }

    pub fn download<S: Storage>(&self, from: &Numbers, x: &mut [S]) -> Result<()> {
        let bytes = self.device.stream().clone_dtoh(&from.bytes).map_err(failed)?;
        // SAFETY: plain numbers are bytes.
        let to = unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast::<u8>(), size_of_val(x)) };
        to.copy_from_slice(&bytes[..to.len()]);
        Ok(())
    }

    pub fn all<S: Storage>(&self, x: &[impl AsRef<[S]>]) -> Result<Vec<Numbers>> {
        x.iter().map(|x| self.upload(x.as_ref())).collect()
    }

    pub fn span(&self, x: &Numbers) -> Span {
        Span { address: x.bytes.device_ptr(self.device.stream()).0, len: x.len }
    }

    pub fn spans(&self, all: &[Numbers]) -> Vec<Span> {
        all.iter().map(|x| self.span(x)).collect()
    }

    pub fn wait(&self) -> Result<()> {
        // SAFETY: callers keep what passes read until this is done.
        unsafe { self.device.wait(0) }
    }
}

impl<S: Storage> Passes<S> for OnDevice {
    fn forward(&mut self, args: &Args<S>, out: &mut [S]) -> Result<()> {
        let (at, inputs, to) = (self.prepare(args)?, self.all(args.inputs)?, self.upload(out)?);
        // SAFETY: everything was uploaded above, and stays until the download has waited.
        unsafe { self.device.forward(&at, &self.spans(&inputs), self.span(&to), 0) }?;
        self.wait()?;
        self.download(&to, out)
    }

    fn backward(&mut self, args: &Args<S>, cotangent: &[S], gradients: &mut [Vec<S>]) -> Result<()> {
        let (at, inputs, cotangent) = (self.prepare(args)?, self.all(args.inputs)?, self.upload(cotangent)?);
        let to = self.all(gradients)?;
        let wanted: Vec<_> = self.spans(&to).into_iter().map(Some).collect();
        // SAFETY: as above.
        unsafe { self.device.backward(&at, &self.spans(&inputs), self.span(&cotangent), &wanted, 0) }?;
        self.wait()?;
        gradients.iter_mut().zip(&to).try_for_each(|(g, from)| self.download(from, g))
    }

    fn double_backward(
        &mut self,
        args: &Args<S>,
        cotangent: &[S],
        along: &[Option<&[S]>],
        seconds: &mut [Vec<S>],
    ) -> Result<()> {
        let (at, inputs, cotangent) = (self.prepare(args)?, self.all(args.inputs)?, self.upload(cotangent)?);
        let along = along.iter().map(|d| d.map(|d| self.upload(d)).transpose()).collect::<Result<Vec<_>>>()?;
        let along: Vec<_> = along.iter().map(|d| d.as_ref()).collect();
        let along_at: Vec<_> = along.iter().map(|d| d.map(|d| self.span(d))).collect();
        let to = self.all(seconds)?;
        let wanted: Vec<_> = self.spans(&to).into_iter().map(Some).collect();
        let (inputs_at, g) = (self.spans(&inputs), self.span(&cotangent));
        // SAFETY: as above.
        unsafe { self.device.double_backward(&at, &inputs_at, g, &along_at, &wanted, 0) }?;
        self.wait()?;
        seconds.iter_mut().zip(&to).try_for_each(|(s, from)| self.download(from, s))
    }
}
