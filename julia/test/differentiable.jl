# Rules of differentiation, against differences, and by Zygote.
include("common.jl")
import ChainRulesCore as CRC

"The derivative of `f` along `d` at `x`, to eighth order in the step."
function slope(f, x, d; h = 0.01)
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    return sum(w / h * (f(x + k * h * d) - f(x - k * h * d)) for (k, w) in enumerate(weights))
end

"Pulls a random direction back, and pushes one forward by differences."
function agrees(f, arguments, which, tol; h = 0.01)
    value, pullback = CRC.rrule(f, arguments...)
    value == f(arguments...) || return false
    ȳ = value isa Real ? 1.3 : reshape(sin.(1:length(value)), size(value))
    x̄ = pullback(ȳ)
    length(x̄) == 1 + length(arguments) && all(==(CRC.NoTangent()), x̄[1:3]) || return false
    return all(which) do k
        x = arguments[k]
        d = reshape(cos.(2 .* (1:length(x))), size(x))
        at(x) = sum(ȳ .* f(ntuple(i -> i == k ? x : arguments[i], length(arguments))...))
        isapprox(sum(CRC.unthunk(x̄[1 + k]) .* d), slope(at, x, d; h = h * maximum(abs, x)); rtol = tol)
    end
end

@testset "rules of differentiation" begin
    sheet = FlexibleSystem([Atom(a) for a in silica()]; cell_vectors = cell_vectors(silica()), periodicity = (true, false, true))
    for sys in (silica(), sheet, molecule()), calc in (WrappedSiteCalculator(sio_o2()), StackedCalculator(sio_o2()))
        (; positions, cell, linear) = ACERust.variables(sys, calc)
        at = (calc, sys, positions, cell)
        @test ACERust.energy(at...) == ACERust.energy(at..., linear) == bare(AtomsCalculators.potential_energy(sys, calc))
        @test ACERust.forces(at..., linear) == reduce(hcat, bare.(AtomsCalculators.forces(sys, calc)))
        @test ACERust.virial(at..., linear) == bare(AtomsCalculators.virial(sys, calc))
        space = all(iszero, cell) ? (3,) : (3, 4)
        @test agrees(ACERust.energy, at, space, 1e-6; h = 1e-4)
        @test agrees(ACERust.energy, (at..., linear), (space..., 5), 1e-6; h = 1e-4)
        @test agrees(ACERust.energy_row, at, space, 1e-6; h = 1e-4)
        @test agrees(ACERust.forces, (at..., linear), (5,), 1e-9)
        @test agrees(ACERust.virial, (at..., linear), (5,), 1e-9)
        _, pullback = CRC.rrule(ACERust.forces, at..., linear)
        @test pullback(zeros(size(positions)))[4] isa CRC.NotImplemented
    end
    calc, sys = WrappedSiteCalculator(sio_o2()), silica()
    @test_throws "positions of size (3, 3) for 4 atoms" ACERust.energy(calc, sys, zeros(3, 3), zeros(3, 3))
    @test_throws "a cell of size (2, 2)" ACERust.forces(calc, sys, zeros(3, 4), zeros(2, 2))
end

if loadable("Zygote")
    import Zygote
    @testset "training by Zygote" begin
        calc, sys = StackedCalculator(sio_o2()), silica()
        (; positions, cell, linear) = ACERust.variables(sys, calc)
        at = (calc, sys, positions, cell)
        E, F, V = ACERust.energy(at..., 1.1linear), ACERust.forces(at..., 1.1linear), ACERust.virial(at..., 1.1linear)
        loss(θ) = abs2(ACERust.energy(at..., θ) - E) + sum(abs2, ACERust.forces(at..., θ) - F) + sum(abs2, ACERust.virial(at..., θ) - V)
        g = only(Zygote.gradient(loss, linear))
        d = cos.(1:length(linear))
        @test dot(g, d) ≈ slope(loss, linear, d) rtol = 1e-8
        @test loss(linear - 1e-3 / norm(g) * g) < loss(linear)
        # Forces as a gradient: the loss differentiates a derivative.
        nested(θ) = sum(abs2, only(Zygote.gradient(X -> ACERust.energy(calc, sys, X, cell, θ), positions)) + F)
        @test nested(linear) ≈ sum(abs2, ACERust.forces(at..., linear) - F)
        @test only(Zygote.gradient(nested, linear)) ≈ only(Zygote.gradient(θ -> sum(abs2, ACERust.forces(at..., θ) - F), linear))
        @test only(Zygote.gradient(X -> ACERust.energy(calc, sys, X, cell), positions)) ≈ -ACERust.forces(at...)
    end
else
    skipped("training by Zygote", "it needs Zygote")
end
