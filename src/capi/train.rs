//! MACE models that are trained: results as functions of the parameters, and gradients of losses on them.

use super::buffer::{self, output, result, return_text, sized};
use super::evaluate::{acerust_input, acerust_outputs};
use super::handle::Table;
use super::model::{MODELS, acerust_model};
use super::plan::{ACERUST_F32, ACERUST_F64, acerust_conditions, device_of};
use super::status::{Failure, Result, guard};
use crate::dtype::Dtype;
use crate::model::Model;
use crate::plan::Conditions;
use crate::shared::{Buffers, SharedEvaluation, SharedTraining, Taken, adapt};
use crate::train::{Cotangent, LossScale, Parameter};
use std::ffi::c_char;

/// Numbers of 16 bits with 5 of exponent; of trainings.
pub const ACERUST_F16: i32 = 16;
/// Numbers of 16 bits with 8 of exponent; of trainings.
pub const ACERUST_BF16: i32 = 17;

/// A MACE model whose parameters change.
#[allow(non_camel_case_types)]
pub struct acerust_training(());

/// What a training says of a structure, with all that gradients take of the way to it.
#[allow(non_camel_case_types)]
pub struct acerust_evaluation(());

static TRAININGS: Table<SharedTraining> = Table::new("training");
static EVALUATIONS: Table<SharedEvaluation> = Table::new("evaluation");

/// Derivatives of a loss by results; null: zero. Set `size` to `sizeof(acerust_cotangent)`; later versions of the library may add
/// fields at the end, whose 0 will mean what this version does.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_cotangent {
    /// `sizeof(acerust_cotangent)`.
    pub size: usize,
    /// By the energy, 1/eV.
    pub energy: f64,
    /// By the energy of each atom besides, (n_atoms), 1/eV.
    pub site_energies: *const f64,
    /// (n_atoms, 3), Å/eV.
    pub forces: *const f64,
    /// (3, 3), 1/eV.
    pub virial: *const f64,
}

/// Makes a MACE model ready for training.
///
/// @param device `ACERUST_CPU` or `ACERUST_CUDA`.
/// @param index Of the CUDA device; 0 for the processor.
/// @param precision Of weights and intermediates: `ACERUST_F64`, `ACERUST_F32`, `ACERUST_F16` or `ACERUST_BF16`. Parameters and results are double
/// precision in any case.
/// @param n_threads As in `acerust_options`.
/// @param out To be freed with `acerust_training_free`. It does not need the model any more.
/// @return `ACERUST_ERROR_ARGUMENT` for a model that is no MACE model, `ACERUST_ERROR_DEVICE` for a device that is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_new(
    model: *const acerust_model,
    device: i32,
    index: i32,
    precision: i32,
    n_threads: usize,
    out: *mut *mut acerust_training,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let model: &Model = &*MODELS.get(model)?;
        let device = device_of(device, index)?;
        let dtype = match precision {
            ACERUST_F64 => Dtype::F64,
            ACERUST_F32 => Dtype::F32,
            ACERUST_F16 => Dtype::F16,
            ACERUST_BF16 => Dtype::Bf16,
            other => return Err(Failure::argument(format!("no precision {other} of a training"))),
        };
        TRAININGS.insert(SharedTraining::new(model, device, dtype, n_threads)?, out);
        Ok(())
    })
}

/// Frees a training. Null is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_training_free(training: *mut acerust_training) -> i32 {
    guard(|| TRAININGS.remove(training))
}

/// How many numbers the parameters have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_n_parameters(training: *const acerust_training, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        *result("out", out)? = TRAININGS.get(training)?.values().len();
        Ok(())
    })
}

/// The tensors that are trained, as JSON: `[{"name": …, "shape": […], "start": …, "length": …}, …]`, in the order of their numbers among all.
///
/// @param buffer For the text and its NUL; may be null.
/// @param needed The bytes that it takes; may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_tensors(
    training: *const acerust_training,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let entry = |p: &Parameter| serde_json::json!({"name": p.name, "shape": p.shape, "start": p.range.start, "length": p.range.len()});
        let list: Vec<_> = TRAININGS.get(training)?.parameters().iter().map(entry).collect();
        return_text(&serde_json::Value::from(list).to_string(), buffer, length, needed)
    })
}

/// The numbers of all parameters.
///
/// @param parameters As many as `acerust_training_n_parameters` says, which `length` must be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_parameters(
    training: *const acerust_training,
    parameters: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let values = TRAININGS.get(training)?.values();
        output("parameters", parameters, length, values.len())?.copy_from_slice(&values);
        Ok(())
    })
}

/// Replaces the parameters.
///
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length, or a number that is not finite; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_set_parameters(
    training: *mut acerust_training,
    parameters: *const f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let training = TRAININGS.get(training)?;
        Ok(training.set_values(buffer::input("parameters", parameters, length)?)?)
    })
}

/// The model with the current parameters.
///
/// @param out The model; to be freed with `acerust_model_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_model(
    training: *const acerust_training,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let model = TRAININGS.get(training)?.model()?;
        MODELS.insert(model, out);
        Ok(())
    })
}

/// Multiplies gradients by this while they are computed, so that those of 16 bits do not vanish; results have it divided out again. At first it is 1.
///
/// @return `ACERUST_ERROR_ARGUMENT` for what is not finite and above 0.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_training_set_loss_scale(training: *mut acerust_training, scale: f64) -> i32 {
    guard(|| Ok(TRAININGS.get(training)?.set_loss_scale(scale)?))
}

/// The scale of a loss for training in 16 bits, found by trying: halved where a number overflows, doubled where none has for a while.
///
/// @param scale Changed to the one of the next step. 0 at first, which becomes the one to begin with, whatever `finite` is.
/// @param steps Without overflow since the scale last changed; 0 at first.
/// @param finite 0 where the step that used the scale has come to `ACERUST_ERROR_NOT_FINITE`, and is to be skipped; else 1.
/// @return `ACERUST_ERROR_NOT_FINITE` where the scale is so small that it has nothing to do with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_loss_scale(scale: *mut f64, steps: *mut u32, finite: i32) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (scale, steps) = (result("scale", scale)?, result("steps", steps)?);
        let mut now = match *scale {
            0.0 => LossScale::default(),
            given if given.is_finite() && given > 0.0 => LossScale { scale: given, good: *steps },
            given => return Err(Failure::argument(format!("scale: {given} is not finite and above 0"))),
        };
        if *scale != 0.0 {
            adapt(&mut now, finite != 0)?;
        }
        (*scale, *steps) = (now.scale, now.good);
        Ok(())
    })
}

/// Evaluates at the current parameters.
///
/// @param input A structure, or a graph without ghosts.
/// @param conditions Head, charge and spin; null for the defaults.
/// @param outputs Where results go: `energy`, `site_energies`, `forces`, `virial`; others are refused. May be null.
/// @param out For gradients; to be freed with `acerust_evaluation_free`, which frees all intermediates. Null where none is wanted.
/// @return As `acerust_evaluate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_evaluate(
    training: *const acerust_training,
    input: *const acerust_input,
    conditions: *const acerust_conditions,
    outputs: *const acerust_outputs,
    out: *mut *mut acerust_evaluation,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let training = TRAININGS.get(training)?;
        let input = sized::<acerust_input>("input", input)?;
        if !input.list.is_null() || input.forward.is_some() || input.backward.is_some() {
            return Err(Failure::argument("input: trainings take structures and graphs, without lists and exchanges"));
        }
        let conditions = match conditions.is_null() {
            true => Conditions::new(),
            false => acerust_conditions::read(conditions)?,
        };
        let outputs = if outputs.is_null() { None } else { Some(sized::<acerust_outputs>("outputs", outputs)?) };
        let mut taken = Taken::default();
        input.note(&mut taken);
        let buffers = outputs.map_or(Ok(Buffers::default()), |outputs| outputs.buffers(&mut taken))?;
        let made = taken.take("out", out, 1)?;
        input.sites(|sites| {
            check(&buffers, sites.n_atoms())?;
            let run = training.evaluate(sites, &conditions)?;
            write(buffers, &run);
            if let Some([out]) = made {
                EVALUATIONS.insert(run, out);
            }
            Ok(())
        })
    })
}

/// Frees an evaluation. Null is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_evaluation_free(evaluation: *mut acerust_evaluation) -> i32 {
    guard(|| EVALUATIONS.remove(evaluation))
}

/// The gradient of a loss by all parameters, at those of the evaluation.
///
/// @param evaluation Of the same training. It may be used again.
/// @param cotangent The derivatives of the loss by the results of the evaluation.
/// @param gradient As many numbers as there are parameters, to which the gradient is added.
/// @return `ACERUST_ERROR_NOT_FINITE` where the numbers of the training cannot hold one on the way: nothing is added then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_gradient(
    training: *const acerust_training,
    evaluation: *const acerust_evaluation,
    cotangent: *const acerust_cotangent,
    gradient: *mut f64,
    n_gradient: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (training, run) = (TRAININGS.get(training)?, EVALUATIONS.get(evaluation)?);
        let cotangent = sized::<acerust_cotangent>("cotangent", cotangent)?;
        let (n, mut taken) = (run.forces.len(), Taken::default());
        cotangent.note(n, &mut taken);
        let gradient = taken.take("gradient", gradient, n_gradient)?.unwrap_or_default();
        Ok(training.gradient(&run, &cotangent.read(n)?, gradient)?)
    })
}

impl acerust_cotangent {
    /// What no result may overlap.
    fn note(&self, n: usize, taken: &mut Taken) {
        taken.read("cotangent of site_energies", self.site_energies, n);
        taken.read("cotangent of forces", self.forces, n.saturating_mul(3));
        taken.read("cotangent of virial", self.virial, 9);
    }

    /// # Safety
    /// The promise of the module.
    unsafe fn read<'a>(&self, n: usize) -> Result<Cotangent<'a>> {
        // SAFETY: arrays of as many atoms as there are.
        unsafe {
            let vectors = |name: &str, pointer: *const f64, n: usize| match pointer.is_null() {
                true => Ok(None),
                false => buffer::vectors(name, pointer, n).map(Some),
            };
            let site_energies = match self.site_energies.is_null() {
                true => None,
                false => Some(buffer::input("cotangent of site_energies", self.site_energies, n)?),
            };
            let virial = vectors("cotangent of virial", self.virial, 3)?.map(|v| [v[0], v[1], v[2]]);
            let forces = vectors("cotangent of forces", self.forces, n)?;
            Ok(Cotangent { energy: self.energy, site_energies, forces, virial })
        }
    }
}

/// Are these results of a training of `n` atoms, and as long?
fn check(out: &Buffers, n: usize) -> Result {
    const KNOWN: [&str; 4] = ["energy", "site_energies", "forces", "virial"];
    if let Some(name) = out.wanted().into_iter().find(|name| !KNOWN.contains(name)) {
        return Err(Failure::argument(format!("{name}: not of a training")));
    }
    for (name, found, expected) in
        [("site_energies", &out.site_energies, n), ("forces", &out.forces, 3 * n), ("virial", &out.virial, 9)]
    {
        if let Some(found) = found.as_ref().map(|x| x.len()).filter(|&found| found != expected) {
            return Err(Failure::argument(format!("{name}: expected a length of {expected}, got {found}")));
        }
    }
    Ok(())
}

fn write(out: Buffers, run: &SharedEvaluation) {
    let Buffers { energy, site_energies, forces, virial, .. } = out;
    energy.into_iter().for_each(|e| *e = run.energy);
    for (to, from) in [
        (site_energies, &run.site_energies[..]),
        (forces, run.forces.as_flattened()),
        (virial, run.virial.as_flattened()),
    ] {
        to.into_iter().for_each(|to| to.copy_from_slice(from));
    }
}
