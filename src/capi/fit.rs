//! Fits: from a recipe and data to a model, a report and factors, as `acerust fit` does.

use super::buffer::{self, input, result, return_text, sized, utf8};
use super::evaluate::acerust_input;
use super::handle::Table;
use super::model::{MODELS, acerust_model};
use super::plan::device_of;
use super::status::{Failure, Result, guard};
use crate::Error;
use crate::extxyz::{Frame, Value};
use crate::fit::{self, Assembler, Checks, Factors, Report, Selection, Settings, Share};
use crate::shared::Threads;
use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::{Mutex, TryLockError};

/// A fit under way: the model of a recipe, and the factors of the data that were given. One call at a time works with it; others are errors.
#[allow(non_camel_case_types)]
pub struct acerust_fit(());

pub(super) struct Fit {
    work: Mutex<Work>,
    threads: Threads,
}

pub(super) struct Work {
    pub assembler: Assembler,
    solved: Option<Solved>,
    /// What was looked at for the active set.
    selection: Option<Selection>,
    /// What went wrong when some of the data had been taken.
    broken: Option<String>,
}

struct Solved {
    report: Report,
    committee: Vec<Vec<f64>>,
}

pub(super) static FITS: Table<Fit> = Table::new("fit");

impl Fit {
    fn new(n_threads: usize, assembler: impl FnOnce() -> Result<Assembler> + Send) -> Result<Fit> {
        let threads = Threads::new(n_threads)?;
        let work = Work { assembler: threads.run(assembler)?, solved: None, selection: None, broken: None };
        Ok(Fit { work: Mutex::new(work), threads })
    }

    /// Does work on the threads of the fit. What fails after it took data leaves a fit that nobody can trust.
    pub fn with<T: Send>(&self, f: impl FnOnce(&mut Work) -> Result<T> + Send) -> Result<T> {
        // Locked by the thread that calls: one of the pool may be given another call while it waits for this one.
        let mut work = match self.work.try_lock() {
            Ok(work) => work,
            // To wait for ever, where a callback calls.
            Err(TryLockError::WouldBlock) => return Err(Failure::argument("the fit is at work in another call")),
            Err(TryLockError::Poisoned(_)) => {
                return Err(Failure::argument("the fit met a defect of the library before"));
            }
        };
        let work = &mut *work;
        if let Some(message) = &work.broken {
            return Err(Failure::argument(format!(
                "the fit took a part of some data alone, when it failed: {message}"
            )));
        }
        let before = work.assembler.frames();
        let done = self.threads.run(|| f(&mut *work));
        if let Err(failure) = &done
            && !matches!(failure, Failure::Library(Error::Cancelled(_)))
            && work.assembler.frames() != before
        {
            work.broken = Some(failure.message());
        }
        done
    }
}

/// Called with the number of frames that were read so far in this call. What is not 0 ends it with `ACERUST_ERROR_CANCELLED`; what was taken
/// until then stays. It must not throw, and calls with the same fit are errors meanwhile; with several
/// threads it may be called from one that is not the caller's.
#[allow(non_camel_case_types)]
pub type acerust_progress = Option<unsafe extern "C" fn(context: *mut c_void, n_frames: u64) -> i32>;

/// A callback and a count.
struct Progress {
    call: acerust_progress,
    context: *mut c_void,
    frames: u64,
}

// SAFETY: the caller lets the function be called with the context from another thread, one call at a time, by the promise of
// `acerust_progress`.
unsafe impl Send for Progress {}

impl Progress {
    fn frame(&mut self) -> crate::Result<()> {
        self.frames += 1;
        // SAFETY: a function of this type, by the caller's word.
        match self.call.map_or(0, |call| unsafe { call(self.context, self.frames) }) {
            0 => Ok(()),
            _ => Err(Error::Cancelled(format!("after {} frames", self.frames))),
        }
    }
}

/// How files are read. Set `size` to `sizeof(acerust_share)` and the rest to 0 to read all of them; later versions of the library may add
/// fields at the end, whose 0 will mean what this version does.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct acerust_share {
    /// `sizeof(acerust_share)`.
    pub size: usize,
    /// Every `of`-th frame alone, from the `number`-th on, which counts from 1; both 0: all frames.
    pub number: u64,
    pub of: u64,
    /// A file in which factors are kept after each `every` frames, and from which a call goes on where the file is there; null for none.
    /// It is of the frames of this call alone.
    pub checkpoint: *const c_char,
    pub every: u64,
    /// Told of every frame; null: nobody.
    pub progress: acerust_progress,
    /// What it is called with.
    pub context: *mut c_void,
}

/// Data of a structure; null: there is none of it. Set `size` to `sizeof(acerust_observation)`; later versions of the library may add fields
/// at the end, whose 0 will mean what this version does.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct acerust_observation {
    /// `sizeof(acerust_observation)`.
    pub size: usize,
    /// eV.
    pub energy: *const f64,
    /// (n_atoms, 3), eV/Å.
    pub forces: *const f64,
    /// (3, 3), eV.
    pub virial: *const f64,
    /// A name, ending in NUL; null: `default`.
    pub group: *const c_char,
    /// A factor on all weights; null: 1.
    pub weight: *const f64,
}

/// How a fit is solved and looked at. Set `size` to `sizeof(acerust_solve)` and the rest to 0 for the settings of the recipe and a report of
/// the rows; later versions of the library may add fields at the end, whose 0 will mean what this version does.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct acerust_solve {
    /// `sizeof(acerust_solve)`.
    pub size: usize,
    /// Settings in place of those of the recipe: the text of a section `fit` in TOML or JSON, ending in NUL; null for the recipe's.
    pub settings: *const c_char,
    /// Not 0: the report has the errors of each group under a fit to all others.
    pub leave_one_out: i32,
    /// (n_training), (n_test) files whose frames the model is evaluated on for the report.
    pub training: *const *const c_char,
    pub n_training: usize,
    pub test: *const *const c_char,
    pub n_test: usize,
    /// Told of every frame that is evaluated; null: nobody.
    pub progress: acerust_progress,
    /// What it is called with.
    pub context: *mut c_void,
}

/// Begins a fit without data.
///
/// @param recipe Text of a recipe (`docs/fit.md`), TOML or JSON, or of a model file; `length` bytes, which need not end in NUL.
/// @param device `ACERUST_CPU` or `ACERUST_CUDA`, where design rows are computed and factorised.
/// @param index Of the CUDA device; 0 for the processor.
/// @param n_threads As in `acerust_options`.
/// @param out The fit; to be freed with `acerust_fit_free`.
/// @return `ACERUST_ERROR_ARGUMENT` for a recipe that is none, or a model without linear parameters; `ACERUST_ERROR_DEVICE` for a device, or
/// a library of it, that is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_new(
    recipe: *const c_char,
    length: usize,
    device: i32,
    index: i32,
    n_threads: usize,
    out: *mut *mut acerust_fit,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let text = utf8("recipe", input("recipe", recipe.cast(), length)?)?;
        let device = device_of(device, index)?;
        let assembler = || {
            let (settings, model) = Settings::with_model(text)?;
            Ok(Assembler::on(device, Factors::new(&model), &settings)?)
        };
        FITS.insert(Fit::new(n_threads, assembler)?, out);
        Ok(())
    })
}

/// Begins a fit with factors that were written before, and the usual settings; no recipe is needed to solve it again.
///
/// @param path Name of the file, ending in NUL.
/// @param n_threads As in `acerust_options`.
/// @param out The fit; to be freed with `acerust_fit_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_load(path: *const c_char, n_threads: usize, out: *mut *mut acerust_fit) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let path = buffer::path(path)?;
        let assembler = || Ok(Assembler::resume(Factors::load(path)?, &Settings::default())?);
        FITS.insert(Fit::new(n_threads, assembler)?, out);
        Ok(())
    })
}

/// Frees a fit. Null is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_fit_free(fit: *mut acerust_fit) -> i32 {
    guard(|| FITS.remove(fit))
}

/// Takes the frames of files in extended XYZ, compressed by gzip or not; energies, forces and virials are found under the names of the recipe.
/// Frames that cannot be used are in the report.
///
/// @param paths (n_paths) names of files, each ending in NUL.
/// @param share Which of their frames; null for all.
/// @return `ACERUST_ERROR_IO`, `ACERUST_ERROR_STRUCTURE` for files that cannot be read; where a part of them had been taken, the fit is of no more use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_read(
    fit: *mut acerust_fit,
    paths: *const *const c_char,
    n_paths: usize,
    share: *const acerust_share,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let fit = FITS.get(fit)?;
        let paths = files("paths", paths, n_paths)?;
        let (mut share_, mut progress) =
            (Share::default(), Progress { call: None, context: std::ptr::null_mut(), frames: 0 });
        if !share.is_null() {
            let share = sized::<acerust_share>("share", share)?;
            (progress.call, progress.context) = (share.progress, share.context);
            if (share.number, share.of) != (0, 0) {
                (share_.number, share_.of) = (share.number, share.of);
            }
            if !share.checkpoint.is_null() {
                share_.checkpoint = Some((buffer::path(share.checkpoint)?.to_owned(), share.every));
            }
        }
        fit.with(|work| {
            let mut progress = progress;
            Ok(work.assembler.read(&paths, &share_, |_| progress.frame())?)
        })
    })
}

/// Takes one structure with its data. What cannot be used (no data, an unknown element …) is in the report, as it is of files.
///
/// @param input A structure on the host, without graph and list.
/// @return `ACERUST_ERROR_STRUCTURE` for a malformed structure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_push(
    fit: *mut acerust_fit,
    input: *const acerust_input,
    observation: *const acerust_observation,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let fit = FITS.get(fit)?;
        let structure = sized::<acerust_input>("input", input)?.structure("fits")?;
        structure.validate()?;
        let data = sized::<acerust_observation>("observation", observation)?;
        let one = |name: &str, x: *const f64| match x.is_null() {
            true => Ok(None),
            false => Ok::<_, Failure>(Some(buffer::input(name, x, 1)?[0])),
        };
        let vectors = |name: &str, x: *const f64, n: usize| match x.is_null() {
            true => Ok(None),
            false => buffer::vectors(name, x, n).map(|v| Some(v.to_vec())),
        };
        let forces = vectors("forces", data.forces, structure.n_atoms())?;
        let virial = vectors("virial", data.virial, 3)?.map(|v| [v[0], v[1], v[2]]);
        let weight = one("weight", data.weight)?;
        let group = match data.group.is_null() {
            true => "default",
            false => utf8("group", buffer::text("group", data.group)?.to_bytes())?,
        };
        let energy = one("energy", data.energy)?;
        fit.with(|work| {
            let settings = work.assembler.settings();
            let mut frame = Frame { energy, forces, virial, ..Frame::from(structure) };
            frame.info.insert(settings.group_key.clone(), Value::Text(group.into()));
            frame.info.extend(weight.map(|w| (settings.weight_key.clone(), Value::Real(w))));
            Ok(work.assembler.push(frame)?)
        })
    })
}

/// Adds the factors of other frames, from a file that `acerust_fit_save` or `acerust fit --factors` wrote. Any order gives the same fit, to
/// rounding.
///
/// @return `ACERUST_ERROR_ARGUMENT` for factors of another basis, or a damaged file; the fit is as it was then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_merge(fit: *mut acerust_fit, path: *const c_char) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let path = buffer::path(path)?;
        FITS.get(fit)?.with(|work| Ok(work.assembler.merge(&Factors::load(path)?)?))
    })
}

/// The same of factors in memory.
///
/// @param bytes (length) bytes of `acerust_fit_factors`, or of a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_merge_bytes(fit: *mut acerust_fit, bytes: *const u8, length: usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let bytes = input("bytes", bytes, length)?;
        FITS.get(fit)?.with(|work| Ok(work.assembler.merge(&Factors::from_bytes(bytes, "bytes")?)?))
    })
}

/// Writes the factors. A file of that name is replaced as a whole or not at all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_save(fit: *mut acerust_fit, path: *const c_char) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let path = buffer::path(path)?;
        FITS.get(fit)?.with(|work| Ok(work.assembler.factors()?.save(path)?))
    })
}

/// The factors as bytes, those of the file. Both calls, for the size and for the bytes, write them out.
///
/// @param buffer `length` bytes, or null.
/// @param needed How many bytes there are, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_factors(
    fit: *mut acerust_fit,
    buffer: *mut u8,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let bytes = FITS.get(fit)?.with(|work| Ok(work.assembler.factors()?.to_bytes()))?;
        buffer::return_bytes(&bytes, buffer, length, needed)
    })
}

/// Solves for the linear parameters; more data may follow, and other settings.
///
/// @param options Null for the settings of the recipe.
/// @param out The model, which says what it was fitted to; to be freed with `acerust_model_free`.
/// @return `ACERUST_ERROR_ARGUMENT` without data, and for settings that have no solution.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_solve(
    fit: *mut acerust_fit,
    options: *const acerust_solve,
    out: *mut *mut acerust_model,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let out = result("out", out)?;
        let fit = FITS.get(fit)?;
        let (mut settings, mut checks) = (None, Checks::default());
        let mut progress = Progress { call: None, context: std::ptr::null_mut(), frames: 0 };
        if !options.is_null() {
            let options = sized::<acerust_solve>("options", options)?;
            if !options.settings.is_null() {
                let text = buffer::text("settings", options.settings)?.to_bytes();
                settings = Some(Settings::section(utf8("settings", text)?)?);
            }
            checks.leave_one_out = options.leave_one_out != 0;
            checks.training = files("training", options.training, options.n_training)?;
            checks.test = files("test", options.test, options.n_test)?;
            (progress.call, progress.context) = (options.progress, options.context);
        }
        let model = fit.with(|work| {
            let mut progress = progress;
            let settings = settings.unwrap_or_else(|| work.assembler.settings().clone());
            let factors = work.assembler.factors()?;
            let fitted = fit::solve(factors, &settings)?;
            let mut report = Report::new(factors, &settings, &fitted);
            report.check(factors, &settings, &fitted, &checks, || progress.frame())?;
            work.solved = Some(Solved { report, committee: fitted.committee });
            Ok(fitted.model)
        })?;
        MODELS.insert(model, out);
        Ok(())
    })
}

/// What the last `acerust_fit_solve` has to say, as JSON: numbers of frames, rows, parameters and members of the committee, frames that were
/// left out by reason, errors of the rows by group (`errors`: energy in eV an atom, force in eV/Å, virial in eV by the root of the number of
/// atoms), of groups under fits to all others (`left_out`), of evaluated frames (`training`, `test`; `all` are those of all groups), closest
/// neighbours, and all of it in words (`text`). Buffer and errors as for `acerust_model_to_json`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_report(
    fit: *mut acerust_fit,
    buffer: *mut c_char,
    length: usize,
    needed: *mut usize,
) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let text = FITS.get(fit)?.with(|work| Ok(work.solved()?.report.to_json()))?;
        return_text(&text, buffer, length, needed)
    })
}

/// Parameters drawn from the posterior of the last `acerust_fit_solve`, as many sets as the settings ask for.
///
/// @param members (n_members, n_params); `length` must be n_members · n_params.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn acerust_fit_committee(fit: *mut acerust_fit, members: *mut f64, length: usize) -> i32 {
    // SAFETY: the promise of the module.
    guard(|| unsafe {
        let committee = FITS.get(fit)?.with(|work| Ok(work.solved()?.committee.concat()))?;
        buffer::output("members", members, length, committee.len())?.copy_from_slice(&committee);
        Ok(())
    })
}

impl Work {
    pub fn selection(&mut self) -> Result<&mut Selection> {
        match &mut self.selection {
            Some(selection) => Ok(selection),
            none => Ok(none.insert(Selection::new(self.assembler.model())?)),
        }
    }

    fn solved(&self) -> Result<&Solved> {
        self.solved.as_ref().ok_or_else(|| Failure::argument("the fit was not solved yet"))
    }
}

/// # Safety
/// The pointer is null, where `n` is 0, or to as many strings that end in NUL.
pub(super) unsafe fn files(name: &str, paths: *const *const c_char, n: usize) -> Result<Vec<PathBuf>> {
    // SAFETY: passed on.
    unsafe { input(name, paths, n)?.iter().map(|&path| buffer::path(path).map(PathBuf::from)).collect() }
}
