//! Large copies between pageable host memory and the device, through two pinned pieces: while one is on its way, all
//! threads copy the other.

use super::device::{Buffer, Device, Plain, Stream, failed};
use crate::Result;
use cudarc::driver::{result, sys};
use rayon::prelude::*;
use std::sync::Arc;

/// Bytes of a piece, bytes that a thread copies at a time.
const PIECE: usize = 4 << 20;
const GRAIN: usize = 256 << 10;
/// Smaller copies go without pieces.
const LARGE: usize = 1 << 20;

pub struct Staging {
    /// None until a large copy is made.
    pieces: Option<[Piece; 2]>,
    device: Arc<Device>,
}

struct Piece {
    memory: *mut u8,
    event: sys::CUevent,
    device: Arc<Device>,
}

// SAFETY: a piece has one owner; pinned memory and events may be used from any thread.
unsafe impl Send for Piece {}

impl Piece {
    fn new(device: &Arc<Device>) -> Result<Piece> {
        device.bind()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        // SAFETY: freed when dropped.
        let memory = unsafe { result::malloc_host(PIECE, 0) }.map_err(failed("allocating pinned memory"))?;
        let event = result::event::create(flags).map_err(failed("an event"))?;
        Ok(Piece { memory: memory.cast(), event, device: device.clone() })
    }

    fn bytes(&mut self, n: usize) -> &mut [u8] {
        assert!(n <= PIECE);
        // SAFETY: allocated with `PIECE` bytes, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.memory, n) }
    }

    /// Waits for the copy that uses this piece.
    fn wait(&self) -> Result<()> {
        // SAFETY: the event is alive; one that was never recorded is complete.
        unsafe { result::event::synchronize(self.event) }.map_err(failed("waiting for a copy"))
    }

    fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: event and stream are alive.
        unsafe { result::event::record(self.event, stream.raw) }.map_err(failed("recording an event"))
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.device.bind().is_ok() {
            let _ = self.wait();
            // SAFETY: no copy uses them any more.
            unsafe {
                let _ = result::event::destroy(self.event);
                let _ = result::free_host(self.memory.cast());
            }
        }
    }
}

impl Staging {
    pub fn new(device: &Arc<Device>) -> Staging {
        Staging { pieces: None, device: device.clone() }
    }

    fn pieces(&mut self) -> Result<&mut [Piece; 2]> {
        if self.pieces.is_none() {
            self.pieces = Some([Piece::new(&self.device)?, Piece::new(&self.device)?]);
        }
        Ok(self.pieces.as_mut().expect("made above"))
    }

    /// Copies `data` to the start of the buffer; returns its address.
    pub fn upload<T: Plain>(&mut self, to: &mut Buffer<T>, data: &[T], stream: &Stream) -> Result<u64> {
        if size_of_val(data) < LARGE {
            return to.upload(data, stream);
        }
        let start = to.room(data.len())?;
        // SAFETY: plain numbers are bytes.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), size_of_val(data)) };
        let pieces = self.pieces()?;
        for (k, from) in bytes.chunks(PIECE).enumerate() {
            let piece = &mut pieces[k % 2];
            piece.wait()?;
            let pinned = piece.bytes(from.len());
            pinned.par_chunks_mut(GRAIN).zip(from.par_chunks(GRAIN)).for_each(|(to, from)| to.copy_from_slice(from));
            // SAFETY: there is room; the piece is left alone until its event.
            let copied = unsafe { result::memcpy_htod_async(start + (k * PIECE) as u64, pinned, stream.raw) };
            copied.map_err(failed("copying to the device"))?;
            piece.record(stream)?;
        }
        Ok(start)
    }

    /// Copies the entries from `start` on to the host, and waits.
    pub fn download<T: Plain>(
        &mut self,
        from: &Buffer<T>,
        start: usize,
        data: &mut [T],
        stream: &Stream,
    ) -> Result<()> {
        let n_bytes = size_of_val(data);
        if n_bytes < LARGE {
            return from.download_from(start, data, stream);
        }
        assert!(start + data.len() <= from.capacity());
        let address = from.ptr + (start * size_of::<T>()) as u64;
        // SAFETY: plain numbers are bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<u8>(), n_bytes) };
        let pieces = self.pieces()?;
        let fetch = |piece: &mut Piece, k: usize| -> Result<()> {
            let at = k * PIECE;
            if at < n_bytes {
                let pinned = piece.bytes(PIECE.min(n_bytes - at));
                // SAFETY: within the buffer; the piece is read after its event.
                let copied = unsafe { result::memcpy_dtoh_async(pinned, address + at as u64, stream.raw) };
                copied.map_err(failed("copying to the host"))?;
                piece.record(stream)?;
            }
            Ok(())
        };
        for (k, piece) in pieces.iter_mut().enumerate() {
            piece.wait()?;
            fetch(piece, k)?;
        }
        for (k, to) in bytes.chunks_mut(PIECE).enumerate() {
            let piece = &mut pieces[k % 2];
            piece.wait()?;
            let pinned = piece.bytes(to.len());
            to.par_chunks_mut(GRAIN).zip(pinned.par_chunks(GRAIN)).for_each(|(to, from)| to.copy_from_slice(from));
            fetch(piece, k + 2)?;
        }
        Ok(())
    }
}
