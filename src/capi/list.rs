//! Neighbour lists on the device of a plan: for simulations, and the only way to arrays in the memory of a CUDA device.

use super::buffer;
use super::handle::Table;
use super::plan::{PLANS, acerust_plan};
use super::status::guard;
use crate::shared::SharedList;

/// A neighbour list on the device of the plan that made it, reused from call to call. One thread works with it at a time.
#[allow(non_camel_case_types)]
pub struct acerust_list(());

pub(super) static LISTS: Table<SharedList> = Table::new("list");

/// An empty neighbour list on the device of a plan. Calls build it, and keep it while no atom has moved by more than half the skin and
/// atoms, cell and periodicity are the same.
///
/// @param plan The plan that will be evaluated; another one of the same model, device and cutoff is as good.
/// @param skin Å; 0 for structures that have nothing in common.
/// @param out The list; to be freed with `acerust_list_free`. It does not need the plan any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_new(plan: *const acerust_plan, skin: f64, out: *mut *mut acerust_list) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        LISTS.insert(SharedList::new(&*PLANS.get(plan)?, skin)?, out);
        Ok(())
    })
}

/// Frees a list, as soon as no other thread works with it. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_list_free(list: *mut acerust_list) -> i32 {
    guard(|| LISTS.remove(list))
}

/// How often the list was built rather than reused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_list_builds(list: *const acerust_list, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = LISTS.get(list)?.builds();
        Ok(())
    })
}
