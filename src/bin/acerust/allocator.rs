//! What this program asks of glibc's allocator; others keep their ways.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: i32, value: i32) {
    // SAFETY: a setting, which takes effect from the next allocation on; no memory is touched.
    unsafe { libc::mallopt(parameter, value) };
}

/// One arena for all threads. Each of its own takes 64 to 128 MiB of address space; where that is limited, what is left may not do for
/// a name, and the program ends without a word.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(libc::M_ARENA_MAX, 1);
}

/// Large arrays go back to the system when they are freed. Where triangles and blocks of rows come and go, glibc learns to keep their
/// memory instead, in pieces that fit no more: a quarter less at 2 000 parameters.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(libc::M_MMAP_THRESHOLD, 1 << 20);
}
