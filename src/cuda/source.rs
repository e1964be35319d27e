//! The complete text of a kernel file for one model.

use super::basis::SHARES;
use crate::device::cuda::kernel::KernelSource;
use crate::dtype::Dtype;
use crate::part::cuda::radial::PAIR_SIZE;
use crate::part::cuda::{PartKernels, PartKind, THREADS};
use crate::precision::Precision;
use std::fmt::Write;

/// The model as device code.
pub struct Kernels<'a> {
    pub n_species: usize,
    pub precision: Precision,
    pub parts: &'a [PartKernels],
}

impl Kernels<'_> {
    fn real(&self) -> usize {
        if self.precision.is_single() { 4 } else { 8 }
    }

    /// Energies and edge gradients with `group` lanes a centre.
    pub fn site(&self, group: usize) -> KernelSource {
        // Blocks that share a multiprocessor: as many as leave `A` in registers.
        let blocks = if self.precision.is_single() { 3 } else { 2 };
        let defines = [("GROUP", group), ("BLOCKS_ENERGY", blocks), ("BLOCKS_GRADIENT", blocks)];
        self.source("site", include_str!("../../kernels/site.cu"), &defines)
    }

    /// Basis, Jacobian and design rows.
    pub fn basis(&self) -> KernelSource {
        self.source("basis", include_str!("../../kernels/basis.cu"), &[("GROUP", 32), ("SHARES", SHARES)])
    }

    fn source(&self, name: &'static str, kernels: &str, defines: &[(&str, usize)]) -> KernelSource {
        let mut t = String::new();
        let mut put = |text: std::fmt::Arguments| t.write_fmt(text).expect("writing to a string");
        let (n_parts, real) = (self.parts.len().max(1), self.real());
        put(format_args!("{}#define N_SPECIES {}\n", reals(self.precision), self.n_species));
        put(format_args!("#define N_PARTS {n_parts}\n#define PAIR_SIZE {PAIR_SIZE}\n#define THREADS {THREADS}\n"));
        for (name, value) in defines {
            put(format_args!("#define {name} {value}\n"));
        }
        put(format_args!("{}", include_str!("../../kernels/common.cuh")));
        put(format_args!("{}", include_str!("../../kernels/site.cuh")));
        let (mut pairs, mut aces, kernels_of_basis) = (String::new(), String::new(), name == "basis");
        let (mut shared, mut n_aces, mut adjoint) = (0, 0, 0);
        for (index, part) in self.parts.iter().enumerate() {
            let name = part.name(index);
            let (text, bytes) = part.code(&name, index, real);
            put(format_args!("{text}"));
            let list = match part.kind {
                PartKind::Ace(..) => &mut aces,
                // Has no basis.
                PartKind::Zbl(_) if kernels_of_basis => continue,
                PartKind::Pair(_) | PartKind::Zbl(_) => &mut pairs,
            };
            write!(list, " X({name})").expect("writing to a string");
            n_aces += usize::from(matches!(part.kind, PartKind::Ace(..)));
            shared = shared.max(bytes);
            adjoint = adjoint.max(part.adjoint(real).1);
        }
        put(format_args!("#define FOR_PAIRS(X){pairs}\n#define FOR_ACES(X){aces}\n"));
        put(format_args!("#define N_ACES {n_aces}\n#define AT_BAR {shared}\n{kernels}"));
        KernelSource { name, text: t, shared, shared_gradient: shared + adjoint }
    }
}

/// Kernels that know the precision but not the model; `lanes` share an atom.
pub fn plain(name: &'static str, kernels: &str, precision: Precision, lanes: usize, defines: &str) -> KernelSource {
    let common = include_str!("../../kernels/common.cuh");
    // They know no transform.
    let reals = reals(if precision.is_single() { Precision::F32 } else { Precision::F64 });
    let text = format!("{reals}#define THREADS {THREADS}\n#define LANES {lanes}\n{defines}{common}{kernels}");
    KernelSource { name, text, shared: 0, shared_gradient: 0 }
}

fn reals(precision: Precision) -> String {
    let mixed = precision.distances == Dtype::F32;
    format!("#define SINGLE {}\n#define MIXED {}\n", u8::from(precision.is_single()), u8::from(mixed))
}
