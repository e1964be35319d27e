//! Plans: a model on a device in a precision.

use super::buffer;
use super::handle::Table;
use super::model::{MODELS, acerust_model, copy_linear_parameters};
use super::status::{Failure, Result, guard};
use crate::plan::{ActiveSet, Conditions, Device, Options, Plan, Precision, RadialMode};
use crate::shared::SharedPlan;
use crate::simd::Isa;
use std::ffi::c_char;

/// A model made ready for a device. Several threads may evaluate on one plan at once; what changes a plan waits for them.
#[allow(non_camel_case_types)]
pub struct acerust_plan(());

/// The processor.
pub const ACERUST_CPU: i32 = 0;
/// A CUDA device.
pub const ACERUST_CUDA: i32 = 1;

/// Double precision.
pub const ACERUST_F64: i32 = 0;
/// Single precision, but for the transform of distances; positions are subtracted, and atoms summed, in double precision all the same.
pub const ACERUST_F32: i32 = 1;
/// Single precision, the transform of distances included; on the processor the same as `ACERUST_F32`.
pub const ACERUST_F32_DISTANCES: i32 = 2;
/// As `ACERUST_F32`, with radial tables in numbers of 24 bits; for MACE models on CUDA devices.
pub const ACERUST_F24_RADIAL: i32 = 3;
/// The same with factors of linear maps in TF32; too inexact to be offered, which is an error that says so.
pub const ACERUST_TF32: i32 = 4;
/// The same with features and messages in f16; not offered either.
pub const ACERUST_F16_FEATURES: i32 = 5;
/// The same with features and messages in bf16; not offered either.
pub const ACERUST_BF16_FEATURES: i32 = 6;

/// Radial functions in the way that the library prefers, at present as the model file has them.
pub const ACERUST_RADIAL_DEFAULT: i32 = 0;
/// Radial functions as the model file has them.
pub const ACERUST_RADIAL_EXACT: i32 = 1;
/// Radial functions from tables of the given tolerance.
pub const ACERUST_RADIAL_TABLE: i32 = 2;
/// The tables that pacemaker and LAMMPS build of pacemaker's functions; other functions exactly.
pub const ACERUST_RADIAL_PACE_TABLE: i32 = 3;

/// The best instruction set of the processor.
pub const ACERUST_ISA_BEST: i32 = 0;
/// What every processor of this architecture has.
pub const ACERUST_ISA_PORTABLE: i32 = 1;
/// AVX2 and FMA.
pub const ACERUST_ISA_AVX2: i32 = 2;
/// AVX-512 (F, DQ, VL).
pub const ACERUST_ISA_AVX512: i32 = 3;
/// NEON, of 64-bit Arm.
pub const ACERUST_ISA_NEON: i32 = 4;

/// What a plan may be told beyond device and precision. Set `size` to `sizeof(acerust_options)` and the rest to 0 for the
/// defaults; later versions of the library may add fields at the end, whose 0 will mean what this version does.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct acerust_options {
    /// `sizeof(acerust_options)`.
    pub size: usize,
    /// 0: all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says.
    pub n_threads: usize,
    /// Of `ACERUST_RADIAL_TABLE`: the largest error of values and slopes, relative to the largest of the same function;
    /// above 1e-15 and below 1.
    pub tolerance: f64,
    /// `ACERUST_RADIAL_…`.
    pub radial: i32,
    /// `ACERUST_ISA_…`; for the processor.
    pub instruction_set: i32,
    /// How many CUDA devices, from the index of the plan on, share each structure: space is cut into slabs, for large systems and models
    /// of several layers. 0: one.
    pub n_devices: usize,
}

impl acerust_options {
    /// # Safety
    /// Null, or `size` readable bytes.
    unsafe fn read(pointer: *const acerust_options) -> Result<acerust_options> {
        match pointer.is_null() {
            true => Ok(acerust_options::default()),
            // SAFETY: options are numbers, and begin with their size.
            false => unsafe { buffer::sized("options", pointer) },
        }
    }

    /// The device of the plan, or several.
    fn devices(&self, first: Device) -> Result<Device> {
        match (first, self.n_devices) {
            (Device::Cpu, n @ 2..) => {
                Err(Failure::argument(format!("options: n_devices is {n}: the processor is one")))
            }
            (_, n) => Ok(first.and(n)),
        }
    }

    fn plan_options(&self) -> Result<Options> {
        let radial = match self.radial {
            ACERUST_RADIAL_DEFAULT => None,
            ACERUST_RADIAL_EXACT => Some(RadialMode::Exact),
            ACERUST_RADIAL_TABLE => Some(RadialMode::Table { tolerance: self.tolerance }),
            ACERUST_RADIAL_PACE_TABLE => Some(RadialMode::PaceTable),
            other => return Err(Failure::argument(format!("options: no radial mode {other}"))),
        };
        let isa = match self.instruction_set {
            ACERUST_ISA_BEST => None,
            ACERUST_ISA_PORTABLE => Some(Isa::Portable),
            ACERUST_ISA_AVX2 => Some(Isa::Avx2),
            ACERUST_ISA_AVX512 => Some(Isa::Avx512),
            ACERUST_ISA_NEON => Some(Isa::Neon),
            other => return Err(Failure::argument(format!("options: no instruction set {other}"))),
        };
        let mut options = Options::new();
        (options.radial, options.isa) = (radial, isa);
        Ok(options)
    }
}

pub(super) static PLANS: Table<SharedPlan> = Table::new("plan");

/// How many devices of a kind there are; of CUDA devices 0 without a driver that works.
///
/// @param device `ACERUST_CPU` or `ACERUST_CUDA`.
/// @return `ACERUST_ERROR_ARGUMENT` for another kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_n_devices(device: i32, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        *out = match device_of(device, 0)? {
            Device::Cuda(_) => Device::n_cuda(),
            _ => 1,
        };
        Ok(())
    })
}

/// Makes a model ready for a device: checks it once, builds tables and folded coefficients.
///
/// @param device `ACERUST_CPU` or `ACERUST_CUDA`.
/// @param index Of the CUDA device; 0 for the processor.
/// @param precision `ACERUST_F64`, `ACERUST_F32` or another of these.
/// @param options Null for the defaults.
/// @param out The plan; to be freed with `acerust_plan_free`. It does not need the model any more.
/// @return `ACERUST_ERROR_DEVICE` for a device or instruction set that is missing, `ACERUST_ERROR_ARGUMENT` for a value that is
/// none of the above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_new(
    model: *const acerust_model,
    device: i32,
    index: i32,
    precision: i32,
    options: *const acerust_options,
    out: *mut *mut acerust_plan,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let model = MODELS.get(model)?;
        let device = device_of(device, index)?;
        let precision = Precision::numbered(precision.into()).map_err(Failure::argument)?;
        let options = acerust_options::read(options)?;
        let device = options.devices(device)?;
        PLANS.insert(SharedPlan::new(&model, device, precision, options.plan_options()?, options.n_threads)?, out);
        Ok(())
    })
}

/// The device that `ACERUST_CPU` or `ACERUST_CUDA` and an index speak of.
pub(super) fn device_of(device: i32, index: i32) -> Result<Device> {
    match (device, usize::try_from(index)) {
        (ACERUST_CPU, Ok(0)) => Ok(Device::Cpu),
        (ACERUST_CUDA, Ok(index)) => Ok(Device::Cuda(index)),
        (ACERUST_CPU | ACERUST_CUDA, _) => Err(Failure::argument(format!("no device with the index {index}"))),
        (other, _) => Err(Failure::argument(format!("no device {other}"))),
    }
}

/// What is to be known of a structure beyond its atoms, for models that know such things. Set `size` to `sizeof(acerust_conditions)`
/// and the rest to null for the defaults; later versions of the library may add fields at the end.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct acerust_conditions {
    /// `sizeof(acerust_conditions)`.
    pub size: usize,
    /// The head of a model that has several, UTF-8; null: the first one.
    pub head: *const c_char,
    /// In elementary charges; null: 0.
    pub total_charge: *const i64,
    /// As the model counts it, usually the multiplicity; null: 1.
    pub total_spin: *const i64,
}

impl acerust_conditions {
    /// # Safety
    /// As [`buffer::sized`]; what the fields point to is readable.
    pub(super) unsafe fn read(pointer: *const acerust_conditions) -> Result<Conditions> {
        // SAFETY: sizes and pointers, which may be null.
        let given = unsafe { buffer::sized("conditions", pointer) }?;
        let number = |name: &str, pointer: *const i64| match pointer.is_null() {
            true => Ok(None),
            // SAFETY: the caller's word.
            false => unsafe { buffer::input(name, pointer, 1) }.map(|x| Some(x[0])),
        };
        let mut conditions = Conditions::new();
        if !given.head.is_null() {
            // SAFETY: the caller's word.
            let head = unsafe { buffer::text("head", given.head) }?;
            conditions = conditions.head(head.to_str().map_err(|_| Failure::argument("head is not UTF-8"))?);
        }
        conditions.total_charge = number("total_charge", given.total_charge)?;
        conditions.total_spin = number("total_spin", given.total_spin)?;
        Ok(conditions)
    }
}

/// A plan for the same model on the same device under other conditions. Weights, tables and threads are shared: cheap enough for each
/// call.
///
/// @param out The plan; to be freed with `acerust_plan_free`. It does not need the other one any more.
/// @return `ACERUST_ERROR_ARGUMENT` for a head that the model does not have, or a model that knows nothing of the kind. A charge or
/// spin beyond what the model knows is an error of the evaluation; one that a MACE model does not embed changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_at(
    plan: *const acerust_plan,
    conditions: *const acerust_conditions,
    out: *mut *mut acerust_plan,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let at = PLANS.get(plan)?.at(&acerust_conditions::read(conditions)?)?;
        PLANS.insert(at, out);
        Ok(())
    })
}

/// Frees a plan, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_plan_free(plan: *mut acerust_plan) -> i32 {
    guard(|| PLANS.remove(plan))
}

/// Sets the number of threads for the calls that follow. Results do not depend on it.
///
/// @param n_threads 0: all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says. Handles
/// of the same number share their threads. With 1 an evaluation runs on the thread that calls.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_plan_set_threads(plan: *mut acerust_plan, n_threads: usize) -> i32 {
    guard(|| Ok(PLANS.get(plan)?.set_threads(n_threads)?))
}

/// The model of a plan, with the plan's current linear parameters: to be saved, or read out.
///
/// @param out The model; to be freed with `acerust_model_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_model(plan: *const acerust_plan, out: *mut *mut acerust_model) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        MODELS.insert(PLANS.get(plan)?.with(|p| p.model().clone()), out);
        Ok(())
    })
}

/// The cutoff that graphs for this plan need, Å; 0 where no part has neighbours.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_rcut(plan: *const acerust_plan, out: *mut f64) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, Plan::rcut) }
}

/// How many edges away atoms are that an energy depends on: 1 for site models, one for each layer of messages. Graphs need the edges of
/// all atoms within that of an owned one, or an exchange.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_hops(plan: *const acerust_plan, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, |p| p.reach().hops) }
}

/// The largest `width` that functions of `acerust_exchange` are called with; 0 where there is nothing to exchange.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_n_exchanged(plan: *const acerust_plan, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, Plan::n_exchanged) }
}

/// The number of linear parameters, n_params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_length_basis(plan: *const acerust_plan, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, Plan::length_basis) }
}

/// Basis functions of a site, n_basis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_n_basis(plan: *const acerust_plan, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, Plan::n_basis) }
}

/// The number of committee members, n_members.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_n_members(plan: *const acerust_plan, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(plan, out, |p| p.committee().len()) }
}

/// The linear parameters, eV, in the order of `acerust_model_linear_parameters`.
///
/// @param parameters (n_params); `length` must be n_params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_linear_parameters(
    plan: *const acerust_plan,
    parameters: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { PLANS.get(plan)?.with(|p| copy_linear_parameters(p.model(), parameters, length)) })
}

/// Replaces the linear parameters. Waits until no thread evaluates with the old ones.
///
/// @param parameters (n_params), eV, finite; `length` must be n_params.
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length or a parameter that is not finite; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_set_linear_parameters(
    plan: *mut acerust_plan,
    parameters: *const f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let plan = PLANS.get(plan)?;
        let parameters = buffer::input("parameters", parameters, length)?;
        Ok(plan.set_linear_parameters(parameters)?)
    })
}

/// Sets the committee: further sets of linear parameters, evaluated together. Waits until no thread evaluates.
///
/// @param parameters (n_members, n_params), row-major, eV, finite; `length` must be n_members · n_params.
/// @param n_members 0 removes the committee.
/// @return `ACERUST_ERROR_ARGUMENT` for a wrong length or a parameter that is not finite; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_set_committee(
    plan: *mut acerust_plan,
    parameters: *const f64,
    length: usize,
    n_members: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let plan = PLANS.get(plan)?;
        let parameters = buffer::input("parameters", parameters, length)?;
        Ok(plan.set_committee(parameters, n_members)?)
    })
}

/// As `acerust_plan_set_committee` with the matrix in a file of `acerust fit --committee`.
///
/// @param file The bytes of the file, `length` of them.
/// @return `ACERUST_ERROR_ARGUMENT` for anything else; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_committee_from_file(
    plan: *mut acerust_plan,
    file: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { Ok(PLANS.get(plan)?.committee_from_bytes(buffer::input("file", file, length)?)?) })
}

/// Sets what the `grade` of `acerust_outputs` is relative to: an active set, as `acerust fit --active-set` writes it, or an `.asi` of
/// pacemaker. Waits until no thread evaluates.
///
/// @param file The bytes of the file, `length` of them; none remove the active set.
/// @return `ACERUST_ERROR_ARGUMENT` for anything else, or the active set of another model; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_plan_active_set_from_file(
    plan: *mut acerust_plan,
    file: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let (plan, file) = (PLANS.get(plan)?, buffer::input("file", file, length)?);
        let active = if file.is_empty() { None } else { Some(ActiveSet::from_bytes(file)?) };
        Ok(plan.set_active_set(active)?)
    })
}

/// # Safety
/// The promise of the module.
unsafe fn scalar<T>(plan: *const acerust_plan, out: *mut T, value: impl FnOnce(&Plan) -> T) -> i32 {
    // SAFETY: `out` is null, which is refused, or writable and nobody else's, by the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = PLANS.get(plan)?.with(value);
        Ok(())
    })
}
