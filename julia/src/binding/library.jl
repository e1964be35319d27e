# Where the shared library is, and that it is of the right version.

const ABI_VERSION = 2
const FILE = (Sys.iswindows() ? "acerust." : "libacerust.") * Libdl.dlext
const HANDLE = Ref{Ptr{Cvoid}}(C_NULL)
const OPENING = ReentrantLock()

"""
    library_path() -> String

The shared library that is or would be loaded: the preference `library_path`, else the environment variable `ACERUST_LIBRARY`, else
what `Pkg.build("ACERust")` made, else the artifact that came with the package, else `target/release` of the Rust sources that the package
lies in. Throws where there is none.
"""
function library_path()
    found = find_library()
    found === nothing && error(
        "ACERust: no $FILE found. Build it with Pkg.build(\"ACERust\") (this needs cargo), or say where it is with " *
        "ACERust.set_library_path!(path) or the environment variable ACERUST_LIBRARY. Looked for " * join(built_libraries(), ", "),
    )
    (source, path) = found
    isfile(path) || error("ACERust: $source says $(repr(path)), but there is no such file")
    return abspath(path)
end

"What says where the library is, and what it says; `nothing` where nothing does."
function find_library()
    for (source, path) in (
        "the preference library_path" => load_preference(@__MODULE__, "library_path"),
        "the environment variable ACERUST_LIBRARY" => get(ENV, "ACERUST_LIBRARY", nothing),
    )
        (path === nothing || isempty(path)) || return source => path
    end
    k = findfirst(isfile, built_libraries())
    return k === nothing ? nothing : "the package" => built_libraries()[k]
end

const PACKAGE = normpath(@__DIR__, "..", "..")

"""
    repository(parts…) -> String

A file or folder of ACERust's repository, where the models and data of examples and tests are: what the package lies in, or where the environment variable
`ACERUST_REPOSITORY` says. Throws where there is none: Pkg installs the package alone.
"""
function repository(parts::AbstractString...)
    root = get(ENV, "ACERUST_REPOSITORY", normpath(PACKAGE, ".."))
    isfile(joinpath(root, "include", "acerust.h")) ||
        error("ACERust: its repository is not in $(repr(root)): clone it, and say where it is in the environment variable ACERUST_REPOSITORY")
    return joinpath(root, parts...)
end

function built_libraries()
    shipped = artifact_library(joinpath(PACKAGE, "Artifacts.toml"))
    places = (joinpath(PACKAGE, "deps", FILE), shipped, normpath(PACKAGE, "..", "target", "release", FILE))
    return String[place for place in places if place !== nothing]
end

"The library of the artifact `acerust` for this machine, made by `deps/build_tarballs.jl`, which Pkg puts in place; `nothing` where there is none."
function artifact_library(toml)
    hash = isfile(toml) ? artifact_hash("acerust", toml) : nothing
    (hash === nothing || !artifact_exists(hash)) && return nothing
    return joinpath(artifact_path(hash), Sys.iswindows() ? "bin" : "lib", FILE)
end

"""
    set_library_path!(path)

Sets the preference `library_path`, for this and later sessions; `nothing` removes it. A library that is loaded stays.
"""
function set_library_path!(path::Union{Nothing,AbstractString})
    path === nothing || isfile(path) || throw(ArgumentError("there is no file $(repr(path))"))
    @set_preferences!("library_path" => (path === nothing ? nothing : abspath(path)))
    return path
end

"The loaded library; loads it at the first call, so that the package itself loads without."
function library()
    HANDLE[] == C_NULL || return HANDLE[]
    return @lock OPENING begin
        HANDLE[] == C_NULL && (HANDLE[] = open_library(library_path()))
        HANDLE[]
    end
end

function open_library(path)
    opened = Libdl.dlopen(path; throw_error = false)
    opened === nothing && error("ACERust: $path cannot be loaded as a shared library")
    version = Libdl.dlsym(opened, :acerust_abi_version; throw_error = false)
    version === nothing && error("ACERust: $path is not libacerust")
    found = @ccall $version()::UInt32
    found == ABI_VERSION || error("ACERust: $path has ABI version $found, this package needs $ABI_VERSION: build both from one source")
    return opened
end
