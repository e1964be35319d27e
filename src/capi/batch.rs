//! Many structures in one call.

use super::buffer::{input, sized};
use super::evaluate::{acerust_input, acerust_outputs};
use super::plan::{PLANS, acerust_conditions, acerust_plan};
use super::status::{Failure, Result, guard};
use crate::plan::Conditions;
use crate::shared::Taken;
use crate::structure::Structure;

/// Where struct `k` of an array is, whose structs are as large as the first one says.
///
/// # Safety
/// The pointer is null, or to an array of such structs, `k` and one more of them.
unsafe fn nth<T>(name: &str, first: *const T, k: usize) -> Result<*const T> {
    // SAFETY: the first struct begins with its size.
    let stride = unsafe { input(name, first.cast::<usize>(), 1) }?[0];
    let at = first.wrapping_byte_add(k.wrapping_mul(stride));
    // SAFETY: struct `k` is in the array, by the caller's word.
    match unsafe { input(name, at.cast::<usize>(), 1) }?[0] == stride {
        true => Ok(at),
        false => Err(Failure::argument(format!("{name}: its size is not that of the first one, {stride}"))),
    }
}

/// Evaluates many structures, each for its own outputs: on processors threads take structures, with the results of `acerust_evaluate` to
/// the last bit; a CUDA device has many of them in one sequence of launches.
///
/// @param plan The plan to evaluate.
/// @param n How many structures; 0 is fine.
/// @param inputs `n` structs of one size: structures, neither graphs nor lists, on the host.
/// @param conditions Null, or `n` structs of one size: head, charge and spin of each; nothing said: those of the plan.
/// @param outputs `n` structs of one size. No result may overlap another, or what is read, of any structure.
/// @return As `acerust_evaluate`; the message begins with the number of the structure, `structure 3: …`, counted from 0. Results of other
/// structures may have been written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_evaluate_batch(
    plan: *const acerust_plan,
    n: usize,
    inputs: *const acerust_input,
    conditions: *const acerust_conditions,
    outputs: *const acerust_outputs,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let plan = PLANS.get(plan)?;
        let named = |k: usize| move |failure: Failure| failure.of(format_args!("structure {k}"));
        let mut taken = Taken::default();
        let mut read = |k: usize| -> Result<(Structure, Conditions)> {
            let input = sized("input", nth("input", inputs, k)?)?;
            let structure = input.structure("batches")?;
            input.note(&mut taken);
            let conditions = match conditions.is_null() {
                true => Conditions::new(),
                false => acerust_conditions::read(nth("conditions", conditions, k)?)?,
            };
            Ok((structure, conditions))
        };
        let read: Vec<_> = (0..n).map(|k| read(k).map_err(named(k))).collect::<Result<_>>()?;
        let mut buffers = |k: usize| sized("outputs", nth("outputs", outputs, k)?)?.buffers(&mut taken);
        let results: Vec<_> = (0..n).map(|k| buffers(k).map_err(named(k))).collect::<Result<_>>()?;
        let each = read.iter().zip(results).map(|((structure, conditions), out)| (structure, conditions.clone(), out));
        Ok(plan.evaluate_batch(each.collect())?)
    })
}
