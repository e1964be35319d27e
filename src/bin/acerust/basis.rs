use crate::frames;
use crate::options::{self, Options};
use crate::output::Output;
use acerust::extxyz::{Found, Frame, Frames};
use acerust::ndarray::ArrayViewMut2;
use acerust::npz;
use acerust::plan::{Plan, Rows};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Computes design rows: energies, forces and virials as linear functions of the parameters
///
/// The rows of all frames stand one below the other, in float64, with one column a linear parameter:
/// `energy_row` (n_frames), `force_rows` (3 n_atoms, row 3·atom + axis) and `virial_rows` (9 n_frames, row
/// 3·a + b), in eV, eV/Å and eV. Times the parameters they give energy, forces and virial without the
/// one-body energies. `row_offsets` (n_frames + 1, int64) says where the force rows of each frame begin.
/// The structures are in memory, and so are the force rows of a few frames at a time, and all others until the end.
#[derive(clap::Args)]
pub struct Basis {
    /// The model file
    model: PathBuf,
    /// Structures, extended XYZ; several files follow one another
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// The .npz file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Force rows to have in memory, unless one frame alone has more.
const CHUNK_BYTES: usize = 256 << 20;

/// The rows of a frame, one below the other.
struct Design {
    energy: Vec<f64>,
    forces: Vec<f64>,
    virial: Vec<f64>,
}

impl Basis {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = options::model(&self.model)?;
        let plan = options.plan(&model)?;
        let columns = plan.length_basis();
        ensure!(columns > 0, "{}: the model has no linear parameters", self.model.display());
        // The size of an array stands before its entries.
        let found =
            Frames::new(&self.structures)?.map(|found| found.map(Found::bare)).collect::<acerust::Result<Vec<_>>>()?;
        let mut offsets = vec![0_i64];
        for found in &found {
            offsets.push(offsets[offsets.len() - 1] + 3 * found.frame.structure.n_atoms() as i64);
        }
        let n_frames = offsets.len() - 1;
        let n_rows = offsets[n_frames] as usize;

        let out = Output::new(Some(&self.output))?;
        ensure!(out.is_file(), "{}: not a file", self.output.display());
        let mut npz = npz::Writer::new(out);
        npz.start("force_rows", "<f8", &[n_rows, columns])?;
        let (mut energy, mut virial) = (Vec::new(), Vec::new());
        let bar = frames::bar(true);
        let compute = |frame: &Frame| design(&plan, frame);
        let chunk_atoms = (CHUNK_BYTES / (24 * columns)).clamp(1, frames::CHUNK_ATOMS);
        frames::for_each(found.into_iter().map(Ok), chunk_atoms, &bar, compute, |_, rows| {
            npz.write(rows.forces.iter().map(|x| x.to_le_bytes()))?;
            energy.extend(rows.energy);
            virial.extend(rows.virial);
            Ok(())
        })?;
        npz.start("energy_row", "<f8", &[n_frames, columns])?;
        npz.write(energy.iter().map(|x| x.to_le_bytes()))?;
        npz.start("virial_rows", "<f8", &[9 * n_frames, columns])?;
        npz.write(virial.iter().map(|x| x.to_le_bytes()))?;
        npz.start("row_offsets", "<i8", &[offsets.len()])?;
        npz.write(offsets.iter().map(|x| x.to_le_bytes()))?;
        npz.finish()?.finish()
    }
}

fn design(plan: &Plan, frame: &Frame) -> Result<Design> {
    let graph = plan.graph(&frame.structure)?;
    let (columns, n) = (plan.length_basis(), 3 * frame.structure.n_atoms());
    let mut forces = Vec::new();
    let size = n * columns;
    forces.try_reserve_exact(size).with_context(|| format!("no memory for {n} rows of {columns} numbers"))?;
    forces.resize(size, 0.0);
    let (mut energy, mut virial) = (vec![0.0; columns], vec![0.0; 9 * columns]);
    let rows = Rows::new()
        .energy(&mut energy[..])
        .forces(ArrayViewMut2::from_shape((n, columns), &mut forces)?)
        .virial(ArrayViewMut2::from_shape((9, columns), &mut virial)?);
    plan.assemble(&graph, &frame.structure.numbers, &mut { rows })?;
    Ok(Design { energy, forces, virial })
}
