//! Which radial functions and which products of them a basis has: blocks and classes, in the order of upstream.

use crate::{Error, Result};

/// Most sequences of blocks that are looked at: degrees that ask for more are a mistake.
const MAX_SEQUENCES: usize = 1 << 24;
/// Most blocks.
const MAX_BLOCKS: usize = 1 << 14;

/// A radial function `R_nl` and what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    pub n: u32,
    pub l: u32,
    /// `n / wn + l / wl`.
    pub level: f64,
}

/// What limits a basis. Levels are compared without a tolerance, as upstream does: rounding decides ties.
#[derive(Clone, Debug)]
pub struct Limits {
    pub wn: f64,
    pub wl: f64,
    /// The largest level of a product, by order from 1.
    pub degrees: Vec<f64>,
    /// The largest `l` of a factor, by order from 1.
    pub max_l: Vec<u32>,
    pub max_n: u32,
}

impl Limits {
    /// The pairs `(n, l)` of the radial functions: `l` outer, `n` inner.
    ///
    /// # Errors
    /// None at all, or too many.
    pub fn blocks(&self) -> Result<Vec<Block>> {
        let degree = self.degrees.iter().fold(0.0, |m: f64, &d| m.max(d));
        let max_l = self.max_l.iter().copied().max().unwrap_or(0);
        let mut blocks = Vec::new();
        for l in 0..=max_l {
            let level = |n: u32| f64::from(n) / self.wn + f64::from(l) / self.wl;
            if level(1) > degree {
                break;
            }
            for n in (1..=self.max_n).take_while(|&n| level(n) <= degree) {
                blocks.push(Block { n, l, level: level(n) });
                if blocks.len() > MAX_BLOCKS {
                    return Err(Error::Recipe(format!(
                        "degree {degree} gives more than {MAX_BLOCKS} radial functions"
                    )));
                }
            }
        }
        match blocks.is_empty() {
            true => Err(Error::Recipe(format!("degree {degree} is too small for a single radial function"))),
            false => Ok(blocks),
        }
    }

    /// All products that have an invariant, as non-decreasing sequences of indices into `blocks`, which are sorted by level.
    ///
    /// # Errors
    /// Too many.
    pub fn classes(&self, blocks: &[Block]) -> Result<Vec<Vec<usize>>> {
        let mut search = Search { limits: self, blocks, order: 0, seen: 0, path: vec![], found: vec![] };
        for order in 1..=self.degrees.len() {
            search.order = order;
            search.extend(0, 0.0)?;
        }
        Ok(search.found)
    }
}

struct Search<'a> {
    limits: &'a Limits,
    blocks: &'a [Block],
    order: usize,
    seen: usize,
    path: Vec<usize>,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn extend(&mut self, first: usize, level: f64) -> Result<()> {
        let (degree, max_l) = (self.limits.degrees[self.order - 1], self.limits.max_l[self.order - 1]);
        let left = (self.order - self.path.len()) as f64;
        for k in first..self.blocks.len() {
            let block = self.blocks[k];
            // The later blocks count at least as much; the margin leaves ties to the sum below.
            if level + left * block.level > degree * (1.0 + 1e-12) + 1e-9 {
                break;
            }
            self.seen += 1;
            if self.seen > MAX_SEQUENCES {
                let order = self.order;
                return Err(Error::Recipe(format!(
                    "degree {degree} at order {order} gives too many products to look at"
                )));
            }
            if block.l > max_l {
                continue;
            }
            let level = level + block.level;
            self.path.push(k);
            if self.path.len() < self.order {
                self.extend(k, level)?;
            } else if level <= degree && self.has_invariant() {
                self.found.push(self.path.clone());
            }
            self.path.pop();
        }
        Ok(())
    }

    /// Even parity, and no `l` longer than all others together.
    fn has_invariant(&self) -> bool {
        let l = || self.path.iter().map(|&k| self.blocks[k].l);
        let (sum, max) = (l().sum::<u32>(), l().max().unwrap_or(0));
        sum % 2 == 0 && 2 * max <= sum
    }
}

/// Sorts classes as upstream does: by order, then by their keys.
pub fn sort(classes: &mut Vec<Vec<usize>>, blocks: &[Block]) {
    let mut keyed: Vec<_> = classes.drain(..).map(|class| (class.len(), key(&class, blocks), class)).collect();
    keyed.sort();
    classes.extend(keyed.into_iter().map(|(_, _, class)| class));
}

/// The smallest sequence of (block, m), `m` ascending inside equal blocks, of which some signs give `Σ ±m = 0`.
fn key(class: &[usize], blocks: &[Block]) -> Vec<(usize, i32)> {
    let mut m = Vec::with_capacity(class.len());
    let found = complete(class, blocks, &mut m);
    debug_assert!(found, "m = 0 has the sum 0");
    class.iter().copied().zip(m).collect()
}

fn complete(class: &[usize], blocks: &[Block], m: &mut Vec<i32>) -> bool {
    let k = m.len();
    if k == class.len() {
        return signed_zero(m);
    }
    let l = blocks[class[k]].l as i32;
    let start = if k > 0 && class[k] == class[k - 1] { m[k - 1] } else { -l };
    (start..=l).any(|x| {
        m.push(x);
        let found = complete(class, blocks, m);
        if !found {
            m.pop();
        }
        found
    })
}

/// Do some signs give `Σ ±m = 0`?
pub fn signed_zero(m: &[i32]) -> bool {
    fn reach(m: &[i32], sum: i32) -> bool {
        match m {
            [] => sum == 0,
            [x, rest @ ..] => reach(rest, sum + x) || (*x != 0 && reach(rest, sum - x)),
        }
    }
    reach(m, 0)
}
