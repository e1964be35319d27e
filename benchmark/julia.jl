# ACERust from Julia beside ETModels of ACEpotentials: time per call, shortest of several, one thread each.
#   julia --project=… benchmark/julia.jl [number of atoms …]
# Needs ACEpotentials, AtomsBuilder and LuxCore. The model is that of the golden file sio_o2: order 2, 62 many-body parameters.
using ACEpotentials, ACERust, AtomsBase, AtomsBuilder, AtomsCalculators, LuxCore, Printf, Random, Unitful

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

"Shortest time of a call, ms, over about `seconds`."
function shortest(f; seconds = 2)
    f()
    best, start = Inf, time()
    while time() - start < seconds
        best = min(best, @elapsed f())
    end
    return 1000 * best
end

const CELLS = Dict(64 => (2, 2, 2), 216 => (3, 3, 3), 512 => (4, 4, 4), 800 => (5, 5, 4))
sizes = isempty(ARGS) ? [64, 216, 800] : parse.(Int, ARGS)
model, ps, st = silica_model()
mine, theirs = ACERust.convert2et_full(model, ps, st; nthreads = 1), ETM.convert2et_full(model, ps, st)
tasks = (
    "energy" => AtomsCalculators.potential_energy,
    "forces" => AtomsCalculators.forces,
    "energy, forces, virial" => AtomsCalculators.energy_forces_virial,
)
@printf("%6s  %-24s %12s %12s %8s\n", "atoms", "", "ACERust / ms", "ETModels / ms", "ratio")
for n in sizes
    sys = crystal(CELLS[n])
    calls = [name => (() -> f(sys, mine), () -> f(sys, theirs)) for (name, f) in tasks]
    push!(calls, "design rows" => (() -> ACERust.energy_forces_virial_basis(sys, mine), () -> Models.energy_forces_virial_basis(sys, theirs)))
    for (name, (here, there)) in calls
        a, b = shortest(here), shortest(there)
        @printf("%6d  %-24s %12.3f %12.1f %8.0f\n", n, name, a, b, b / a)
    end
end
