//! MACE models that are trained: results as functions of the parameters, and gradients of losses on them.

use super::buffer::{self, output, result, return_text, sized};
use super::evaluate::{acerust_input, acerust_outputs};
use super::handle::Table;
use super::model::{MODELS, acerust_model};
use super::plan::{ACERUST_F32, ACERUST_F64, acerust_conditions};
use super::status::{Failure, Result, guard};
use crate::dtype::Storage;
use crate::graph::Graph;
use crate::model::Model;
use crate::plan::Conditions;
use crate::shared::{Buffers, Sites, Taken, Threads};
use crate::train::{Cotangent, Parameter, Training};
use std::ffi::c_char;
use std::sync::{PoisonError, RwLock};

/// A MACE model whose parameters change.
#[allow(non_camel_case_types)]
pub struct acerust_training(());

/// One of either type, with its threads.
struct Shared {
    training: RwLock<Either>,
    threads: Threads,
}

enum Either {
    Double(Box<Training<f64>>),
    Single(Box<Training<f32>>),
}

/// `$body` with the training, whatever its type.
macro_rules! with {
    ($either:expr, $training:ident => $body:expr) => {
        match $either {
            Either::Double($training) => $body,
            Either::Single($training) => $body,
        }
    };
}

static TRAININGS: Table<Shared> = Table::new("training");

impl Shared {
    fn read<T>(&self, f: impl FnOnce(&Either) -> T) -> T {
        f(&self.training.read().unwrap_or_else(PoisonError::into_inner))
    }
}

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

/// Makes a MACE model ready for training on the processor.
///
/// @param precision Of weights and intermediates: `ACERUST_F64` or `ACERUST_F32`. Parameters are double precision in any case.
/// @param n_threads As in `acerust_options`.
/// @param out To be freed with `acerust_training_free`. It does not need the model any more.
/// @return `ACERUST_ERROR_ARGUMENT` for a model that is no MACE model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_new(
    model: *const acerust_model,
    precision: i32,
    n_threads: usize,
    out: *mut *mut acerust_training,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let model: &Model = &*MODELS.get(model)?;
        let training = match precision {
            ACERUST_F64 => Either::Double(Box::new(Training::new(model)?)),
            ACERUST_F32 => Either::Single(Box::new(Training::new(model)?)),
            other => return Err(Failure::argument(format!("no precision {other} of a training"))),
        };
        TRAININGS.insert(Shared { training: RwLock::new(training), threads: Threads::new(n_threads)? }, out);
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
        *result("out", out)? = TRAININGS.get(training)?.read(|t| with!(t, t => t.values().len()));
        Ok(())
    })
}

/// The tensors that are trained, as JSON: `[{"name": …, "start": …, "length": …}, …]`, in the order of their numbers among all.
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
        let entry =
            |p: &Parameter| serde_json::json!({"name": p.name, "start": p.range.start, "length": p.range.len()});
        let list = |p: &[Parameter]| serde_json::Value::from(p.iter().map(entry).collect::<Vec<_>>()).to_string();
        let text = TRAININGS.get(training)?.read(|t| with!(t, t => list(t.parameters())));
        return_text(&text, buffer, length, needed)
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
        TRAININGS.get(training)?.read(|t| {
            let values = with!(t, t => t.values());
            output("parameters", parameters, length, values.len())?.copy_from_slice(values);
            Ok(())
        })
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
        let parameters = buffer::input("parameters", parameters, length)?;
        let mut training = training.training.write().unwrap_or_else(PoisonError::into_inner);
        Ok(with!(&mut *training, t => t.set_values(parameters))?)
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
        let model = TRAININGS.get(training)?.read(|t| with!(t, t => t.model()))?;
        MODELS.insert(model, out);
        Ok(())
    })
}

/// Evaluates at the current parameters; with a cotangent, the gradient of the loss by all parameters besides.
///
/// @param input A structure, or a graph without ghosts.
/// @param conditions Head, charge and spin; null for the defaults.
/// @param outputs Where results go: `energy`, `site_energies`, `forces`, `virial`; others are refused. May be null.
/// @param cotangent The derivatives of the loss by these results; null where no gradient is wanted.
/// @param gradient As many numbers as there are parameters, to which the gradient is added; null where no gradient is wanted.
/// @return As `acerust_evaluate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_training_evaluate(
    training: *const acerust_training,
    input: *const acerust_input,
    conditions: *const acerust_conditions,
    outputs: *const acerust_outputs,
    cotangent: *const acerust_cotangent,
    gradient: *mut f64,
    n_gradient: usize,
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
        let cotangent =
            if cotangent.is_null() { None } else { Some(sized::<acerust_cotangent>("cotangent", cotangent)?) };
        input.sites(|sites| {
            let (n, mut taken) = (sites.n_atoms(), Taken::default());
            input.note(&mut taken);
            cotangent.iter().for_each(|c| c.note(n, &mut taken));
            let out = outputs.map_or(Ok(Buffers::default()), |outputs| outputs.buffers(&mut taken))?;
            let gradient = taken.take("gradient", gradient, n_gradient)?;
            let loss = cotangent.map(|c| c.read(n)).transpose()?;
            // Locked by the thread that calls: one of the pool may be given another call while it waits for this one.
            training
                .read(|t| training.threads.run(|| with!(t, t => evaluate(t, sites, &conditions, out, loss, gradient))))
        })
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

fn evaluate<S: Storage>(
    training: &Training<S>,
    sites: &Sites,
    conditions: &Conditions,
    out: Buffers,
    cotangent: Option<Cotangent>,
    gradient: Option<&mut [f64]>,
) -> Result {
    const KNOWN: [&str; 4] = ["energy", "site_energies", "forces", "virial"];
    if let Some(name) = out.wanted().into_iter().find(|name| !KNOWN.contains(name)) {
        return Err(Failure::argument(format!("{name}: not of a training")));
    }
    if cotangent.is_some() != gradient.is_some() {
        return Err(Failure::argument("cotangent, gradient: one of both alone"));
    }
    let run = match sites {
        Sites::Structure(structure) => training.evaluate(structure, conditions),
        Sites::Graph(graph, numbers) => training.evaluate_graph(Graph::clone(graph), numbers, conditions),
    }?;
    let Buffers { energy, site_energies, forces, virial, .. } = out;
    energy.into_iter().for_each(|e| *e = run.energy);
    let write = |name: &str, to: Option<&mut [f64]>, from: &[f64]| match to {
        Some(to) if to.len() != from.len() => {
            let (expected, found) = (from.len(), to.len());
            Err(Failure::argument(format!("{name}: expected a length of {expected}, got {found}")))
        }
        Some(to) => {
            to.copy_from_slice(from);
            Ok(())
        }
        None => Ok(()),
    };
    write("site_energies", site_energies, &run.site_energies)?;
    write("forces", forces, run.forces.as_flattened())?;
    write("virial", virial, run.virial.as_flattened())?;
    match (cotangent, gradient) {
        (Some(cotangent), Some(gradient)) => Ok(training.gradient(&run, &cotangent, gradient)?),
        _ => Ok(()),
    }
}
