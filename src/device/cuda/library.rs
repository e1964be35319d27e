//! Libraries of CUDA, before the first call: cudarc panics where one lacks a function that it is asked for.

use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Functions of the driver, those that are newest last.
pub const DRIVER: (&str, &[&str]) = (
    "cuda",
    &[
        "cuInit",
        "cuDeviceGet",
        "cuDeviceGetCount",
        "cuDeviceGetAttribute",
        "cuDevicePrimaryCtxRetain",
        "cuCtxSetCurrent",
        "cuMemAlloc_v2",
        "cuMemcpyHtoDAsync_v2",
        "cuModuleLoadData",
        "cuLaunchKernel",
        "cuPointerGetAttribute",
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphLaunch",
        "cuGraphInstantiateWithFlags",
    ],
);

/// Functions of the compiler.
pub const COMPILER: (&str, &[&str]) = (
    "nvrtc",
    &[
        "nvrtcCreateProgram",
        "nvrtcCompileProgram",
        "nvrtcDestroyProgram",
        "nvrtcGetProgramLog",
        "nvrtcGetCUBINSize",
        "nvrtcGetCUBIN",
        "nvrtcGetNumSupportedArchs",
        "nvrtcGetSupportedArchs",
    ],
);

/// Functions that factorise.
pub const SOLVER: (&str, &[&str]) = (
    "cusolver",
    &[
        "cusolverDnCreate",
        "cusolverDnDestroy",
        "cusolverDnSetStream",
        "cusolverDnDgeqrf_bufferSize",
        "cusolverDnDgeqrf",
    ],
);

/// Where CUDA is installed, perhaps.
pub fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(std::env::var_os).map(PathBuf::from) {
        folders.extend([root.join("lib64"), root.join("lib"), root.join("bin")]);
    }
    folders.push("/usr/local/cuda/lib64".into());
    folders
}

/// Opens the libraries of a folder whose names begin so, for good: the loader then finds them by name.
pub fn open(folder: &Path, prefix: &str) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = false;
    for file in files.filter(|f| f.file_name().to_string_lossy().starts_with(prefix)) {
        // SAFETY: NVIDIA's libraries do nothing when they are opened.
        if let Ok(library) = unsafe { libloading::Library::new(file.path()) } {
            std::mem::forget(library);
            found = true;
        }
    }
    found
}

/// Has the library that cudarc opens (the first one of its names that can be opened) all functions?
///
/// # Errors
/// [`Error::Device`] which names the library and the first function that is missing.
pub fn check((name, functions): (&str, &[&str])) -> Result<()> {
    // SAFETY: NVIDIA's libraries do nothing when they are opened. They are open already.
    let open = |candidate| unsafe { libloading::Library::new(candidate) }.ok();
    let Some(library) = cudarc::get_lib_name_candidates(name).into_iter().find_map(open) else { return Ok(()) };
    // SAFETY: the address is looked at, not called.
    let there = |function: &&&str| unsafe { library.get::<*const ()>(function.as_bytes()) }.is_ok();
    match functions.iter().find(|f| !there(f)) {
        None => Ok(()),
        Some(missing) => {
            let what = format!("CUDA: lib{name}.so is damaged or too old: it has no function '{missing}'");
            Err(Error::Device(what))
        }
    }
}
