//! NVRTC: from CUDA C++ to machine code, kept on disk.

use super::cache::{Cache, fnv};
use super::library;
use crate::{Error, Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Compiles `source` for `sm_<architecture>`; the cache is asked first.
pub fn cubin(name: &str, source: &str, architecture: u32) -> Result<Vec<u8>> {
    let version = NVRTC_OPTIONS_VERSION.to_le_bytes();
    let key = fnv(source.bytes().chain(architecture.to_le_bytes()).chain(version));
    let (cache, name_on_disk) = (Cache::of_user(), format!("{name}-sm{architecture}"));
    if let Some(program) = cache.as_ref().and_then(|cache| cache.get(&name_on_disk, key)) {
        return Ok(program);
    }
    let (program, _) = compile(name, source, architecture, &[])?;
    if let Some(cache) = cache {
        cache.put(&name_on_disk, key, &program);
    }
    Ok(program)
}

/// Nested products take the compiler more stack than a caller's thread may have.
const STACK: usize = 64 << 20;

/// Compiles without a cache, with further options; returns machine code and the compiler's log.
pub fn compile(name: &str, source: &str, architecture: u32, more: &[&str]) -> Result<(Vec<u8>, String)> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("nvrtc".into()).stack_size(STACK);
        let compiled = thread.spawn_scoped(scope, || compile_here(name, source, architecture, more));
        let compiled = compiled.map_err(|e| Error::Device(format!("NVRTC: no thread to compile in: {e}")))?;
        compiled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn compile_here(name: &str, source: &str, architecture: u32, more: &[&str]) -> Result<(Vec<u8>, String)> {
    find_nvrtc()?;
    library::check(library::COMPILER)?;
    check_architecture(architecture)?;
    let fail = |what: &str, e: result::NvrtcError| Error::Device(format!("NVRTC: {what} {name}.cu: {e}"));
    let text = CString::new(source).map_err(|_| Error::Device("NVRTC: a zero byte in the source".into()))?;
    let title = CString::new(format!("{name}.cu")).expect("no zero byte");
    let program = result::create_program(&text, Some(&title)).map_err(|e| fail("reading", e))?;
    let mut options = vec![format!("--gpu-architecture=sm_{architecture}"), "-std=c++17".into()];
    options.extend(more.iter().map(|o| o.to_string()));
    // SAFETY: the program is alive until it is destroyed below.
    let compiled = unsafe { result::compile_program(program, &options) };
    let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
    let log: Vec<u8> = log.iter().map(|&c| c as u8).filter(|&c| c != 0).collect();
    let log = String::from_utf8_lossy(&log).into_owned();
    let compiled = compiled.map_err(|e| Error::Device(format!("NVRTC: {name}.cu for sm_{architecture}: {e}\n{log}")));
    let bytes = compiled.and_then(|()| unsafe {
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program, &mut size).result().map_err(|e| fail("measuring", e))?;
        let mut bytes = vec![0u8; size];
        sys::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast()).result().map_err(|e| fail("fetching", e))?;
        Ok((bytes, log))
    });
    // SAFETY: created above, used no more.
    let _ = unsafe { result::destroy_program(program) };
    bytes
}

/// Makes sure that NVRTC can be opened: from `$ACERUST_NVRTC` where that is set, else by the loader's own search or from
/// the places where CUDA is installed.
fn find_nvrtc() -> Result<()> {
    let missing = |place: String| {
        Error::Device(format!(
            "CUDA: NVRTC, which compiles the kernels, is not {place}: install the CUDA toolkit's package 'cuda-nvrtc' \
             (or `pip install nvidia-cuda-nvrtc`) and set LD_LIBRARY_PATH or ACERUST_NVRTC to the folder of libnvrtc.so"
        ))
    };
    // SAFETY: opening NVRTC has no side effects, here and below.
    let present = || unsafe { sys::is_culib_present() };
    if let Some(folder) = std::env::var_os("ACERUST_NVRTC").filter(|v| !v.is_empty()) {
        let folder = PathBuf::from(folder);
        return match open_nvrtc(&folder) && present() {
            true => Ok(()),
            false => Err(missing(format!("in ACERUST_NVRTC={}", folder.display()))),
        };
    }
    match present() || library::folders().iter().any(|folder| open_nvrtc(folder) && present()) {
        true => Ok(()),
        false => Err(missing("installed".into())),
    }
}

/// NVRTC opens its built-in headers by name as soon as it compiles.
fn open_nvrtc(folder: &Path) -> bool {
    let found = library::open(folder, "libnvrtc.so.");
    if found {
        library::open(folder, "libnvrtc-builtins.so.");
    }
    found
}

/// # Errors
/// An architecture that this NVRTC does not know.
fn check_architecture(architecture: u32) -> Result<()> {
    let mut known = Vec::new();
    let mut n = 0;
    // SAFETY: there is room for as many numbers as NVRTC says.
    let asked = unsafe {
        sys::nvrtcGetNumSupportedArchs(&mut n).result().and_then(|()| {
            known.resize(n as usize, 0);
            sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result()
        })
    };
    match asked.is_err() || known.contains(&(architecture as i32)) {
        true => Ok(()),
        false => {
            let known: Vec<_> = known.iter().map(|a| format!("sm_{a}")).collect();
            Err(Error::Device(format!(
                "CUDA: this NVRTC compiles for {}, not for sm_{architecture}: install another version of it",
                known.join(", ")
            )))
        }
    }
}

/// To be raised when the options of the compiler change.
const NVRTC_OPTIONS_VERSION: u32 = 1;
