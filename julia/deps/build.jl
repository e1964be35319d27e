# Builds libacerust from the Rust sources next to this package; `Pkg.build("ACERust")` runs it.
using Libdl

const SOURCES = normpath(@__DIR__, "..", "..")
const FILE = (Sys.iswindows() ? "acerust." : "libacerust.") * Libdl.dlext

if get(ENV, "ACERUST_LIBRARY", "") != ""
    @info "ACERUST_LIBRARY is set: nothing to build."
elseif !isfile(joinpath(SOURCES, "Cargo.toml"))
    @warn "The Rust sources are not next to this package. Build libacerust elsewhere and set the preference library_path or the \
           environment variable ACERUST_LIBRARY."
else
    cargo = something(Sys.which("cargo"), "")
    isempty(cargo) && error("building libacerust needs cargo on the PATH: see https://rustup.rs")
    mktempdir() do target
        run(Cmd(`$cargo build --release --lib --target-dir $target`; dir = SOURCES))
        cp(joinpath(target, "release", FILE), joinpath(@__DIR__, FILE); force = true)
    end
end
