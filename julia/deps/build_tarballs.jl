# Recipe of BinaryBuilder for the library alone: julia build_tarballs.jl --verbose
# The package's own `deps/build.jl` builds it with cargo; with a JLL of this recipe nobody needs a Rust toolchain.
using BinaryBuilder

name = "ACERust"
version = v"0.1.0"
# Address and commit of the release.
sources = [GitSource("https://github.com/acerust/acerust.git", "0000000000000000000000000000000000000000")]

# Without the default features there is no command line, with none of its dependencies. Kernels for a GPU are compiled at run time, by a
# CUDA that is looked for then, so that one library serves machines with and without.
script = raw"""
cd ${WORKSPACE}/srcdir/acerust
cargo build --release --lib --locked --no-default-features --features cuda
install -Dvm 0755 "target/${rust_target}/release/libacerust.${dlext}" -t "${libdir}"
install -Dvm 0644 include/acerust.h -t "${includedir}"
install_license LICENSE
"""

platforms = [
    Platform("x86_64", "linux"; libc = "glibc"),
    Platform("aarch64", "linux"; libc = "glibc"),
    Platform("x86_64", "macos"),
    Platform("aarch64", "macos"),
]

products = [LibraryProduct("libacerust", :libacerust)]
dependencies = Dependency[]

build_tarballs(
    ARGS, name, version, sources, script, platforms, products, dependencies;
    compilers = [:c, :rust], julia_compat = "1.10", preferred_gcc_version = v"10", lock_microarchitecture = false,
)
