# ACERust from Julia beside ETModels of ACEpotentials, and beside the command line: time per call, shortest of several, one thread each.
#   julia --project=… benchmark/julia.jl [number of atoms …]
# Needs ACEpotentials, AtomsBuilder, ExtXYZ and LuxCore; and the program acerust, in target/release or where ACERUST_PROGRAM says. Prints
# the tables and writes them to benchmark/results/julia.md.
# The model beside ETModels is that of the golden file sio_o2: order 2, 62 many-body parameters.
using ACEpotentials, ACERust, AtomsBase, AtomsBuilder, AtomsCalculators, Dates, LuxCore, Printf, Random, StaticArrays, Unitful
import ExtXYZ
if Base.find_package("JlrsCore") !== nothing
    import JlrsCore   # with it the binding by jlrs, whichever is preferred
end

const REPOSITORY = dirname(@__DIR__)
const Models, ETM = ACEpotentials.Models, ACEpotentials.ETModels

function silica_model()
    elements, rng = (:Si, :O), MersenneTwister(12)
    cutoffs = (x -> (rin = x.rin, r0 = x.r0, rcut = 5.5)).(Models._default_rin0cuts(elements))
    model = Models.ace_model(; elements, order = 2, Ytype = :solid, level = Models.TotalDegree(), max_level = 8, maxl = 4, pair_maxn = 8,
        rin0cuts = cutoffs, init_WB = :glorot_normal, init_Wpair = :glorot_normal, pair_learnable = true, rng, E0s = Dict(:Si => -1.5, :O => -3.0))
    return model, LuxCore.setup(rng, model)...
end

function crystal(cells)
    Random.seed!(1)
    sys = AtomsBuilder.bulk(:Si, cubic = true) * cells
    AtomsBuilder.rattle!(sys, 0.1u"Å")
    return AtomsBuilder.randz!(sys, [:Si => 0.5, :O => 0.5])
end

"Shortest time of a call, ms, over about `seconds`, by a clock in seconds."
function shortest(f; seconds = 2, clock = wall)
    f()
    best, start = Inf, wall()
    while wall() - start < seconds
        t = clock()
        f()
        best = min(best, clock() - t)
    end
    return 1000 * best
end

wall() = time_ns() / 1e9
"Processor time of this process: what a call on one thread takes where other work waits its turn."
processor() = ccall(:clock, Clong, ()) / 1e6

const CELLS = Dict(64 => (2, 2, 2), 216 => (3, 3, 3), 512 => (4, 4, 4), 800 => (5, 5, 4))
const EFV = AtomsCalculators.energy_forces_virial

"Times of what ACERust and ETModels do with the same model."
function side_by_side(io, sizes)
    model, ps, st = silica_model()
    mine, theirs = ACERust.convert2et_full(model, ps, st; nthreads = 1), ETM.convert2et_full(model, ps, st)
    many_body = last(mine.calcs) => last(theirs.calcs)
    tasks = (
        "many-body: energy" => (AtomsCalculators.potential_energy, many_body),
        "many-body: forces" => (AtomsCalculators.forces, many_body),
        "full model: energy" => (AtomsCalculators.potential_energy, mine => theirs),
        "full model: forces" => (AtomsCalculators.forces, mine => theirs),
        "full model: energy, forces, virial" => (EFV, mine => theirs),
        "full model: design rows" => (nothing, mine => theirs),
    )
    println(io, "\n## Beside ETModels\n\nProcessor time.\n\n| atoms | | ETModels, ms | ACERust, ms | ratio |\n| ---: | --- | ---: | ---: | ---: |")
    for n in sizes, (name, (f, (here, there))) in tasks
        sys = crystal(CELLS[n])
        f_here, f_there = f === nothing ? (ACERust.energy_forces_virial_basis, Models.energy_forces_virial_basis) : (f, f)
        a = shortest(() -> f_here(sys, here); clock = processor)
        b = shortest(() -> f_there(sys, there); clock = processor)
        @printf(io, "| %d | %s | %.2f | %.3f | %.0f |\n", n, name, b, a, b / a)
    end
end

"The cost of the layer: 64 atoms from Julia and from the command line, by turns."
function overhead(io)
    program = get(ENV, "ACERUST_PROGRAM", joinpath(REPOSITORY, "target", "release", "acerust"))
    println(io, "\n## Beside the command line\n\nEnergy, forces and virial of 64 atoms, µs/atom. `acerust bench` measures them with the neighbour list at hand, and the ")
    println(io, "list by itself; from Julia each call checks its list, with a skin of 0.5 Å: of the same atoms, whose list is at hand as well, and of atoms ")
    println(io, "that move with every call.\n")
    isfile(program) || return println(io, "SKIPPED: there is no ", program)
    frames = joinpath(REPOSITORY, "benchmark", "data", "Si_test.extxyz")
    frame = ExtXYZ.load(frames)[25]
    box, x = Tuple(SVector{3}(v) for v in cell_vectors(frame)), [SVector{3}(v) for v in position(frame, :)]
    system(x) = FastSystem(box, periodicity(frame), x, species(frame, :), mass(frame, :))
    systems = system(x), system([r .+ 1e-3 * sin(i) * u"Å" for (i, r) in enumerate(x)])
    println(io, "| model | command line | its list | Julia, same atoms | ratio | atoms moved | ratio | allocations | bytes |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in ("si_bench", "si_fit")
        path = joinpath(REPOSITORY, "benchmark", "models", name * ".json")
        calc = WrappedSiteCalculator(load_model(path); nthreads = 1)
        command = `$program bench $path $frames --frame 24 --threads 1 --seconds 0.5 --json`
        line, list, same, moving = Inf, Inf, Inf, Inf
        turn = Ref(1)
        still() = EFV(systems[1], calc)
        function move()
            turn[] = 3 - turn[]
            return EFV(systems[turn[]], calc)
        end
        per_atom(f) = 1000 * shortest(f; seconds = 0.5) / length(x)
        for _ in 1:8
            found = read(command, String)
            value(key) = parse(Float64, match(Regex("\"$key\":([0-9.eE+-]+)"), found)[1])
            line, list = min(line, value("us_per_atom")), min(list, value("us_per_atom_list"))
            same, moving = min(same, per_atom(still)), min(moving, per_atom(move))
        end
        count, bytes = (@allocations still()), @allocated still()
        @printf(io, "| %s | %.3f | %.3f | %.3f | %.2f | %.3f | %.2f | %d | %d |\n", name, line, list, same, same / line, moving, moving / line, count, bytes)
    end
end

const SESSION = raw"""
    import AtomsBase, AtomsCalculators, StaticArrays, Unitful
    list = ccall(:jl_debug_method_invalidation, Any, (Cint,), 1)
    loaded = @elapsed import ACERust
    ccall(:jl_debug_method_invalidation, Any, (Cint,), 0)
    invalid = unique(filter(x -> x isa Union{Core.MethodInstance,Core.CodeInstance}, list))
    owner(x) = x isa Core.CodeInstance ? owner(x.def) : x.def isa Method ? x.def.module : x.def
    others = count(x -> owner(x) !== ACERust && !contains(repr(x), "ACERust"), invalid)   # methods for types of ours are ours too
    using AtomsBase, Unitful
    sys = periodic_system([:Si => [0.0, 0.0, 0.0]u"Å", :Si => [1.36, 1.36, 1.36]u"Å"],
        ([0.0, 2.73, 2.73]u"Å", [2.73, 0.0, 2.73]u"Å", [2.73, 2.73, 0.0]u"Å"))
    calculator = @elapsed calc = ACERust.WrappedSiteCalculator(ACERust.load_model(only(ARGS)); nthreads = 1)
    first = @elapsed AtomsCalculators.energy_forces_virial(sys, calc)
    print(join((loaded, calculator, first, length(invalid), others), ' '))
    """

"What a new session waits for, by binding; all is compiled ahead."
function first_session(io)
    println(io, "\n## A new session\n\nSeconds, shortest of 5 sessions with AtomsBase, AtomsCalculators, StaticArrays and Unitful loaded; and how many compiled ")
    println(io, "methods loading ACERust makes invalid: all, and those of other packages. Those of ACERust come back with the binding by jlrs, compiled ahead.\n")
    println(io, "| binding | `import ACERust` | a calculator | first energy, forces, virial | invalid | of others |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for binding in sort!(collect(keys(ACERust.BINDINGS)))
        mktempdir() do environment
            write(joinpath(environment, "Project.toml"), "[extras]\nACERust = \"$(Base.PkgId(ACERust).uuid)\"\n[preferences.ACERust]\nbinding = \"$binding\"\n")
            command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $SESSION $(joinpath(REPOSITORY, "benchmark", "models", "si_fit.json"))`
            command = addenv(command, "JULIA_LOAD_PATH" => join([environment; LOAD_PATH], Sys.iswindows() ? ';' : ':'))
            found = stack(parse.(Float64, split(readchomp(command))) for _ in 1:5)
            @printf(io, "| %s | %.2f | %.3f | %.4f | %d | %d |\n", binding, minimum(found; dims = 2)...)
        end
    end
end

include("julia_first.jl")

function main(sizes)
    io = IOBuffer()
    println(io, "# ACERust from Julia\n")
    println(io, "`benchmark/julia.jl`, ", today(), ": Julia ", VERSION, ", ACEpotentials ", pkgversion(ACEpotentials), "; ", Sys.cpu_info()[1].model,
            ", one thread; the machine had other work. Shortest of several calls.")
    overhead(io)
    first_session(io)
    first_calls(io)
    side_by_side(io, sizes)
    report = String(take!(io))
    print(report)
    write(joinpath(@__DIR__, "results", "julia.md"), report)
end

main(isempty(ARGS) ? [64, 216, 800] : parse.(Int, ARGS))
