//! Operations on a CUDA device, with numbers that come from the host and go back.

use crate::battery::Passes;
use acerust::dtype::Storage;
use acerust::ops::Args;
use acerust::ops::cuda::{DeviceOp, Prepared};
use acerust::{Error, Result};
use cudarc::driver::{CudaSlice, DevicePtr, DriverError};

pub struct OnDevice {
    pub device: DeviceOp,
}

fn failed(e: DriverError) -> Error {
    Error::Device(e.to_string())
}

impl OnDevice {
    fn prepare<S>(&self, args: &Args<S>) -> Result<Prepared> {
        self.device.prepare(args.sizes, args.indices)
    }

    fn upload<S: Storage>(&self, x: &[S]) -> Result<CudaSlice<u8>> {
        // SAFETY: plain numbers are bytes.
        let bytes = unsafe { std::slice::from_raw_parts(x.as_ptr().cast::<u8>(), size_of_val(x)) };
        self.device.stream().clone_htod(if bytes.is_empty() { &[0_u8][..] } else { bytes }).map_err(failed)
    }

    fn download<S: Storage>(&self, from: &CudaSlice<u8>, x: &mut [S]) -> Result<()> {
        let bytes = self.device.stream().clone_dtoh(from).map_err(failed)?;
        // SAFETY: plain numbers are bytes.
        let to = unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast::<u8>(), size_of_val(x)) };
        to.copy_from_slice(&bytes[..to.len()]);
        Ok(())
    }

    fn all<S: Storage>(&self, args: &Args<S>) -> Result<Vec<CudaSlice<u8>>> {
        args.inputs.iter().map(|x| self.upload(x)).collect()
    }

    fn address(&self, slice: &CudaSlice<u8>) -> u64 {
        slice.device_ptr(self.device.stream()).0
    }

    fn addresses(&self, slices: &[CudaSlice<u8>]) -> Vec<u64> {
        slices.iter().map(|s| self.address(s)).collect()
    }
}

impl<S: Storage> Passes<S> for OnDevice {
    fn forward(&mut self, args: &Args<S>, out: &mut [S]) -> Result<()> {
        let (at, inputs, to) = (self.prepare(args)?, self.all(args)?, self.upload(out)?);
        // SAFETY: everything was uploaded above, and stays until the download has waited.
        unsafe { self.device.forward(&at, &self.addresses(&inputs), self.address(&to), 0) }?;
        self.download(&to, out)
    }

    fn backward(&mut self, args: &Args<S>, cotangent: &[S], gradients: &mut [Vec<S>]) -> Result<()> {
        let (at, inputs, cotangent) = (self.prepare(args)?, self.all(args)?, self.upload(cotangent)?);
        let to = gradients.iter().map(|g| self.upload(g)).collect::<Result<Vec<_>>>()?;
        let (inputs_at, to_at) = (self.addresses(&inputs), self.addresses(&to));
        // SAFETY: as above.
        unsafe { self.device.backward(&at, &inputs_at, self.address(&cotangent), &to_at, 0) }?;
        gradients.iter_mut().zip(&to).try_for_each(|(g, from)| self.download(from, g))
    }

    fn double_backward(
        &mut self,
        args: &Args<S>,
        cotangent: &[S],
        along: &[Option<&[S]>],
        seconds: &mut [Vec<S>],
    ) -> Result<()> {
        let (at, inputs, cotangent) = (self.prepare(args)?, self.all(args)?, self.upload(cotangent)?);
        let along = along.iter().map(|d| d.map(|d| self.upload(d)).transpose()).collect::<Result<Vec<_>>>()?;
        let along_at: Vec<u64> = along.iter().map(|d| d.as_ref().map_or(0, |d| self.address(d))).collect();
        let to = seconds.iter().map(|g| self.upload(g)).collect::<Result<Vec<_>>>()?;
        let (inputs_at, to_at, g) = (self.addresses(&inputs), self.addresses(&to), self.address(&cotangent));
        // SAFETY: as above.
        unsafe { self.device.double_backward(&at, &inputs_at, g, &along_at, &to_at, 0) }?;
        seconds.iter_mut().zip(&to).try_for_each(|(s, from)| self.download(from, s))
    }
}
