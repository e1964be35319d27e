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
        for f in (ACERust.forces, ACERust.virial)
            @test agrees(f, (at..., linear), (5,), 1e-9)
            # Second derivatives, with an h of its own.
            @test agrees(f, (at..., linear), space, 1e-6; h = 1e-3) && agrees(f, at, space, 1e-6; h = 1e-3)
            _, pullback = CRC.rrule(f, at..., linear)
            value = f(at...)
            for zero_of in (zero(value), CRC.ZeroTangent())
                @test all(iszero, pullback(zero_of)[4]) && all(iszero, pullback(zero_of)[6])
            end
            @test pullback(CRC.@thunk(value))[4] == pullback(value)[4]
        end
    end
    calc, sys = WrappedSiteCalculator(sio_o2()), silica()
    @test_throws "positions of size (3, 3) for 4 atoms" ACERust.energy(calc, sys, zeros(3, 3), zeros(3, 3))
    @test_throws "a cell of size (2, 2)" ACERust.forces(calc, sys, zeros(3, 4), zeros(2, 2))
    # A Hessian is symmetric, and forces do not change where all atoms move alike.
    (; positions, cell, linear) = ACERust.variables(sys, calc)
    d, e = sin.(1:12), cos.(3 .* (1:12))
    times(v) = vec(CRC.rrule(ACERust.forces, calc, sys, positions, cell)[2](reshape(v, 3, 4))[4])
    @test dot(e, times(d)) ≈ dot(d, times(e)) rtol = 1e-8
    @test norm(times(repeat([1.0, -2.0, 0.5], 4))) < 1e-8 * norm(times(d))
end

@testset "rules of the site level" begin
    model, sys = sio_o2(), silica()
    G, stack = interaction_graph(sys, 5.5), StackedCalculator(model)
    ē, d, t = [0.3, -1.0, 2.0, 0.7], cos.(1:length_basis(model)), [SVector(sin(e), cos(2e), sin(3e)) for e in eachindex(G.r)]
    for m in (model, stack, WrappedSiteCalculator(model))
        ps = (linear = get_linear_parameters(model),)
        value, pullback = CRC.rrule(site_energies, m, G, ps, nothing)
        @test value == site_energies(m, G, ps)
        _, _, Ḡ, p̄s, _ = pullback(ē)
        along(x) = dot(ē, site_energies(m, ACERust.graph_from_edges(G.numbers, G.first, G.jj, G.r + x * t), ps))
        @test sum(dot.(Ḡ.r, t)) ≈ slope(x -> along(only(x)), [0.0], [1.0]; h = 1e-3) rtol = 1e-7
        @test dot(p̄s.linear, d) ≈ slope(θ -> dot(ē, site_energies(m, G, (linear = θ,))), ps.linear, d) rtol = 1e-9
        @test pullback(ones(4))[3].r ≈ site_grads(m, G)
        @test CRC.rrule(site_energies, m, G, nothing, nothing)[2](ē)[4] === CRC.NoTangent()
    end
end

if loadable("ChainRulesTestUtils")
    import ChainRulesTestUtils, FiniteDifferences
    using ChainRulesTestUtils: ⊢, test_rrule
    @testset "as ChainRulesTestUtils has it" begin
        calc, sys = StackedCalculator(sio_o2()), silica()
        (; positions, cell, linear) = ACERust.variables(sys, calc)
        at = (calc ⊢ CRC.NoTangent(), sys ⊢ CRC.NoTangent(), positions, cell)
        fdm = FiniteDifferences.central_fdm(7, 1; max_range = 0.02)
        for (f, parameters) in ((ACERust.energy, ()), (ACERust.energy, (linear,)), (ACERust.energy_row, ()), (ACERust.forces, ()), (ACERust.virial, ()))
            test_rrule(f, at..., parameters...; fdm, check_inferred = false, rtol = 1e-7, atol = 1e-7)
        end
        harmonics, product = ACERust.Ops.Operation(:harmonics; lmax = 2), ACERust.Ops.Operation(:linear; irreps_in = "2x0e+1x1o", irreps_out = "1x0e+2x1o")
        for op in (harmonics, product)
            xs = Tuple(sin.(k .+ reshape(1:(port.width * (port.rows isa Int ? port.rows : 3)), port.width, :)) for (k, port) in enumerate(op.inputs))
            ȳ = cos.(op(xs...))
            test_rrule(op ⊢ CRC.NoTangent(), xs...; fdm, check_inferred = false, rtol = 1e-7, atol = 1e-7)
            test_rrule(ACERust.Ops.backward, op ⊢ CRC.NoTangent(), ȳ, xs...; fdm, check_inferred = false, rtol = 1e-7, atol = 1e-7)
        end
    end
else
    skipped("rules of differentiation by ChainRulesTestUtils", "it is not there")
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
        # Along its gradient the loss is a parabola, of which three values are known.
        forces_alone(θ) = sum(abs2, ACERust.forces(at..., θ) - F)
        θ, losses = linear, [forces_alone(linear)]
        for _ in 1:10
            g = only(Zygote.gradient(forces_alone, θ))
            rise = forces_alone(θ - g) - losses[end] + sum(abs2, g)
            θ -= sum(abs2, g) / 2rise * g
            push!(losses, forces_alone(θ))
        end
        @test all(diff(losses) .< 0) && losses[end] < 0.2 * losses[1]
        # Losses by positions, which take second derivatives: atoms go where the force is small.
        by_positions(X) = sum(abs2, ACERust.forces(calc, sys, X, cell))
        d = reshape(cos.(2 .* (1:length(positions))), size(positions))
        @test dot(only(Zygote.gradient(by_positions, positions)), d) ≈ slope(by_positions, positions, d; h = 1e-3) rtol = 1e-7
        # Forces as a gradient: the loss differentiates a derivative.
        nested(θ) = sum(abs2, only(Zygote.gradient(X -> ACERust.energy(calc, sys, X, cell, θ), positions)) + F)
        @test nested(linear) ≈ sum(abs2, ACERust.forces(at..., linear) - F)
        @test only(Zygote.gradient(nested, linear)) ≈ only(Zygote.gradient(θ -> sum(abs2, ACERust.forces(at..., θ) - F), linear))
        @test only(Zygote.gradient(X -> ACERust.energy(calc, sys, X, cell), positions)) ≈ -ACERust.forces(at...)
    end
else
    skipped("training by Zygote", "it needs Zygote")
end
