# A fit to density-functional energies and forces through ACEfit, with ACEpotentials' ETACE and with ACERust: design matrices, parameters,
# errors, and times on one thread.
#   julia --project=… benchmark/fit.jl FOLDER [ELEMENT …]
# FOLDER (or the environment variable ACERUST_FIT_DATA) has {Si,Mo}_{train,test}.extxyz, the sets of the mlearn benchmark (Y. Zuo et al.,
# J. Phys. Chem. A 124, 731 (2020)) as extended XYZ. Prints everything, and writes it to benchmark/results/julia-fit.md.
# Needs ACEpotentials, ACEfit, ExtXYZ and LuxCore.
using ACEfit, ACEpotentials, ACERust, AtomsBase, AtomsCalculators, Dates, LinearAlgebra, LuxCore, Printf, Random, Unitful
import ExtXYZ

const Models, ETM = ACEpotentials.Models, ACEpotentials.ETModels
const E0 = Dict(:Si => -0.846, :Mo => -4.6)       # eV, of an atom alone
const WEIGHTS = Dict("default" => Dict("E" => 10.0, "F" => 1.0, "V" => 1.0), "Elastic" => Dict("E" => 30.0, "F" => 1.0, "V" => 1.0))
const REPORT = joinpath(@__DIR__, "results", "julia-fit.md")

"Order 3, total degree 13, l to 5, 5.5 Å: 8 pair and 286 many-body parameters for one element."
function ace_model(element)
    rng = MersenneTwister(7)
    cutoffs = (x -> (rin = x.rin, r0 = x.r0, rcut = 5.5)).(Models._default_rin0cuts((element,)))
    model = Models.ace_model(;
        elements = (element,), order = 3, Ytype = :solid, level = Models.TotalDegree(), max_level = 13, maxl = 5, pair_maxn = 8,
        rin0cuts = cutoffs, init_WB = :glorot_normal, init_Wpair = :glorot_normal, pair_learnable = true, E0s = Dict(element => E0[element]), rng,
    )
    ps, st = LuxCore.setup(rng, model)
    Models.set_onehot_weights!(model.rbasis, ps.rbasis)
    Models.set_onehot_weights!(model.pairbasis, ps.pairbasis)
    return model, ps, st
end

"Regularised least squares by QR."
function solve(A, Y, W)
    A = W .* A
    solver = ACEfit.QR(lambda = 1e-6 * norm(A) / sqrt(size(A, 2)))
    return ACEfit.solve(solver, A, W .* Y)["C"]
end

difference(a, b) = maximum(abs, a - b) / maximum(abs, b)
table(errors) = sprint(show, MIME("text/plain"), errors)

function compare(io, element, folder)
    train, test = (ExtXYZ.load(joinpath(folder, "$(element)_$set.extxyz")) for set in ("train", "test"))
    model, ps, st = ace_model(element)
    theirs, ours = ETM.convert2et_full(model, ps, st), ACERust.convert2et_full(model, ps, st; nthreads = 1)
    data = [ACEpotentials.AtomsData(sys; energy_key = "energy", force_key = "forces", weights = WEIGHTS, v_ref = model.Vref) for sys in train]

    function assemble(calc)
        ACEfit.assemble(data[1:2], calc)     # compiles
        start = cpu_seconds()
        return (; (@timed ACEfit.assemble(data, calc))..., cpu = cpu_seconds() - start)
    end
    mine, yours = assemble(ours), assemble(theirs)
    (A, Y, W), (B, Z, U) = mine.value, yours.value
    many = @elapsed ACEfit.assemble(data, ACERust.convert2et_full(model, ps, st))

    θ, ϑ = solve(A, Y, W), solve(B, Z, U)
    ACERust.set_linear_parameters!(ours, θ)
    ETM.set_linear_parameters!(theirs, ϑ)
    found, expected = (ACERust.compute_errors(test, calc) for calc in (ours, StackedCalculator((NoParameters(theirs),))))

    println(io, "\n## ", element, "\n")
    @printf(io, "%d structures, %d atoms; %d rows, %d parameters.\n\n", length(train), sum(length, train), size(A)...)
    println(io, "| | ETACE | ACERust |\n| --- | ---: | ---: |")
    @printf(io, "| `ACEfit.assemble`, 1 thread, s | %.1f | %.2f |\n", yours.time, mine.time)
    @printf(io, "| processor time of that, s | %.1f | %.2f |\n", yours.cpu, mine.cpu)
    @printf(io, "| of it collecting garbage, s | %.1f | %.2f |\n", yours.gctime, mine.gctime)
    @printf(io, "| `ACEfit.assemble`, %d threads, s | | %.2f |\n", Sys.CPU_THREADS, many)
    @printf(io, "| test RMSE, energy, meV/atom | %.4f | %.4f |\n", 1000 * expected["all"].rmse.E, 1000 * found["all"].rmse.E)
    @printf(io, "| test RMSE, forces, eV/Å | %.6f | %.6f |\n", expected["all"].rmse.F, found["all"].rmse.F)
    @printf(io, "\nRatio of processor times: %.0f. ACEfit's own loop, which ETACE goes through, collects garbage after every structure: %.0f %% of its time.\n",
            yours.cpu / mine.cpu, 100 * yours.gctime / yours.time)
    @printf(io, "Largest difference, relative to the largest entry: matrix %.1e, targets %.1e, weights %.1e, parameters %.1e.\n",
            difference(A, B), difference(Y, Z), difference(W, U), difference(θ, ϑ))
    @printf(io, "Condition number of the weighted and regularised matrix: %.1e.\n", condition(W .* A))
    for (name, set) in ("training" => train, "test" => test)
        println(io, "\nACERust, ", name, " set:\n\n```\n", table(ACERust.compute_errors(set, ours)), "\n```")
    end
    passed = difference(A, B) < 1e-10 && isapprox(found["all"].rmse.E, expected["all"].rmse.E; rtol = 1e-6) &&
        isapprox(found["all"].rmse.F, expected["all"].rmse.F; rtol = 1e-6)
    println(io, "\n", passed ? "Same matrix to 1e-10, same errors to 1e-6." : "NOT THE SAME.")
    return passed
end

"Processor time of this process, s: the machine may have other work."
cpu_seconds() = ccall(:clock, Clong, ()) / 1e6

"A calculator of another package, by its energies, forces and virials alone."
struct NoParameters{C}
    calc::C
end
AtomsCalculators.energy_forces_virial(sys, c::NoParameters; options...) = AtomsCalculators.energy_forces_virial(sys, c.calc)
AtomsCalculators.potential_energy(sys, c::NoParameters; options...) = AtomsCalculators.potential_energy(sys, c.calc)
AtomsCalculators.forces(sys, c::NoParameters; options...) = AtomsCalculators.forces(sys, c.calc)
AtomsCalculators.virial(sys, c::NoParameters; options...) = AtomsCalculators.virial(sys, c.calc)

function condition(A)
    λ = 1e-6 * norm(A) / sqrt(size(A, 2))
    σ = svdvals(qr(A).R)
    return sqrt((σ[1]^2 + λ^2) / (σ[end]^2 + λ^2))
end

function main(arguments)
    folder = get(ENV, "ACERUST_FIT_DATA", "")
    isempty(folder) && !isempty(arguments) && (folder = popfirst!(arguments))
    isdir(folder) || error("give the folder of the data, or set ACERUST_FIT_DATA: see the head of this file")
    io = IOBuffer()
    println(io, "# Fits from Julia\n")
    println(io, "`benchmark/fit.jl`, ", today(), ": Julia ", VERSION, ", ACEpotentials ", pkgversion(ACEpotentials), ", ACEfit ", pkgversion(ACEfit), "; ",
            Sys.cpu_info()[1].model, ", ", Sys.CPU_THREADS, " threads, shared with other work.")
    elements = isempty(arguments) ? [:Si, :Mo] : Symbol.(arguments)
    passed = map(element -> compare(io, element, folder), elements)
    report = String(take!(io))
    print(report)
    write(REPORT, report)
    return all(passed)
end

main(copy(ARGS)) || exit(1)
