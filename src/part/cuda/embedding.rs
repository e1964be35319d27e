//! Embedding and core repulsion of a part as device code: what `kernels/embedding.cuh` expects.

use crate::part::ace::EmbeddingSpec;
use crate::stage::core::Core;
use crate::stage::embedding::Density;
use crate::stage::spec::InnerCutoff;
use std::fmt::Write;

/// The readout of a part that is not linear in the products.
pub struct Embedded {
    /// By species.
    densities: Vec<Vec<Density>>,
    switch: Vec<[f64; 2]>,
    core: Option<Core>,
    /// Coefficients (n_species, n_coefficients, n_densities); species with fewer densities have zeros.
    pub folded: Vec<f64>,
    pub n_densities: usize,
}

impl Embedded {
    /// `coefficients` are those of each species, (n_coefficients, its densities).
    pub fn new(spec: &EmbeddingSpec, core: Option<Core>, coefficients: &[Vec<f64>]) -> Embedded {
        let densities: Vec<_> = spec.species.iter().map(Density::of).collect();
        let n = densities.iter().map(Vec::len).max().unwrap_or(1);
        let mut folded = Vec::new();
        for (c, own) in coefficients.iter().zip(&densities) {
            for c in c.chunks(own.len()) {
                folded.extend_from_slice(c);
                folded.resize(folded.len() + n - own.len(), 0.0);
            }
        }
        Embedded { switch: spec.species.iter().map(|e| e.core).collect(), densities, core, folded, n_densities: n }
    }

    /// Definitions that precede `embedding.cuh`, and the names to be undefined after the part.
    pub fn definitions(&self) -> (String, Vec<&'static str>) {
        let kind = self.core.as_ref().map_or(0, |core| match core.inner {
            _ if core.is_nothing() && self.switch.iter().all(|[cut, width]| cut >= width) => 0,
            InnerCutoff::Density => 1,
            InnerCutoff::Distance => 2,
            InnerCutoff::Zbl => 3,
        });
        let mut c = format!("#define EMBEDDED\n#define CORE {kind}\n");
        writeln!(c, "constexpr int N_DENSITIES = {};", self.n_densities).expect("writing to a string");
        let padded = self.densities.iter().flat_map(|of_species| {
            let row = |p: usize| of_species.get(p).map_or([0.0; 5], Density::numbers);
            (0..self.n_densities).map(row)
        });
        table(&mut c, "DENSITY", padded);
        table(&mut c, "SWITCH", self.switch.iter().copied());
        if let (Some(core), true) = (&self.core, kind > 0) {
            c += &core_pairs(core);
        }
        (c, vec!["EMBEDDED", "CORE"])
    }
}

/// The repulsion of each ordered pair.
pub fn core_pairs(core: &Core) -> String {
    let mut c = String::new();
    table(&mut c, "CORE_PAIRS", core.pairs.iter().map(|p| p.numbers()));
    c
}

/// An array of rows.
fn table<const N: usize>(c: &mut String, name: &str, rows: impl Iterator<Item = [f64; N]>) {
    let row = |row: [f64; N]| format!("{{{}}}, ", row.map(|x| format!("{x:e}")).join(", "));
    let rows: String = rows.map(row).collect();
    writeln!(c, "__device__ const double {name}[][{N}] = {{{rows}}};").expect("writing to a string");
}
