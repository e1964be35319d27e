# Recipe of BinaryBuilder for both libraries, that of the C interface and the binding by jlrs: julia build_tarballs.jl --verbose
# `build.jl` builds them with cargo; with the JLL of this recipe nobody needs a Rust toolchain:
# `ACERust.set_library_path!(ACERust_jll.libacerust_path)`.
using BinaryBuilder, Pkg

const ROOT = joinpath(@__DIR__, "..", "..")
const PACKAGE = Pkg.TOML.parsefile(joinpath(ROOT, "Cargo.toml"))["workspace"]["package"]

# The sources are the present commit, from where the repository is public: `repository` in Cargo.toml, or this variable of the environment.
const ADDRESS = "ACERUST_REPOSITORY"
repository = get(() -> get(PACKAGE, "repository", ""), ENV, ADDRESS)
isempty(repository) && error("the public address of this repository is not known: set `repository` in Cargo.toml, or $ADDRESS")
commit = String(readchomp(`git -C $ROOT rev-parse HEAD`))

name = "ACERust"
version = VersionNumber(PACKAGE["version"])
sources = [GitSource(repository, commit; unpack_target = "sources")]

# Without the default features there is no command line, with none of its dependencies. Kernels for a GPU are compiled at run time, by a
# CUDA that is looked for then, so that one library serves machines with and without. The binding finds the headers of Julia by itself; what
# it calls of Julia is there when Julia loads it, which linkers for macOS have to be told.
script = raw"""
cd ${WORKSPACE}/srcdir/sources/*/
if [[ "${target}" == *-apple-* ]]; then
    export RUSTFLAGS="-C link-arg=-undefined -C link-arg=dynamic_lookup"
fi
cargo build --release --lib --locked --no-default-features --features cuda,mace,ops -p acerust -p acerust-jl
for library in acerust acerust_jl; do
    install -Dvm 0755 "target/${rust_target}/release/lib${library}.${dlext}" "${libdir}/lib${library}.${dlext}"
done
install -Dvm 0644 include/acerust.h "${includedir}/acerust.h"
install_license LICENSE
"""

# The binding belongs to one Julia 1.x: one build for each that the package and jlrs support.
julia_versions = [v"1.10.0", v"1.11.0", v"1.12.0"]
platforms = [
    Platform(arch, os; julia_version = string(julia), (os == "linux" ? (; libc = "glibc") : (;))...) for julia in julia_versions for
    (arch, os) in (("x86_64", "linux"), ("aarch64", "linux"), ("x86_64", "macos"), ("aarch64", "macos"))
]

# The package loads the binding itself, where it is the one to use.
products = [LibraryProduct("libacerust", :libacerust), LibraryProduct("libacerust_jl", :libacerust_jl; dont_dlopen = true)]
dependencies = [BuildDependency("libjulia_jll")]   # headers

# Rust is the newest of BinaryBuilder, which must not be older than `rust-version` in Cargo.toml; GCC links, and compiles the C of jlrs.
build_tarballs(
    ARGS, name, version, sources, script, platforms, products, dependencies;
    compilers = [:c, :rust], julia_compat = "1.10", preferred_gcc_version = v"10",
)
