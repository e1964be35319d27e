# As a user installs the package: from a registry, by name, into a depot with nothing in it; then its tests, with golden data, and its documentation.
#
#   julia test/install.jl [add|test|docs …]
#
# A registry is made of this package, as it is committed, and of the source trees in the folders that ACERUST_JULIA_SOURCES names (as PATH does), so that
# nothing is downloaded; without them other packages come from the General registry. The library is that of ACERUST_LIBRARY. ACERUST_TESTS names
# the test files to run (parts of names), by default all. Packages are compiled as for use, for tests of bounds would have all of them compiled again.
using Pkg, TOML

const REPOSITORY = normpath(@__DIR__, "..", "..")
const SOURCES = split(get(ENV, "ACERUST_JULIA_SOURCES", ""), Sys.iswindows() ? ';' : ':'; keepempty = false)
const STEPS = isempty(ARGS) ? ["add", "test", "docs"] : ARGS
isfile(get(ENV, "ACERUST_LIBRARY", "")) || error("ACERUST_LIBRARY has to be the library to test with")

git(dir, arguments...) = readchomp(`git -C $dir $(collect(arguments))`)

"The project file of a source tree, with its name and folder; `nothing` where there is no package."
function package(dir)
    path = joinpath(dir, "Project.toml")
    project = isfile(path) ? TOML.parsefile(path) : Dict{String,Any}()
    return all(key -> haskey(project, key), ("name", "uuid", "version")) ? (; dir, project) : nothing
end

"All packages in folders, and in the folders of those, such as `lib`."
function packages()
    found = Dict{String,Any}()
    inside(dir) = filter(isdir, readdir(dir; join = true))
    for folder in SOURCES, dir in inside(folder), place in (dir, inside(dir)..., reduce(vcat, inside.(inside(dir)); init = String[])...)
        p = package(place)
        p === nothing || get!(found, p.project["name"], p)
    end
    for name in ("DelimitedFiles", "Statistics")   # come with Julia, and from registries
        p = package(joinpath(Sys.STDLIB, name))
        p === nothing || (found[name] = p)
    end
    return found
end

"A copy of a package as a repository of its own, with its tree's hash."
function committed(p, place)
    cp(p.dir, place)
    rm(joinpath(place, ".git"); force = true, recursive = true)
    git(place, "init", "--quiet")
    git(place, "add", "--all", "--force")
    git(place, "-c", "user.name=test", "-c", "user.email=test", "-c", "core.autocrlf=false", "commit", "--quiet", "--message", "source")
    return place, git(place, "rev-parse", "HEAD^{tree}")
end

"Adds a package to a registry; of its weak dependencies those that `known` says are there."
function register!(known, registry, project, repo, hash; subdir = nothing)
    dir = mkpath(joinpath(registry, project["name"]))
    file(name, content) = open(io -> TOML.print(io, content; sorted = true), joinpath(dir, name), "w")
    weak = get(project, "weakdeps", Dict())
    ranges(spec) = [string(r) for r in Pkg.Types.semver_spec(spec).ranges]
    compat = Dict(name => ranges(spec) for (name, spec) in get(project, "compat", Dict()))
    deps = filter(((name, _),) -> !haskey(weak, name), get(project, "deps", Dict()))
    there = filter(((name, _),) -> known(name), weak)
    every(dict) = isempty(dict) ? dict : Dict("0-999" => dict)
    file("Package.toml", merge(Dict("name" => project["name"], "uuid" => project["uuid"], "repo" => repo), subdir === nothing ? Dict() : Dict("subdir" => subdir)))
    file("Versions.toml", Dict(project["version"] => Dict("git-tree-sha1" => hash)))
    file("Deps.toml", every(deps))
    file("WeakDeps.toml", every(there))
    file("Compat.toml", every(filter(((name, _),) -> haskey(deps, name) || name == "julia", compat)))
    file("WeakCompat.toml", every(filter(((name, _),) -> haskey(there, name), compat)))
    return project["uuid"] => Dict("name" => project["name"], "path" => project["name"])
end

"A registry of this package's commit, and of what it and its tests and documentation need of the sources."
function registry(root)
    here = TOML.parsefile(joinpath(REPOSITORY, "julia", "Project.toml"))
    place, sources, needed = mkpath(joinpath(root, "registry")), packages(), Dict{String,Any}()
    projects = [here; [TOML.parsefile(joinpath(REPOSITORY, "julia", part, "Project.toml")) for part in ("test", "docs")]]
    names = reduce(vcat, [collect(keys(get(p, "deps", Dict()))) for p in projects])
    while !isempty(names)
        name = pop!(names)
        haskey(sources, name) && !haskey(needed, name) || continue
        needed[name] = sources[name]
        append!(names, keys(get(needed[name].project, "deps", Dict())))
    end
    standard = Set(info.name for info in values(Pkg.Types.stdlib_infos()))
    known(name) = isempty(SOURCES) || haskey(needed, name) || name in standard
    entries = Dict(
        register!(known, place, p.project, committed(p, joinpath(mkpath(joinpath(root, "sources")), name))...) for (name, p) in needed
    )
    push!(entries, register!(known, place, here, REPOSITORY, git(REPOSITORY, "rev-parse", "HEAD:julia"); subdir = "julia"))
    content = Dict("name" => "Tried", "uuid" => "5d2c1be2-55a1-4a8e-8f07-3a0f5f3c9f0e", "repo" => "", "packages" => entries)
    open(io -> TOML.print(io, content; sorted = true), joinpath(place, "Registry.toml"), "w")
    return place
end

"A Julia that knows of nothing but the depot."
function session(depot, code; environment = depot, variables...)
    own = Dict("JULIA_DEPOT_PATH" => depot * (Sys.iswindows() ? ";" : ":"), "JULIA_LOAD_PATH" => nothing, "JULIA_PROJECT" => nothing,
        "JULIA_PKG_USE_CLI_GIT" => "true", "JULIA_PKG_PRECOMPILE_AUTO" => "0", "ACERUST_REPOSITORY" => get(variables, :repository, nothing))
    isempty(SOURCES) || merge!(own, Dict("JULIA_PKG_SERVER" => "", "JULIA_PKG_OFFLINE" => "false"))
    run(addenv(`$(Base.julia_cmd()) --startup-file=no --project=$(mkpath(joinpath(environment, "tried"))) -e $code`, own))
end

root = mktempdir()
depot = mkpath(joinpath(root, "depot"))
cp(registry(root), joinpath(mkpath(joinpath(depot, "registries")), "Tried"))
isempty(SOURCES) && session(depot, "using Pkg; Pkg.Registry.add(\"General\")")

const FIRST_ENERGY = """
    using ACERust, AtomsBase, AtomsCalculators, Unitful
    startswith(pkgdir(ACERust), joinpath(DEPOT_PATH[1], "packages")) || error("the package is not the installed one")
    silicon = isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :Si => [2.2, 0.0, 0.0]u"Å"])
    calc = WrappedSiteCalculator(ACERust.smallest_model())
    println("first energy: ", AtomsCalculators.potential_energy(silicon, calc))
    """
session(depot, "using Pkg; Pkg.add([\"ACERust\", \"AtomsBase\", \"AtomsCalculators\", \"Unitful\"])")
session(depot, FIRST_ENERGY)
if "test" in STEPS
    chosen = String.(split(get(ENV, "ACERUST_TESTS", "")))
    test = "using Pkg; Pkg.test(\"ACERust\"; julia_args = `-O1 --check-bounds=auto`, test_args = $(repr(chosen)))"
    session(depot, test)                            # the package by itself
    session(depot, test; repository = REPOSITORY)   # and everything
end
if "docs" in STEPS
    docs = joinpath(root, "docs")
    cp(joinpath(REPOSITORY, "julia", "docs"), docs)
    names = collect(keys(TOML.parsefile(joinpath(docs, "Project.toml"))["deps"]))
    session(depot, "using Pkg; Pkg.add($(repr(names))); include($(repr(joinpath(docs, "make.jl"))))"; environment = docs, repository = REPOSITORY)
    println("documentation: ", stat(joinpath(docs, "build", "index.html")).size, " bytes")
end
