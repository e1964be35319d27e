//! Irreducible representations of O(3): `128x0e+128x1o` is 128 scalars and 128 vectors.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The largest degree of any irrep.
pub const MAX_L: usize = 11;
/// The largest dimension of irreps: 100 bytes of text must not ask for all memory.
pub const MAX_DIM: usize = 1 << 24;
/// The most blocks: operations look at all pairs of them.
pub const MAX_BLOCKS: usize = 1 << 14;

/// What an inversion does: `o` changes the sign. Odd comes first in the order of irreps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Parity {
    Odd,
    Even,
}

impl std::ops::Mul for Parity {
    type Output = Parity;
    fn mul(self, other: Parity) -> Parity {
        if self == other { Parity::Even } else { Parity::Odd }
    }
}

/// Degree and parity. The order is that of `O3_e3nn`: `0o < 0e < 1o < 1e < …`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Irrep {
    pub l: usize,
    pub parity: Parity,
}

impl Irrep {
    pub const SCALAR: Irrep = Irrep { l: 0, parity: Parity::Even };

    /// That of the harmonics: parity (−1)^l.
    pub const fn natural(l: usize) -> Irrep {
        Irrep { l, parity: if l.is_multiple_of(2) { Parity::Even } else { Parity::Odd } }
    }

    /// `2l + 1`
    pub const fn dim(self) -> usize {
        2 * self.l + 1
    }

    /// The irreps in the product of both, by ascending degree.
    pub fn product(self, other: Irrep) -> impl Iterator<Item = Irrep> {
        let parity = self.parity * other.parity;
        (self.l.abs_diff(other.l)..=self.l + other.l).map(move |l| Irrep { l, parity })
    }
}

impl fmt::Display for Irrep {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.l, if self.parity == Parity::Even { 'e' } else { 'o' })
    }
}

impl FromStr for Irrep {
    type Err = Error;
    fn from_str(text: &str) -> Result<Irrep> {
        let error = || Error::Argument(format!("irrep `{text}`: expected a degree up to {MAX_L}, then `e` or `o`"));
        let (parity, degree) = match (text.strip_suffix('e'), text.strip_suffix('o')) {
            (Some(degree), _) => (Parity::Even, degree),
            (_, Some(degree)) => (Parity::Odd, degree),
            _ => return Err(error()),
        };
        let l = number(degree).filter(|&l| l <= MAX_L).ok_or_else(error)?;
        Ok(Irrep { l, parity })
    }
}

/// Digits alone: no sign, no spaces.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `mul` copies of one irrep, beside each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Block {
    pub mul: usize,
    pub irrep: Irrep,
}

impl Block {
    /// `mul · (2l + 1)`
    pub const fn dim(self) -> usize {
        self.mul * self.irrep.dim()
    }
}

/// Blocks in a row. Parsed from and printed as `128x0e+128x1o`; `0e` is `1x0e`, the empty text is no block.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Irreps {
    blocks: Vec<Block>,
}

impl Irreps {
    /// # Errors
    /// If a degree is above [`MAX_L`], the dimension above [`MAX_DIM`], or there are more blocks than [`MAX_BLOCKS`].
    pub fn new(blocks: Vec<Block>) -> Result<Irreps> {
        if blocks.len() > MAX_BLOCKS {
            return Err(Error::Argument(format!("irreps: {} blocks, expected at most {MAX_BLOCKS}", blocks.len())));
        }
        let dim = |b: &Block| b.mul.checked_mul(b.irrep.dim()).filter(|_| b.irrep.l <= MAX_L);
        let total = blocks.iter().try_fold(0_usize, |sum, b| sum.checked_add(dim(b)?));
        match total {
            Some(n) if n <= MAX_DIM => Ok(Irreps { blocks }),
            _ => Err(Error::Argument(format!("irreps: at most l = {MAX_L} and dimension {MAX_DIM} are possible"))),
        }
    }

    /// One block of each irrep, with the same multiplicity.
    pub fn uniform(mul: usize, irreps: impl IntoIterator<Item = Irrep>) -> Result<Irreps> {
        Irreps::new(irreps.into_iter().map(|irrep| Block { mul, irrep }).collect())
    }

    /// `0e+1o+2e+…` up to `lmax`: the harmonics.
    pub fn harmonics(lmax: usize) -> Result<Irreps> {
        Irreps::uniform(1, (0..=lmax).map(Irrep::natural))
    }

    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Numbers in all blocks.
    pub fn dim(&self) -> usize {
        self.blocks.iter().map(|b| b.dim()).sum()
    }

    /// The largest degree, 0 where there is no block.
    pub fn lmax(&self) -> usize {
        self.blocks.iter().map(|b| b.irrep.l).max().unwrap_or(0)
    }

    /// By irrep, in their order: how many blocks there are, and how many channels these have.
    pub(crate) fn counts(&self) -> BTreeMap<Irrep, [usize; 2]> {
        let mut counts = BTreeMap::<Irrep, [usize; 2]>::new();
        for b in &self.blocks {
            let [blocks, channels] = counts.entry(b.irrep).or_default();
            (*blocks, *channels) = (*blocks + 1, *channels + b.mul);
        }
        counts
    }

    /// The multiplicity of an irrep in all blocks together.
    pub fn count(&self, irrep: Irrep) -> usize {
        self.blocks.iter().filter(|b| b.irrep == irrep).map(|b| b.mul).sum()
    }

    /// Where each block is.
    pub fn slices(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let next = |b: &Block| {
            end += b.dim();
            end - b.dim()..end
        };
        self.blocks.iter().map(next).collect()
    }

    /// The blocks in the order of their irreps, equal ones as they were, and for each the place where it came from.
    pub fn sorted(&self) -> (Irreps, Vec<usize>) {
        let mut from: Vec<usize> = (0..self.blocks.len()).collect();
        from.sort_by_key(|&k| self.blocks[k].irrep);
        (Irreps { blocks: from.iter().map(|&k| self.blocks[k]).collect() }, from)
    }

    /// Neighbours of one irrep become one block, empty blocks vanish.
    pub fn simplified(&self) -> Irreps {
        let mut blocks: Vec<Block> = Vec::new();
        for &b in self.blocks.iter().filter(|b| b.mul > 0) {
            match blocks.last_mut() {
                Some(last) if last.irrep == b.irrep => last.mul += b.mul,
                _ => blocks.push(b),
            }
        }
        Irreps { blocks }
    }
}

impl fmt::Display for Irreps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (k, b) in self.blocks.iter().enumerate() {
            write!(f, "{}{}x{}", if k > 0 { "+" } else { "" }, b.mul, b.irrep)?;
        }
        Ok(())
    }
}

impl FromStr for Irreps {
    type Err = Error;
    fn from_str(text: &str) -> Result<Irreps> {
        let within = |error: Error| match error {
            Error::Argument(message) => Error::Argument(format!("irreps `{text}`: {message}")),
            error => error,
        };
        if text.trim().is_empty() {
            return Ok(Irreps::default());
        }
        let block = |part: &str| {
            let part = part.trim();
            let (mul, irrep) = part.split_once('x').unwrap_or(("1", part));
            let mul = number(mul.trim())
                .ok_or_else(|| Error::Argument(format!("`{}` is no number of copies", mul.trim())))?;
            Ok(Block { mul, irrep: irrep.trim().parse()? })
        };
        text.split('+').map(block).collect::<Result<_>>().and_then(Irreps::new).map_err(within)
    }
}

impl TryFrom<String> for Irreps {
    type Error = Error;
    fn try_from(text: String) -> Result<Irreps> {
        text.parse()
    }
}

impl From<Irreps> for String {
    fn from(irreps: Irreps) -> String {
        irreps.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn irreps(text: &str) -> Irreps {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_read_and_written() {
        for text in ["128x0e+128x1o", "0x3e+1x11o", ""] {
            assert_eq!(irreps(text).to_string(), text);
        }
        assert_eq!(irreps(" 0e + 2 x 1o").to_string(), "1x0e+2x1o");
        let json: Irreps = serde_json::from_str("\"2x1e\"").unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), "\"2x1e\"");
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["8", "8x", "x0e", "8x1", "8x12e", "-1x0e", "+8x0e", "8x0e+", "8x0e 1o", "8xe", "1.5x0e", "8x+1e"] {
            let error = text.parse::<Irreps>().unwrap_err().to_string();
            assert!(error.contains(text.trim()), "{error}");
        }
        for text in ["99999999999999999999x0e", "18446744073709551615x1e", "16777217x0e", "16777215x0e+1x1o"] {
            assert!(text.parse::<Irreps>().is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_are_sorted_merged_and_found() {
        let x = irreps("3x1e+2x0e+0x2e+1x1o+4x1o+2x0e");
        assert_eq!(x.dim(), 9 + 2 + 3 + 12 + 2);
        assert_eq!(x.slices(), [0..9, 9..11, 11..11, 11..14, 14..26, 26..28]);
        let (sorted, from) = x.sorted();
        assert_eq!(sorted.to_string(), "2x0e+2x0e+1x1o+4x1o+3x1e+0x2e");
        assert_eq!(from, [1, 5, 3, 4, 0, 2]);
        assert_eq!(sorted.simplified().to_string(), "4x0e+5x1o+3x1e");
        assert_eq!(x.count("0e".parse().unwrap()), 4);
        assert_eq!(x.lmax(), 2);
        assert_eq!(Irreps::harmonics(3).unwrap().to_string(), "1x0e+1x1o+1x2e+1x3o");
    }

    #[test]
    fn products_follow_the_triangle() {
        let (a, b): (Irrep, Irrep) = ("2e".parse().unwrap(), "1o".parse().unwrap());
        assert_eq!(a.product(b).map(|i| i.to_string()).collect::<Vec<_>>(), ["1o", "2o", "3o"]);
    }
}
