//! Models: loading, saving, sizes, parts.

use super::buffer;
use super::handle::Table;
use super::status::{Result, guard};
use crate::build;
use crate::fit::Settings;
use crate::model::Model;
use std::ffi::c_char;

/// A validated model: species and a stack of parts. It never changes.
#[allow(non_camel_case_types)]
pub struct acerust_model(());

pub(super) static MODELS: Table<Model> = Table::new("model");

/// Reads a model file, or a potential of pacemaker (`.yace`, `.yaml`).
///
/// @param path Name of the file, ending in NUL.
/// @param out The model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_IO` for a file that cannot be read, `ACERUST_ERROR_MODEL` for one that is no valid model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_load(path: *const c_char, out: *mut *mut acerust_model) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        MODELS.insert(Model::load(buffer::path(path)?)?, out);
        Ok(())
    })
}

/// Reads what a model file holds, text or not, or a potential of pacemaker (`.yace`, `.yaml`), or a checkpoint of MACE; which of them, the
/// bytes say.
///
/// @param json `length` bytes, which need not end in NUL.
/// @param out The model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_MODEL` for a text that is no valid model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_from_json(
    json: *const c_char,
    length: usize,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        MODELS.insert(Model::from_bytes(buffer::input("json", json.cast(), length)?, "MACE")?, out);
        Ok(())
    })
}

/// Reads the model in the text of a reference file (format `acerust-reference/1`).
///
/// @param json `length` bytes, which need not end in NUL.
/// @param out The model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_MODEL` for a text that is no reference file, or whose model is not valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_from_reference_json(
    json: *const c_char,
    length: usize,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        MODELS.insert(Model::from_reference_json(buffer::input("json", json.cast(), length)?)?, out);
        Ok(())
    })
}

/// Builds the model of a recipe (`docs/fit.md`), TOML or JSON; its linear parameters are zero.
///
/// @param recipe `length` bytes, which need not end in NUL; a section `fit` is of no account.
/// @param out The model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_ARGUMENT` for a text that is no recipe, or a basis that cannot be built.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_build(
    recipe: *const c_char,
    length: usize,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let text = buffer::utf8("recipe", buffer::input("recipe", recipe.cast(), length)?)?;
        MODELS.insert(build::model(&Settings::split(text)?.1)?, out);
        Ok(())
    })
}

/// The model made of some parts of another.
///
/// @param parts (n_parts) indices below `acerust_model_n_parts`, each at most once.
/// @param out The new model; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_ARGUMENT` for an index out of range or repeated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_extract(
    model: *const acerust_model,
    parts: *const usize,
    n_parts: usize,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = buffer::result("out", out)?;
        let parts = buffer::input("parts", parts, n_parts)?;
        MODELS.insert(MODELS.get(model)?.extract(parts)?, out);
        Ok(())
    })
}

/// Frees a model. Plans made from it live on. Null is ignored.
///
/// @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_model_free(model: *mut acerust_model) -> i32 {
    guard(|| MODELS.remove(model))
}

/// The text of the model file. Call it with a null buffer first to learn its size.
///
/// @param buffer `length` bytes for the text and a NUL, or null.
/// @param needed Bytes that text and NUL need, or null.
/// @return `ACERUST_ERROR_ARGUMENT` for a buffer that is too short; it is left alone then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_to_json(
    model: *const acerust_model,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { buffer::return_text(&MODELS.get(model)?.to_json(), buffer, length, needed) })
}

/// Writes the model file. A file of that name is replaced as a whole or not at all.
///
/// @param path Name of the file, ending in NUL.
/// @return `ACERUST_ERROR_IO` where it cannot be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_save(model: *const acerust_model, path: *const c_char) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { Ok(MODELS.get(model)?.save(buffer::path(path)?)?) })
}

/// Species, cutoff, sizes of the parts and memory, in lines for people. Buffer and errors as for `acerust_model_to_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_summary(
    model: *const acerust_model,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { buffer::return_text(&MODELS.get(model)?.summary(), buffer, length, needed) })
}

/// The name in the model file. Buffer and errors as for `acerust_model_to_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_name(
    model: *const acerust_model,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { buffer::return_text(&MODELS.get(model)?.spec().name, buffer, length, needed) })
}

/// The number of species.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_n_species(model: *const acerust_model, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(model, out, |m| m.species().len()) }
}

/// Atomic numbers of the species, in the order of the blocks of linear parameters.
///
/// @param species (n_species); `length` must be n_species.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_species(model: *const acerust_model, species: *mut i32, length: usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let model = MODELS.get(model)?;
        let out = buffer::output("species", species, length, model.species().len())?;
        out.iter_mut().zip(model.species()).for_each(|(out, &z)| *out = z.into());
        Ok(())
    })
}

/// The largest cutoff of the parts, Å; 0 where no part has neighbours.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_rcut(model: *const acerust_model, out: *mut f64) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(model, out, Model::rcut) }
}

/// The number of linear parameters, n_params = n_species · n_basis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_length_basis(model: *const acerust_model, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(model, out, Model::length_basis) }
}

/// Basis functions of a site, all parts together: the columns of the site basis.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_n_basis(model: *const acerust_model, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(model, out, Model::n_basis) }
}

/// The number of parts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_n_parts(model: *const acerust_model, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    unsafe { scalar(model, out, |m| m.spec().parts.len()) }
}

/// The kind of a part: `onebody`, `pair` or `ace`. Buffer and errors as for `acerust_model_to_json`.
///
/// @param part Index of the part, below `acerust_model_n_parts`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_part_kind(
    model: *const acerust_model,
    part: usize,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { buffer::return_text(MODELS.get(model)?.part(part)?.kind(), buffer, length, needed) })
}

/// Basis functions of a site that belong to a part; the parts follow one another in the columns of the site basis.
///
/// @param part Index of the part, below `acerust_model_n_parts`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_part_n_basis(model: *const acerust_model, part: usize, out: *mut usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = MODELS.get(model)?.part(part)?.n_basis();
        Ok(())
    })
}

/// The readout weights, the model's linear parameters, eV: species-major within a part, the parts one after another.
///
/// @param parameters (n_params); `length` must be n_params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_model_linear_parameters(
    model: *const acerust_model,
    parameters: *mut f64,
    length: usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe { copy_linear_parameters(&*MODELS.get(model)?, parameters, length) })
}

/// # Safety
/// The promise of the module.
pub(super) unsafe fn copy_linear_parameters(model: &Model, parameters: *mut f64, length: usize) -> Result {
    // SAFETY: the array is of `length` numbers that nobody else uses during the call, by the promise of the module.
    let out = unsafe { buffer::output("parameters", parameters, length, model.length_basis()) }?;
    out.copy_from_slice(&model.linear_parameters());
    Ok(())
}

/// # Safety
/// The promise of the module.
unsafe fn scalar<T>(model: *const acerust_model, out: *mut T, value: impl FnOnce(&Model) -> T) -> i32 {
    // SAFETY: `out` is null, which is refused, or writable and nobody else's, by the promise of the module.
    guard(|| unsafe {
        *buffer::result("out", out)? = value(&*MODELS.get(model)?);
        Ok(())
    })
}
