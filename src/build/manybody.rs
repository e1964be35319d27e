//! The many-body part: from its limits to `A`, `AA`, `C`.

use super::invariants::{Couplings, Invariants, Pattern};
use super::levels::{self, Block, Limits};
use crate::model::spec::SparseSpec;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// Most basis functions, and most products.
const MAX_FUNCTIONS: usize = 1 << 20;

/// The basis without its radial functions.
pub struct ManyBody {
    /// `[n, l]` of the radial functions.
    pub spec: Vec<[u32; 2]>,
    pub lmax: u32,
    pub a: Vec<[u32; 2]>,
    pub aa: Vec<Vec<u32>>,
    pub c: SparseSpec,
}

impl ManyBody {
    /// # Errors
    /// A basis that is empty or too large.
    pub fn new(limits: &Limits) -> Result<ManyBody> {
        let blocks = limits.blocks()?;
        let spec = blocks.iter().map(|b| [b.n, b.l]).collect();
        let mut sorted = blocks.clone();
        sorted.sort_by(|a, b| a.level.total_cmp(&b.level));
        let mut classes = limits.classes(&sorted)?;
        levels::sort(&mut classes, &sorted);
        Self::from_classes(spec, &sorted, &classes)
    }

    fn from_classes(spec: Vec<[u32; 2]>, blocks: &[Block], classes: &[Vec<usize>]) -> Result<ManyBody> {
        let mut couplings = Couplings::default();
        let mut known: HashMap<Pattern, Invariants> = HashMap::new();
        // Products by (n, l, m), the index of `A` when all are known.
        let mut products: Vec<Vec<[i32; 3]>> = Vec::new();
        let (mut rows, mut cols, mut vals) = (Vec::new(), Vec::new(), Vec::new());
        let mut n_rows = 0;
        for class in classes {
            let mut factors: Vec<_> = class.iter().map(|&k| (blocks[k].l, blocks[k].n)).collect();
            factors.sort_unstable();
            let same = (0..factors.len()).map(|k| k > 0 && factors[k] == factors[k - 1]).collect();
            let pattern = Pattern { l: factors.iter().map(|f| f.0).collect(), same };
            if !known.contains_key(&pattern) {
                let made = pattern.invariants(&mut couplings)?;
                known.insert(pattern.clone(), made);
            }
            let Invariants { m, c } = &known[&pattern];
            for row in c {
                for (k, &x) in row.iter().enumerate().filter(|(_, x)| **x != 0.0) {
                    rows.push(n_rows as u32);
                    cols.push((products.len() + k) as u32);
                    vals.push(x);
                }
                n_rows += 1;
            }
            let product = |m: &Vec<i32>| factors.iter().zip(m).map(|(&(l, n), &m)| [n as i32, l as i32, m]).collect();
            products.extend(m.iter().map(product));
            if n_rows.max(products.len()) > MAX_FUNCTIONS {
                return Err(Error::Recipe(format!("the basis has more than {MAX_FUNCTIONS} functions or products")));
            }
        }
        if n_rows == 0 {
            return Err(Error::Recipe("the degrees are too small for a single basis function".into()));
        }
        let mut index: BTreeMap<[i32; 3], u32> = products.iter().flatten().map(|&f| (f, 0)).collect();
        index.values_mut().zip(0..).for_each(|(v, k)| *v = k);
        let radial: HashMap<[u32; 2], u32> = spec.iter().copied().zip(0..).collect();
        let entry = |&[n, l, m]: &[i32; 3]| [radial[&[n as u32, l as u32]], (l * l + l + m) as u32];
        let sorted = |factors: &Vec<[i32; 3]>| {
            let mut v: Vec<u32> = factors.iter().map(|f| index[f]).collect();
            v.sort_unstable();
            v
        };
        Ok(ManyBody {
            lmax: index.keys().map(|f| f[1] as u32).max().unwrap_or(0),
            a: index.keys().map(entry).collect(),
            aa: products.iter().map(sorted).collect(),
            c: SparseSpec { shape: [n_rows, products.len()], rows, cols, vals },
            spec,
        })
    }
}
