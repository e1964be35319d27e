# What a call costs through each binding of the Julia package: julia --project=… benchmark/bindings.jl
# Prints a table and writes it to benchmark/results/julia-bindings.md.
# The environment has ACERust and, for both bindings, JlrsCore 0.7; the libraries are built as `julia/README.md` says.
using ACERust, AtomsBase, AtomsCalculators, Dates, Printf, StaticArrays, Unitful
if Base.find_package("JlrsCore") !== nothing
    import JlrsCore   # with it the binding by jlrs, whichever is preferred
end

"A rattled silicon cell of 64 atoms."
function silicon()
    a, k = 5.43, 2
    basis = [(0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)]
    cells = Iterators.product(0:(k - 1), 0:(k - 1), 0:(k - 1))
    places = [a * (SVector(c) + SVector(b) / 4) for c in cells for b in basis]
    moved = [x + 0.05 * SVector(sin(7i), sin(11i), sin(13i)) for (i, x) in enumerate(places)]
    box = Tuple(a * k * SVector{3}(d .== 1:3) * u"Å" for d in 1:3)
    return periodic_system([:Si => x * u"Å" for x in moved], box)
end

"The shortest time of a call, s, and the bytes that it allocates."
function cost(f; seconds = 1.0)
    f()
    n = max(1, floor(Int, 2e-3 / max(@elapsed(f()), 1e-9)))
    best, stop = Inf, time() + seconds
    while time() < stop
        best = min(best, @elapsed(foreach(_ -> f(), 1:n)) / n)
    end
    return best, @allocated f()
end

const SYSTEM = silicon()
const MODEL = joinpath(@__DIR__, "models", "si_fit.json")

"The calls that are measured, by name."
function calls()
    model = load_model(MODEL)
    calc = WrappedSiteCalculator(model; nthreads = 1)
    plan, graph = ACERust.make_plan(model; nthreads = 1), interaction_graph(SYSTEM, ACERust.rcut(model)).handle
    F, V, none = zeros(3, 64), zeros(3, 3), ACERust.NO_MATRIX
    alone = onebody_model([:Si => -1.0])
    two = (ACERust.make_plan(alone; nthreads = 1), interaction_graph(isolated_system([:Si => zeros(3)u"Å"]), 1.0).handle)
    return [
        "length_basis" => () -> length_basis(model),
        "energy of one atom, one-body" => () -> ACERust.energy_forces_virial!(two..., none, none),
        "energy, forces, virial of 64 Si" => () -> ACERust.energy_forces_virial!(plan, graph, F, V),
        "energy_forces(system, calculator)" => () -> AtomsCalculators.energy_forces(SYSTEM, calc),
        "an error" => () -> try ACERust.model_extract(model.handle, 9) catch end,
    ]
end

function main(io)
    println(io, "# What a call from Julia costs\n\n`benchmark/bindings.jl`, ", today(), ": Julia ", VERSION, "; ", Sys.cpu_info()[1].model, ", one thread.\n")
    @printf(io, "| %-33s | %-5s | %8s | %6s |\n| --- | --- | ---: | ---: |\n", "call", "by", "µs", "bytes")
    for row in 1:5, name in sort!(collect(keys(ACERust.BINDINGS)))
        ACERust.PRESENT[] = name
        what, f = calls()[row]
        seconds, bytes = cost(f)
        @printf(io, "| %-33s | %-5s | %8.3f | %6d |\n", what, name, 1e6 * seconds, bytes)
    end
end

const REPORT = sprint(main)
print(REPORT)
write(joinpath(@__DIR__, "results", "julia-bindings.md"), REPORT)
