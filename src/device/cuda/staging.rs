//! Large copies between pageable host memory and the device, through two pinned pieces: while one is on its way, all
//! threads copy the other.

use super::context::{Buffer, Context, Plain, failed};
use super::stream::{Place, Stream, allocation};
use crate::{Result, parallel};
use cudarc::driver::{result, sys};
use std::sync::Arc;

/// Bytes of a piece, bytes that a thread copies at a time.
const PIECE: usize = 4 << 20;
const GRAIN: usize = 256 << 10;
/// Smaller copies go without pieces.
pub const LARGE: usize = 1 << 20;

/// Pinned host memory that grows; contents are lost when it does.
pub struct Pinned {
    memory: *mut u8,
    bytes: usize,
    allocation: u64,
    device: Arc<Context>,
}

// SAFETY: it has one owner, and pinned memory may be used from any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    pub fn new(device: &Arc<Context>) -> Pinned {
        Pinned { memory: std::ptr::null_mut(), bytes: 0, allocation: 0, device: device.clone() }
    }

    /// Room for `n` numbers, which no work that is under way may use.
    pub fn reserve(&mut self, n: usize) -> Result<&mut [f64]> {
        let bytes = 8 * n;
        if bytes > self.bytes || self.memory.is_null() {
            self.free();
            self.device.bind()?;
            let bytes = (bytes + bytes / 8).max(4096);
            // SAFETY: freed by `free`.
            let memory = unsafe { result::malloc_host(bytes, 0) }.map_err(failed("allocating pinned memory"))?;
            // SAFETY: as many bytes were allocated.
            unsafe { std::ptr::write_bytes(memory.cast::<u8>(), 0, bytes) };
            (self.memory, self.bytes, self.allocation) = (memory.cast(), bytes, allocation());
        }
        // SAFETY: allocated and written above, aligned to pages, and borrowed mutably.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.memory.cast(), n) })
    }

    pub fn place(&self) -> Place {
        Place { address: self.memory.addr() as u64, allocation: self.allocation }
    }

    fn free(&mut self) {
        if !self.memory.is_null() && self.device.bind().is_ok() {
            // SAFETY: allocated by `reserve`; the driver waits for copies that use it.
            let _ = unsafe { result::free_host(self.memory.cast()) };
        }
        (self.memory, self.bytes) = (std::ptr::null_mut(), 0);
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.free();
    }
}

pub struct Staging {
    /// None until a large copy is made.
    pieces: Option<[Piece; 2]>,
    device: Arc<Context>,
}

struct Piece {
    memory: Pinned,
    event: sys::CUevent,
    device: Arc<Context>,
}

// SAFETY: a piece has one owner; pinned memory and events may be used from any thread.
unsafe impl Send for Piece {}

impl Piece {
    fn new(device: &Arc<Context>) -> Result<Piece> {
        device.bind()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let mut memory = Pinned::new(device);
        memory.reserve(PIECE / 8)?;
        let event = result::event::create(flags).map_err(failed("an event"))?;
        Ok(Piece { memory, event, device: device.clone() })
    }

    fn bytes(&mut self, n: usize) -> Result<&mut [u8]> {
        assert!(n <= PIECE);
        let words = self.memory.reserve(PIECE / 8)?;
        // SAFETY: numbers are bytes.
        Ok(unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), n) })
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
            // SAFETY: no copy uses it any more.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}

impl Staging {
    pub fn new(device: &Arc<Context>) -> Staging {
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
        let start = to.reserve(data.len())?;
        // SAFETY: plain numbers are bytes.
        let bytes = unsafe { std::slice::from_raw_parts(data.as_ptr().cast::<u8>(), size_of_val(data)) };
        let pieces = self.pieces()?;
        for (k, from) in bytes.chunks(PIECE).enumerate() {
            let piece = &mut pieces[k % 2];
            piece.wait()?;
            let pinned = piece.bytes(from.len())?;
            parallel::copy(pinned, from, GRAIN);
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
                let pinned = piece.bytes(PIECE.min(n_bytes - at))?;
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
            let pinned = piece.bytes(to.len())?;
            parallel::copy(to, pinned, GRAIN);
            fetch(piece, k + 2)?;
        }
        Ok(())
    }
}
