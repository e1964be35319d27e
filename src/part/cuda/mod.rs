//! A part of the model for the device: its code and its numbers.

mod embedding;
mod harmonics;
mod products;
pub(crate) mod radial;

use super::ace::program::Program;
use super::{AceSpec, Offset, PairSpec};
use crate::stage::core::Core;
use crate::stage::radial::{Coordinates, Functions, Radial};
use crate::stage::spec::Embedding;
use crate::stage::table::RadialMode;
use embedding::{Embedded, core_pairs};
use radial::PAIR_SIZE;

/// Threads of a block.
pub const THREADS: usize = 128;

/// Coefficients of shared memory at most, in bytes.
const SHARED_COEFFICIENTS: usize = 64 << 10;
/// Radial rows of one species up to this many bytes are kept in shared memory.
const SHARED_ROWS: usize = 48 << 10;
/// Radial rows of a single species up to this many numbers are written into the code, in single precision: instructions have no
/// room for longer ones, and fetching these takes longer than loading rows.
const FIXED_ROWS: usize = 2000;
/// Registers that `A` and its adjoint may take together; beyond, the adjoint is in shared memory.
const REGISTERS: usize = 170;
/// Shared memory for the adjoint at most; beyond, it is in local memory.
const SHARED_ADJOINT: usize = 150 << 10;

/// Shared memory for the derivatives of `A` along a tile of edges, about.
const JACOBIAN_BYTES: usize = 100 << 10;

/// Where a part stands in its model, and the size of a number in bytes.
pub struct At<'a> {
    /// Atomic numbers of the model's species.
    pub species: &'a [u8],
    pub mode: RadialMode,
    pub offset: Offset,
    pub real: usize,
}

pub enum PartKind {
    Pair(Radial),
    Ace(Box<Program>, Option<Embedded>),
    Zbl(Core),
}

/// One part. Numbers are in double precision here; the engine converts them.
pub struct PartKernels {
    pub kind: PartKind,
    pub rcut: f64,
    pub n_basis: usize,
    pub offset: Offset,
    /// (n_species², PAIR_SIZE).
    pub pairs: Vec<f64>,
    /// Radial rows: of polynomials (n_species², pair_stride) with the terms of a function side by side, of splines
    /// (rows, n_t) as in [`Radial`].
    pub matrix: Vec<f64>,
    row_size: usize,
    pair_stride: usize,
}

impl PartKernels {
    pub fn pair(spec: &PairSpec, at: &At) -> PartKernels {
        let columns: Vec<usize> = (0..spec.weights[0].len()).collect();
        let radial = Radial::new(at.species.len(), &spec.radial, &columns);
        let n = radial.n_t;
        PartKernels::new(PartKind::Pair(radial.clone()), &radial, spec.rcut, n, at)
    }

    pub fn ace(spec: &AceSpec, at: &At) -> PartKernels {
        let (program, tables) = Program::with_mode(at.species.len(), spec, at.mode);
        let embedded = spec.embedding.as_ref().map(|embedding| {
            let fold = |(w, e): (&Vec<f64>, &Embedding)| program.fold_densities(&program.trie, w, e.densities.len());
            let coefficients: Vec<_> = spec.weights.iter().zip(&embedding.species).map(fold).collect();
            let core = embedding.core.as_ref().map(|c| Core::new(c, at.species, tables));
            Embedded::new(embedding, core, &coefficients)
        });
        let (radial, n) = (program.radial.clone(), if embedded.is_some() { 0 } else { program.n_basis });
        PartKernels::new(PartKind::Ace(Box::new(program), embedded), &radial, spec.rcut, n, at)
    }

    pub fn zbl(core: Core, rcut: f64, at: &At) -> PartKernels {
        let (kind, offset) = (PartKind::Zbl(core), at.offset);
        PartKernels { kind, rcut, n_basis: 0, offset, pairs: vec![], matrix: vec![], row_size: 0, pair_stride: 0 }
    }

    fn new(kind: PartKind, radial: &Radial, rcut: f64, n_basis: usize, at: &At) -> PartKernels {
        let &At { offset, real, .. } = at;
        let n_q = radial.n_terms();
        let row_size = n_q.next_multiple_of(16 / real);
        // Pairs start 16 bytes apart modulo all banks: rows of up to eight species are read without conflict.
        let mut pair_stride = radial.n_t * row_size;
        while radial.n_species > 1 && (pair_stride * real / 16).is_multiple_of(2) {
            pair_stride += 16 / real;
        }
        let matrix = match radial.functions {
            Functions::Spline { .. } => radial.matrix.clone(),
            Functions::Polynomial { .. } => {
                let n_pairs = radial.n_species.pow(2);
                let mut m = vec![0.0; n_pairs * pair_stride];
                for (pair, m) in m.chunks_mut(pair_stride.max(1)).enumerate().take(n_pairs) {
                    for t in 0..radial.n_t {
                        for q in 0..n_q {
                            m[t * row_size + q] = radial.matrix[(pair * n_q + q) * radial.n_t + t];
                        }
                    }
                }
                m
            }
        };
        let pairs = radial::pairs(radial);
        PartKernels { kind, rcut, n_basis, offset, pairs, matrix, row_size, pair_stride }
    }

    /// Folded coefficients of a readout, from weights (n_species · n_basis).
    pub fn fold(&self, weights: &[f64]) -> Vec<f64> {
        match &self.kind {
            PartKind::Pair(radial) => radial.fold(weights).matrix,
            PartKind::Ace(_, Some(embedded)) => embedded.folded.clone(),
            PartKind::Ace(program, None) => program.fold(weights),
            PartKind::Zbl(_) => vec![],
        }
    }

    /// The namespace of the part's code.
    pub fn name(&self, index: usize) -> String {
        let kind = match self.kind {
            PartKind::Pair(_) => "pair",
            PartKind::Ace(..) => "ace",
            PartKind::Zbl(_) => "zbl",
        };
        format!("{kind}{index}")
    }

    /// Edges whose `∂A/∂r` are in shared memory together, when Jacobians are made.
    fn tile(&self, real: usize) -> usize {
        let PartKind::Ace(program, _) = &self.kind else { return 32 };
        [32, 16].into_iter().find(|t| program.n_a * (3 * t + 1) * real <= JACOBIAN_BYTES).unwrap_or(8)
    }

    /// Bytes of shared memory for them.
    pub fn jacobian_shared(&self, real: usize) -> usize {
        let PartKind::Ace(program, _) = &self.kind else { return 0 };
        program.n_a * (3 * self.tile(real) + 1) * real
    }

    /// Where the adjoint of `A` is: its stride, and the bytes it takes in shared memory.
    pub fn adjoint(&self, real: usize) -> (usize, usize) {
        let PartKind::Ace(program, _) = &self.kind else { return (1, 0) };
        let bytes = program.n_a * THREADS * real;
        let registers = 2 * program.n_a * real / 4;
        if registers > REGISTERS && bytes <= SHARED_ADJOINT { (THREADS, bytes) } else { (1, 0) }
    }

    /// The code of the part in namespace `name`; returns also the bytes of shared memory for its coefficients.
    pub fn code(&self, name: &str, index: usize, real: usize) -> (String, usize) {
        let mut c = String::new();
        let mut put = |text: String| c.push_str(&text);
        let radial = match &self.kind {
            PartKind::Pair(radial) => radial,
            PartKind::Ace(program, _) => &program.radial,
            PartKind::Zbl(core) => return (zbl_code(core, name, index, self.rcut), 0),
        };
        put(format!("\nnamespace {name} {{\nconstexpr int INDEX = {index}, N_T = {};\n", radial.n_t));
        put(format!("constexpr real RCUT = {:e};\n", self.rcut));
        put(format!("constexpr int ROW_SIZE = {}, PAIR_STRIDE = {};\n", self.row_size, self.pair_stride));
        put(format!("constexpr int N_BASIS = {}, BASIS = {};\n", self.n_basis, self.offset.basis));
        let (text, names) = radial::definitions(radial, &self.pairs);
        let mut names: Vec<String> = names.into_iter().map(String::from).collect();
        put(text);
        if matches!(radial.coordinates, Coordinates::Pace(_)) {
            put(include_str!("../../../kernels/base.cuh").into());
        }
        put(include_str!("../../../kernels/radial.cuh").into());
        let mut shared = 0;
        match &self.kind {
            PartKind::Ace(program, embedded) => {
                let n_c = program.trie.n_coefficients() * embedded.as_ref().map_or(1, |e| e.n_densities);
                let room = program.n_a.max(1);
                put(format!("constexpr int N_A = {}, ROOM = {room}, N_C = {n_c};\n", program.n_a));
                put(format!("constexpr int N_CHANNEL = {};\n", program.n_channel));
                put(format!("constexpr bool SPHERICAL = {};\n", program.spherical));
                put(format!("constexpr int STRIDE = {}, TILE = {};\n", self.adjoint(real).0, self.tile(real)));
                let rows = program.n_species * self.pair_stride * real;
                let few = program.n_species == 1 && self.matrix.len() <= FIXED_ROWS;
                let is_spline = matches!(radial.functions, Functions::Spline { .. });
                let fixed = real == 4 && !is_spline && few;
                if fixed {
                    let numbers: String = self.matrix.iter().map(|x| format!("{x:e}, ")).collect();
                    put(format!("#define FIXED_ROWS {numbers}0\n"));
                    names.push("FIXED_ROWS".into());
                }
                let rows_shared = !is_spline && !fixed && rows <= SHARED_ROWS;
                let c_shared = n_c * real <= SHARED_COEFFICIENTS;
                let at_rows = if c_shared { (n_c * real).next_multiple_of(16) } else { 0 };
                let at_pairs = at_rows + if rows_shared { rows.next_multiple_of(16) } else { 0 };
                shared = at_pairs + program.n_species * PAIR_SIZE * 8;
                put(format!("constexpr bool ROWS_SHARED = {rows_shared}, C_SHARED = {c_shared};\n"));
                put(format!("constexpr int AT_C = 0, AT_ROWS = {at_rows}, AT_PAIRS = {at_pairs};\n"));
                put(shells(program));
                put(harmonics::code(program.lmax));
                let (text, more) = products::code(&program.trie, embedded.is_some());
                put(text);
                names.extend(more);
                if let Some(embedded) = embedded {
                    let (text, more) = embedded.definitions();
                    put(text);
                    names.extend(more.into_iter().map(String::from));
                }
                put(include_str!("../../../kernels/ace.cuh").into());
                if embedded.is_some() {
                    put(include_str!("../../../kernels/core.cuh").into());
                    put(include_str!("../../../kernels/embedding.cuh").into());
                }
                names.push("SHELLS".into());
            }
            _ => put(include_str!("../../../kernels/pair.cuh").into()),
        }
        for name in names {
            put(format!("#undef {name}\n"));
        }
        put("}\n".into());
        (c, shared.next_multiple_of(16))
    }
}

fn zbl_code(core: &Core, name: &str, index: usize, rcut: f64) -> String {
    let [core_code, zbl] = [include_str!("../../../kernels/core.cuh"), include_str!("../../../kernels/zbl.cuh")];
    let constants = format!("constexpr int INDEX = {index};\nconstexpr real RCUT = {rcut:e};\n#define CORE 3\n");
    format!("\nnamespace {name} {{\n{constants}{}{core_code}{zbl}#undef CORE\n}}\n", core_pairs(core))
}

fn shells(program: &Program) -> String {
    let shell = |s: &crate::stage::pool::Shell| format!(" X({}, {}, {}, {})", s.l, s.t0, s.n, s.a0);
    format!("#define SHELLS(X){}\n", program.shells.iter().map(shell).collect::<String>())
}
