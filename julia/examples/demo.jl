# A potential in use, with the silicon model and the data of this repository: errors against DFT, a fit with its uncertainty, and molecular
# dynamics.
#   make demo-julia
using ACEfit, ACERust, AtomsBase, AtomsCalculators, LinearAlgebra, Printf, Random, StaticArrays, Unitful
import ExtXYZ

repository = ACERust.repository()
title(text) = printstyled("\n", text, "\n"; bold = true)
table(errors) = (show(stdout, MIME("text/plain"), errors); println())

title("A model of this repository")
model = load_model(joinpath(repository, "benchmark", "models", "si_fit.json"))
calc = StackedCalculator(model)
display(model)

title("Its errors on 25 structures of density-functional theory")
frames = ExtXYZ.load(joinpath(repository, "benchmark", "data", "Si_test.extxyz"))
table(ACERust.compute_errors(frames, calc))
AtomsCalculators.energy_forces_virial(frames[1], calc)     # compiles
seconds = @elapsed foreach(sys -> AtomsCalculators.energy_forces_virial(sys, calc), frames)
@printf("%.1f µs an atom: neighbours, energies, forces, virials, %d thread(s)\n", 1e6 * seconds / sum(length, frames), Sys.CPU_THREADS)

title("A fit: from 20 of these structures, tried on the other 5")
held_out = 3:5:25
training, testing = frames[setdiff(eachindex(frames), held_out)], frames[held_out]
fitted = set_linear_parameters!(deepcopy(calc), zeros(length_basis(calc)))
weights = Dict("default" => (E = 10, F = 1, V = 1), "Elastic" => (E = 30, F = 1, V = 1))
solver = ACEfit.QR(lambda = 1e-2)
seconds = @elapsed errors = ACERust.acefit!(training, fitted; weights, solver, prior = I)
@printf("%d parameters, %.1f s, much of it compiling\nstructures of the fit:\n", length_basis(fitted), seconds)
table(errors)
println("others:")
table(ACERust.compute_errors(testing, fitted))

title("Its uncertainty: a committee of 8 fits, each to a random half of the structures")
Random.seed!(1)
data = ACERust.atoms_data(training, fitted; weights)
members = map(1:8) do _
    A, Y, W = ACEfit.assemble(data[randperm(length(data))[1:(end ÷ 2)]], fitted)
    ACEfit.solve(solver, W .* A, W .* Y)["C"]
end
set_committee!(fitted, members)
println("group        atoms  E, meV/atom: error  deviation    F, eV/Å: error  deviation")
for sys in testing
    (; mean, std) = committee_mean_std(sys, fitted)
    n = length(sys)
    off = 1000 * (ustrip(mean.energy) - sys[:energy]) / n
    F = [ustrip.(f) for f in mean.forces] - sys[:, :forces]
    rms(x) = sqrt(sum(abs2, reduce(vcat, x)) / 3n)
    @printf("%-12s %5d  %18.2f %10.2f  %15.3f %10.3f\n", sys[:config_type], n, off, 1000 * ustrip(std.energy) / n, rms(F),
            rms([ustrip.(f) for f in std.forces]))
end

title("Molecular dynamics: 64 atoms at 600 K, velocity Verlet, steps of 1 fs, no thermostat")
const EV_PER_U = ustrip(u"Å^2/fs^2", 1u"eV/u")     # eV/u in (Å/fs)²
const KB = ustrip(u"eV/K", Unitful.k)

"Moves atoms of mass `m`, u, for `steps` steps of `Δt` fs: positions `x`, Å, and velocities `v`, Å/fs, are changed."
function dynamics!(x, v, sys, calc; m, Δt, steps, every)
    n = length(x)
    system() = FastSystem(cell_vectors(sys), periodicity(sys), x * u"Å", species(sys, :), fill(m * u"u", n))
    function evaluate()
        (; energy, forces) = AtomsCalculators.energy_forces(system(), calc)
        return ustrip(energy), [ustrip.(f) for f in forces]
    end
    kinetic() = m / 2EV_PER_U * sum(x -> dot(x, x), v)
    E, F = evaluate()
    start = E + kinetic()
    println(" time/fs    temperature/K   potential/eV       total/eV   drift, meV/atom")
    for step in 0:steps
        if step % every == 0
            total, T = E + kinetic(), 2 * kinetic() / (3n * KB)
            @printf("%8d %16.1f %14.4f %14.4f %17.4f\n", step * Δt, T, E, total, 1000 * (total - start) / n)
        end
        v .+= (Δt / 2 * EV_PER_U / m) .* F
        x .+= Δt .* v
        E, F = evaluate()
        v .+= (Δt / 2 * EV_PER_U / m) .* F
    end
end

sys = frames[25]
n, m = length(sys), 28.0855
x = [SVector{3}(ustrip.(u"Å", position(sys, i))) for i in 1:n]
v = [sqrt(KB * 600 * EV_PER_U / m) * randn(SVector{3}) for _ in 1:n]
v .-= Ref(sum(v) / n)
dynamics!(copy(x), copy(v), sys, calc; m, Δt = 1, steps = 0, every = 10)     # compiles
seconds = @elapsed dynamics!(x, v, sys, calc; m, Δt = 1, steps = 1000, every = 200)
@printf("%.1f µs an atom and step\n", 1e6 * seconds / 1001n)
