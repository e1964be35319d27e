# Builds libacerust from the Rust sources next to this package, and the binding by jlrs where Julia's headers are there;
# `Pkg.build("ACERust")` runs it. Only for developers: where the package came with a library for this machine, that serves, unless
# ACERUST_BUILD=1 in the environment asks for one of the sources.
using Artifacts, Libdl

const SOURCES = normpath(@__DIR__, "..", "..")
const JULIA = dirname(Sys.BINDIR)
const SHIPPED = joinpath(@__DIR__, "..", "Artifacts.toml")

file(name) = (Sys.iswindows() ? name : "lib" * name) * "." * Libdl.dlext

function build(cargo, target, names)
    packages = reduce(vcat, [["-p", replace(name, '_' => '-')] for name in names])
    # Without the command line, and without symbols: a few megabytes.
    features = ["--no-default-features", "--features", "cuda,mace,ops"]
    command = Cmd(`$cargo build --release --locked --lib $features $packages --target-dir $target`; dir = SOURCES)
    run(addenv(command, "JLRS_JULIA_DIR" => JULIA, "CARGO_PROFILE_RELEASE_STRIP" => "symbols"))
    foreach(name -> cp(joinpath(target, "release", file(name)), joinpath(@__DIR__, file(name)); force = true), names)
    return nothing
end

if get(ENV, "ACERUST_LIBRARY", "") != ""
    @info "ACERUST_LIBRARY is set: nothing to build."
elseif get(ENV, "ACERUST_BUILD", "") != "1" && isfile(SHIPPED) && artifact_hash("acerust", SHIPPED) !== nothing
    @info "The package came with a library for this machine: nothing to build."
elseif !isfile(joinpath(SOURCES, "Cargo.toml"))
    @warn "The Rust sources are not next to this package. Build libacerust elsewhere and set the preference library_path or the \
           environment variable ACERUST_LIBRARY."
else
    cargo = something(Sys.which("cargo"), "")
    isempty(cargo) && error("building libacerust needs cargo on the PATH: see https://rustup.rs")
    mktempdir() do target
        try
            isfile(joinpath(JULIA, "include", "julia", "julia_version.h")) || error("no headers of Julia in $JULIA")
            build(cargo, target, ["acerust", "acerust_jl"])
        catch error
            @info "The binding by jlrs was not built; the C interface serves." error
            rm(joinpath(@__DIR__, file("acerust_jl")); force = true)
            build(cargo, target, ["acerust"])
        end
    end
end
