//! Coupling tensors, symmetrised: coefficients of monomials.

use super::Tensor;
use crate::ops::coupling::{Convention, Entry, coupling};
use crate::ops::irreps::Irrep;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// A product of components `q1 ≤ q2 ≤ …` of one channel.
pub type Monomial = Vec<u8>;

/// What is left of the tensors `U` in a product that does not depend on the order of its factors.
#[derive(Clone, Debug)]
pub struct Couplings {
    /// Components of the argument.
    pub d: usize,
    pub n_paths: usize,
    /// For every component of the result (irrep after irrep): monomials with the paths that have them, and their coefficients.
    pub outputs: Vec<BTreeMap<Monomial, Vec<(u32, f64)>>>,
}

/// The most numbers of coupling tensors.
const MAX_NUMBERS: usize = 20_000_000;

/// One chain of couplings: a tensor (2l + 1, d, …, d), sparse.
#[derive(Clone)]
struct Chain {
    irrep: Irrep,
    entries: Vec<(u8, Monomial, f64)>,
}

/// The tensors of e3nn.
pub(super) fn chains(
    inputs: &[Irrep],
    outputs: &[Irrep],
    correlation: usize,
    convention: Convention,
) -> Result<Couplings> {
    let orders: Vec<Vec<Chain>> =
        (1..=correlation).map(|nu| order(nu, inputs, outputs, convention)).collect::<Result<_>>()?;
    let d = inputs.iter().map(|i| i.dim()).sum();
    let mut couplings = Couplings { d, n_paths: 0, outputs: Vec::new() };
    for &output in outputs {
        let mut components = vec![BTreeMap::new(); output.dim()];
        for chain in orders.iter().rev().flatten().filter(|c| c.irrep == output) {
            for (m, factors, value) in &chain.entries {
                let paths: &mut Vec<(u32, f64)> = components[*m as usize].entry(factors.clone()).or_default();
                paths.push((couplings.n_paths as u32, *value));
            }
            couplings.n_paths += 1;
        }
        couplings.outputs.extend(components);
    }
    Ok(couplings.cleaned())
}

/// The chains of one order: for 1 an identity for each irrep, in the argument's order; then every chain times every irrep of the argument,
/// to every irrep of the product; sorted by irrep, the order kept. For order 4, e3nn keeps natural irreps only.
fn order(nu: usize, inputs: &[Irrep], outputs: &[Irrep], convention: Convention) -> Result<Vec<Chain>> {
    let starts: Vec<usize> = inputs.iter().scan(0, |end, i| Some(std::mem::replace(end, *end + i.dim()))).collect();
    let highest = |irreps: &[Irrep]| irreps.iter().map(|i| i.l).max().unwrap_or(0);
    // What nothing leads back to an output is left out: it does not change the order of the rest.
    let useful = |irrep: Irrep, length: usize| match nu - length {
        _ if nu == 4 && length > 1 && irrep != Irrep::natural(irrep.l) => false,
        0 => outputs.contains(&irrep),
        rest => irrep.l <= highest(outputs) + rest * highest(inputs),
    };
    let identity = |(&irrep, &start): (&Irrep, &usize)| {
        let entries = (0..irrep.dim()).map(|m| (m as u8, vec![(start + m) as u8], 1.0)).collect();
        Chain { irrep, entries }
    };
    let mut chains: Vec<Chain> = inputs.iter().zip(&starts).map(identity).filter(|c| useful(c.irrep, 1)).collect();
    for length in 2..=nu {
        let mut longer = Vec::new();
        let mut numbers = 0;
        for chain in &chains {
            for (&factor, &start) in inputs.iter().zip(&starts) {
                for irrep in chain.irrep.product(factor).filter(|&irrep| useful(irrep, length)) {
                    longer.push(extend(chain, irrep, start, factor, convention));
                    numbers += longer.last().map_or(0, |c| c.entries.len());
                    if numbers > MAX_NUMBERS {
                        let message = format!("correlation: coupling tensors of more than {MAX_NUMBERS} numbers");
                        return Err(Error::Argument(message));
                    }
                }
            }
        }
        longer.sort_by_key(|c| c.irrep);
        chains = longer;
    }
    Ok(chains)
}

/// The chain times an irrep of the argument whose components start at `start`.
fn extend(chain: &Chain, irrep: Irrep, start: usize, factor: Irrep, convention: Convention) -> Chain {
    let mut by_row: Vec<Vec<Entry>> = vec![Vec::new(); chain.irrep.dim()];
    // `√(2L + 1) w3j(L, l', l)`: the result is the first axis.
    let scale = (irrep.dim() as f64).sqrt() / (factor.dim() as f64).sqrt();
    for e in coupling(irrep, chain.irrep, factor, convention) {
        by_row[e.index[1]].push(Entry { value: scale * e.value, ..e });
    }
    let mut entries = Vec::new();
    for (row, factors, value) in &chain.entries {
        for e in &by_row[*row as usize] {
            let mut factors = factors.clone();
            factors.push((start + e.index[2]) as u8);
            entries.push((e.index[0] as u8, factors, value * e.value));
        }
    }
    // Chains that lead to one number are one; the order of the factors matters no more.
    entries.iter_mut().for_each(|(_, factors, _)| factors.sort_unstable());
    entries.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    entries.dedup_by(|b, a| {
        let same = (a.0, &a.1) == (b.0, &b.1);
        if same {
            a.2 += b.2;
        }
        same
    });
    Chain { irrep, entries }
}

/// From tensors that are given.
pub(super) fn given(d: usize, outputs: &[Irrep], correlation: usize, tensors: &[Vec<Tensor>]) -> Result<Couplings> {
    if tensors.len() != outputs.len() || tensors.iter().any(|t| t.len() != correlation) {
        let n = outputs.len();
        return Err(Error::Argument(format!("basis: expected tensors of {correlation} orders for each of {n} irreps")));
    }
    let mut couplings = Couplings { d, n_paths: 0, outputs: Vec::new() };
    for (k, (&output, tensors)) in outputs.iter().zip(tensors).enumerate() {
        let mut components = vec![BTreeMap::new(); output.dim()];
        for (order, tensor) in tensors.iter().enumerate().rev() {
            let nu = order + 1;
            let name = format!("basis: tensor of {output} ({k}) and order {nu}");
            let n = (output.dim() * d.pow(nu as u32)).checked_mul(tensor.paths);
            let n = n.filter(|_| tensor.index.len() == tensor.value.len() && tensor.paths < 1 << 20);
            let n = n.ok_or_else(|| Error::Argument(format!("{name}: wrong lengths")))? as u64;
            for (&index, &value) in tensor.index.iter().zip(&tensor.value) {
                if index >= n || !value.is_finite() {
                    return Err(Error::Argument(format!("{name}: number {value} at {index} of {n}")));
                }
                let (path, mut at) = (index as usize % tensor.paths, index as usize / tensor.paths);
                let mut factors = vec![0; nu];
                for q in factors.iter_mut().rev() {
                    *q = (at % d) as u8;
                    at /= d;
                }
                let component: &mut BTreeMap<Monomial, Vec<(u32, f64)>> = &mut components[at];
                factors.sort_unstable();
                let paths = component.entry(factors).or_default();
                let path = (couplings.n_paths + path) as u32;
                match paths.iter_mut().find(|(p, _)| *p == path) {
                    Some((_, sum)) => *sum += value,
                    None => paths.push((path, value)),
                }
            }
            couplings.n_paths += tensor.paths;
        }
        couplings.outputs.extend(components);
    }
    Ok(couplings.cleaned())
}

impl Couplings {
    /// Without what cancelled but for rounding.
    pub(super) fn cleaned(mut self) -> Couplings {
        for component in &mut self.outputs {
            for paths in component.values_mut() {
                paths.retain(|(_, value)| value.abs() > 1e-13);
                paths.sort_by_key(|&(path, _)| path);
            }
            component.retain(|_, paths| !paths.is_empty());
        }
        self
    }
}
