//! Radial tables on a device, made for the pairs of species that are asked for.

use super::source::Polynomials;
use crate::device::cuda::context::{Buffer, Context, reals};
use crate::device::cuda::stream::Stream;
use crate::mace::network::{Pieces, Radial};
use crate::precision::Precision;
use crate::{Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// The struct `Table` of the kernels: rows, densities, intervals over ångströms, their number.
type Words = [u64; 4];

pub struct DeviceTables {
    radial: Radial,
    channels: usize,
    precision: Precision,
    device: Arc<Context>,
    known: Mutex<Known>,
    /// Words by sender and receiver; those of pairs that nobody has asked for are zero.
    pub address: u64,
}

struct Known {
    by_table: HashMap<usize, (Words, [Buffer<u8>; 2])>,
    words: Vec<u32>,
    /// Never grows.
    buffer: Buffer<u32>,
}

impl DeviceTables {
    /// # Errors
    /// Out of memory.
    pub fn new(radial: &Radial, channels: usize, precision: Precision, device: &Arc<Context>) -> Result<DeviceTables> {
        let n = radial.n_species * radial.n_species * size_of::<Words>() / 4;
        let mut buffer = Buffer::new(device);
        let address = buffer.reserve(n)?;
        let known = Mutex::new(Known { by_table: HashMap::new(), words: vec![0; n], buffer });
        Ok(DeviceTables { radial: radial.clone(), channels, precision, device: device.clone(), known, address })
    }

    pub fn bytes(&self) -> usize {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.by_table.values().flat_map(|(_, buffers)| buffers).map(Buffer::capacity).sum()
    }

    /// Makes the tables of all pairs of these species that are not there yet.
    ///
    /// # Errors
    /// Functions that change too fast for any table; out of memory.
    pub fn prepare(&self, species: &[usize], stream: &Stream) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { by_table, words, buffer } = &mut *known;
        let mut new = false;
        for (&sender, &receiver) in species.iter().flat_map(|s| species.iter().map(move |r| (s, r))) {
            let at = (sender * self.radial.n_species + receiver) * 8;
            if words[at..at + 8].iter().any(|&w| w != 0) {
                continue;
            }
            let table = self.radial.table(sender, receiver);
            let made = match by_table.entry(table) {
                Entry::Occupied(made) => made.into_mut(),
                Entry::Vacant(place) => place.insert(self.table(sender, receiver, stream)?),
            };
            let halves = made.0.iter().flat_map(|&w| [w as u32, (w >> 32) as u32]);
            words[at..at + 8].iter_mut().zip(halves).for_each(|(to, w)| *to = w);
            new = true;
        }
        if new {
            // What kernels may be reading is written again as it was.
            buffer.upload(words, stream)?;
            stream.wait()?;
        }
        Ok(())
    }

    fn table(&self, sender: usize, receiver: usize, stream: &Stream) -> Result<(Words, [Buffer<u8>; 2])> {
        let Polynomials { degree, tolerance, pairs, packed } = Polynomials::of(self.precision);
        let all = Pieces::new(&self.radial, [sender, receiver], degree, tolerance);
        if !all.accurate {
            return Err(Error::Model("the radial weights change too fast with the distance".into()));
        }
        let (k, n_paths, n_c) = (self.channels, self.radial.n_weights / self.channels, 2 * pairs);
        let row = n_paths * n_c * k;
        let mut rows = vec![0.0; all.n * row];
        // Pairs of coefficients, channels side by side.
        crate::parallel::for_chunks_mut(&mut rows, row, |interval, row| {
            for (column, at) in (0..n_paths * k).map(|c| (c, c / k * n_c * k + 2 * (c % k))) {
                let c = all.at(interval, column);
                match packed {
                    true => [row[at], row[at + 1]] = pack([c[0], c[1], c[2]]).map(f64::from),
                    false => (0..n_c).for_each(|n| row[at + n / 2 * 2 * k + n % 2] = c[n]),
                }
            }
        });
        let density: Vec<f64> = match self.radial.density {
            Some(_) => (0..all.n).flat_map(|interval| all.at(interval, self.radial.n_weights)).collect(),
            None => Vec::new(),
        };
        let mut buffers = [Buffer::new(&self.device), Buffer::new(&self.device)];
        let mut upload = |n: usize, x: &[f64]| buffers[n].upload(&reals(x, self.precision.is_single()), stream);
        let words = [upload(0, &rows)?, upload(1, &density)?, (1.0 / all.step).to_bits(), all.n as u64];
        Ok((words, buffers))
    }
}

/// A parabola in two numbers in f32 of 24 bits. Their last bytes, the second one's three times, are the last coefficient, of 16 bits, as the kernels read it.
fn pack([a, b, c]: [f64; 3]) -> [f32; 2] {
    let last = |code: u16| f32::from_bits((u32::from(code) << 16) | (u32::from(code & 0xff) * 0x101));
    let near = (c as f32).to_bits() >> 16;
    let candidates = [near, near.wrapping_sub(1), near + 1].map(|code| code as u16);
    let error = |code: u16| (f64::from(last(code)) - c).abs();
    let code = candidates.into_iter().min_by(|&x, &y| error(x).total_cmp(&error(y))).unwrap_or_default();
    // Of numbers that end in this byte the nearest.
    let ending = |x: f64, byte: u16| {
        let bits = ((x as f32).to_bits() & !0xff) | u32::from(byte);
        let candidates = [bits, bits.wrapping_sub(0x100), bits.wrapping_add(0x100)].map(f32::from_bits);
        let error = |y: f32| (f64::from(y) - x).abs();
        candidates.into_iter().min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or_default()
    };
    [ending(a, code >> 8), ending(b, code & 0xff)]
}

#[cfg(test)]
mod tests {
    use super::pack;

    #[test]
    fn parabolas_are_packed_and_read() {
        for c in [[1.0, -0.3, 0.01], [0.0, 0.0, 0.0], [-3e-7, 2e-3, -4.4e-5], [1e-3, 1e-9, 1e-12]] {
            let [a, b] = pack(c).map(f32::to_bits);
            let last = f32::from_bits(((a & 0xff) << 24) | ((b & 0xff) * 0x0001_0101));
            for (is, should, error) in [(a, c[0], 1.6e-5), (b, c[1], 1.6e-5)] {
                assert!((f64::from(f32::from_bits(is)) - should).abs() <= error * should.abs() + 1e-37, "{c:?}");
            }
            assert!((f64::from(last) - c[2]).abs() <= 4e-3 * c[2].abs() + 1e-37, "{c:?}: {last}");
        }
    }
}
