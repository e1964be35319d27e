# Training of MACE models: gradients by parameters against golden data and differences, by Zygote, and a loss that falls.
include("common.jl")

lithium_fluoride(; k = 0) = periodic_system(
    [:Li => [0.0, 0.1k, 0.0]u"Å", :F => [1.65, 1.6, 1.75 - 0.1k]u"Å", :Li => [3.3 + 0.1k, 0.2, 0.1]u"Å"],
    ([6.6, 0.0, 0.0]u"Å", [0.0, 3.3, 0.3]u"Å", [0.2, 0.0, 3.4]u"Å"),
)
tiny(; options...) = Training(load_model(joinpath(TINY, "tiny.json")); nthreads = 1, options...)
matrix(F) = reduce(hcat, bare.(F))

"The derivative of `f` along `d` at `x`, to eighth order in the step."
slope(f, x, d; h = 1e-3) = sum(w / h * (f(x + k * h * d) - f(x - k * h * d)) for (k, w) in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280)))

@testset "gradients by parameters are golden" begin
    path = joinpath(MODELS, "two_layers_scalar.json")
    golden = parse_json(read(path, String))
    t, expected = Training(load_model(path)), golden["parameter_gradients"]
    s = golden["structures"][1 + expected["structure"]]
    run = ACERust.evaluate(t, golden_structure(s))
    @test run.energy ≈ s["energy"] rtol = 1e-10
    @test difference(run.site_energies, Float64.(s["node_energy"])) < 1e-10
    F̄ = reshape(Float64.(expected["cotangent"]["data"]), 3, :)
    for (what, found) in (("of_energy", ACERust.gradient(run; energy = 1)), ("of_forces", ACERust.gradient(run; forces = F̄)))
        @test length(expected[what]) == length(ACERust.parameters(t))
        for p in ACERust.parameters(t)
            of = expected[what][p.name]
            @test p.shape == Tuple(of["shape"]) && difference(found[p.range], Float64.(of["data"])) < 1e-9
        end
    end
    @test ACERust.gradient(run; energy = 1) ≈ ACERust.gradient(run; site_energies = ones(length(run.site_energies)))
end

@testset "results are those of calculators" begin
    for (name, sys, options) in (
        ("tiny.json", lithium_fluoride(), (;)),
        ("tiny.json", isolated_system([:Li => [0.0, 0.0, 0.0]u"Å", :F => [1.6, 0.1, 0.0]u"Å"]), (;)),
        ("tiny.json", isolated_system([:F => [0.0, 0.0, 0.0]u"Å"]), (;)),
        ("two_heads.json", nothing, (head = "b",)),
    )
        model = load_model(joinpath(TINY, name))
        if sys === nothing
            z = ACERust.species(model)
            sys = isolated_system([z[1] => [0.0, 0.0, 0.0]u"Å", z[2] => [1.2, 0.1, 0.0]u"Å"])
        end
        calc = WrappedSiteCalculator(model; options...)
        t = Training(calc; nthreads = 1)
        expected = AtomsCalculators.energy_forces_virial(sys, calc)
        (; energy, forces, virial) = ACERust.energy_forces_virial(t, sys)
        @test energy ≈ bare(expected.energy) rtol = 1e-10
        @test maximum(abs, forces - matrix(expected.forces)) < 1e-9 && maximum(abs, virial - bare(expected.virial)) < 1e-9
        @test (energy, forces, virial) == (ACERust.energy(t, sys), ACERust.forces(t, sys), ACERust.virial(t, sys))
        isempty(options) || @test !(ACERust.energy(Training(model), sys) ≈ energy)
    end
    # Changed parameters go back into a calculator, and a file.
    t, sys = tiny(), lithium_fluoride()
    before = values(t)
    θ = 0.9 * before
    @test t.parameters[end].range[end] == length(θ) && occursin("Training(", sprint(show, t))
    mktempdir() do dir
        path = save_model(joinpath(dir, "changed.safetensors"), ACERust.model(t, θ))
        energy = bare(AtomsCalculators.potential_energy(sys, WrappedSiteCalculator(load_model(path))))
        @test energy ≈ ACERust.energy(t, sys, θ) rtol = 1e-9
        @test !(energy ≈ ACERust.energy(t, sys))
    end
    own = deepcopy(t)
    @test values(ACERust.set_values!(t, θ)) == θ && ACERust.energy(t, sys) == ACERust.energy(t, sys, θ)
    # A copy keeps its own, whatever is done to the other.
    @test values(own) == before && ACERust.energy(own, sys) == ACERust.energy(tiny(), sys)
    expected = ACERust.energy(t, sys)
    close(t)
    @test ACERust.energy(own, sys, θ) == expected == ACERust.energy(t, sys)
end

@testset "what is refused" begin
    t, sys = tiny(), lithium_fluoride()
    n = length(values(t))
    @test_throws "only MACE models are trained" Training(sio_o2())
    @test_throws "precision is Float64, Float32, Float16 or :bf16" tiny(; precision = :mixed)
    @test_throws "device is :cpu, :cuda" tiny(; device = :gpu)
    @test_throws "parameters: expected $n, got 2" ACERust.energy(t, sys, [1.0, 2.0])
    @test_throws "is NaN" ACERust.set_values!(t, fill(NaN, n))
    @test all(isfinite, values(t))
    @test_throws "atomic number 14" ACERust.energy(t, silica())
    @test_throws "finite and above 0" ACERust.set_loss_scale!(t, 0)
    run = ACERust.evaluate(t, sys)
    @test_throws "cotangent of forces has the size (3, 2), not (3, 3)" ACERust.gradient(run; forces = zeros(3, 2))
    @test_throws "gradient: expected $n, got 1" ACERust.gradient!([0.0], run; energy = 1)
    @test_throws "not finite" ACERust.gradient(run; energy = NaN)
    close(run)
    @test !isopen(run) && run.energy == ACERust.energy(t, sys)
    @test_throws "this evaluation has been closed" ACERust.gradient(run; energy = 1)
    run = ACERust.evaluate(t, sys; keep = false)
    @test !isopen(run) && run.energy == ACERust.energy(t, sys)
    @test_throws "this evaluation has been closed" ACERust.gradient(run; energy = 1)
end

@testset "tasks with parameters of their own" begin
    t, sys = tiny(), lithium_fluoride()
    θs = [(1 + 0.01k) * values(t) for k in 1:8]
    expected = [ACERust.energy(t, sys, θ) for θ in θs]
    found = fetch.([Threads.@spawn([ACERust.energy(t, sys, θ) for _ in 1:5]) for θ in θs])
    @test all(all(==(e), f) for (e, f) in zip(expected, found))
    close(t)
    @test ACERust.energy(t, sys, θs[1]) == expected[1]
end

@testset "16 bits" begin
    sys, exact = lithium_fluoride(), tiny()
    n = length(values(exact))
    F̄ = reshape(cos.(1:9), 3, 3)
    pulled(t) = (run = ACERust.evaluate(t, sys); g = ACERust.gradient(run; energy = 0.7, forces = F̄); close(run); g)
    expected = pulled(exact)
    for (precision, tol) in ((Float32, 1e-4), (Float16, 0.05), (:bf16, 0.3))
        t = tiny(; precision)
        @test difference(pulled(ACERust.set_loss_scale!(t, 8)), expected) < tol
    end
    # Too large a scale is halved until nothing overflows.
    t, scale = tiny(; precision = Float16), LossScale()
    first = scale.scale
    @test first > 1 && scale.steps == 0
    scale.scale *= 2.0^20
    tries = 0
    g = nothing
    while g === nothing && tries < 40
        tries += 1
        g = ACERust.accept!(() -> pulled(t), scale, t)
    end
    @test tries > 1 && scale.scale == first * 2.0^(21 - tries) && scale.steps == 1 && difference(g, expected) < 0.05
    @test_throws "an error of its own" ACERust.accept!(() -> error("an error of its own"), scale, t)
end

if loadable("ChainRulesCore")
    import ChainRulesCore as CRC
    @testset "rules of training" begin
        t, sys = tiny(), lithium_fluoride()
        θ = values(t)
        d = cos.(1:length(θ))
        for f in (ACERust.energy, ACERust.forces, ACERust.virial)
            value, pullback = CRC.rrule(f, t, sys, θ)
            @test value == f(t, sys, θ)
            ȳ = value isa Real ? 1.3 : reshape(sin.(1:length(value)), size(value))
            θ̄ = pullback(ȳ)[4]
            @test dot(θ̄, d) ≈ slope(θ -> sum(ȳ .* f(t, sys, θ)), θ, d) rtol = 1e-7
            # Again, though the intermediates are gone; and of nothing.
            @test pullback(CRC.Thunk(() -> ȳ))[4] == θ̄ && pullback(CRC.ZeroTangent())[4] isa CRC.ZeroTangent
            @test CRC.rrule(f, t, sys, Float32.(θ))[2](ȳ)[4] isa Vector{Float32}
        end
    end
end

if loadable("ChainRulesTestUtils")
    import ChainRulesCore as CRC
    import ChainRulesTestUtils, FiniteDifferences
    using ChainRulesTestUtils: ⊢, test_rrule
    @testset "as ChainRulesTestUtils has it" begin
        t, sys = tiny(), lithium_fluoride()
        fdm = FiniteDifferences.central_fdm(7, 1; max_range = 0.02)
        for f in (ACERust.energy, ACERust.forces, ACERust.virial, ACERust.energy_forces_virial)
            test_rrule(f, t ⊢ CRC.NoTangent(), sys ⊢ CRC.NoTangent(), values(t); fdm, check_inferred = false, rtol = 1e-6, atol = 1e-6)
        end
    end
else
    skipped("rules of training by ChainRulesTestUtils", "it is not there")
end

if loadable("Zygote")
    import Zygote
    @testset "training by Zygote" begin
        t = tiny()
        systems = [lithium_fluoride(; k) for k in 0:2]
        θ = values(t)
        truth = [ACERust.energy_forces_virial(t, sys, θ .* (1 .+ 0.2 .* sin.(1:length(θ)))) for sys in systems]
        function loss(θ)
            return sum(zip(systems, truth)) do (sys, known)
                (; energy, forces, virial) = ACERust.energy_forces_virial(t, sys, θ)
                abs2(energy - known.energy) + sum(abs2, forces - known.forces) + 0.1 * sum(abs2, virial - known.virial)
            end
        end
        g = only(Zygote.gradient(loss, θ))
        d = cos.(1:length(θ))
        @test dot(g, d) ≈ slope(loss, θ, d) rtol = 1e-7
        one_by_one(θ) = sum(zip(systems, truth)) do (sys, known)
            abs2(ACERust.energy(t, sys, θ) - known.energy) + sum(abs2, ACERust.forces(t, sys, θ) - known.forces) +
            0.1 * sum(abs2, ACERust.virial(t, sys, θ) - known.virial)
        end
        @test only(Zygote.gradient(one_by_one, θ)) ≈ g
        # Steps down the gradient of forces, each as long as lowers the loss.
        of_forces(θ) = sum(sum(abs2, ACERust.forces(t, sys, θ) - known.forces) for (sys, known) in zip(systems, truth))
        losses, rate = [of_forces(θ)], 1.0
        for _ in 1:20
            g = only(Zygote.gradient(of_forces, θ))
            while of_forces(θ - rate * g) >= losses[end]
                rate /= 2
            end
            θ -= rate * g
            push!(losses, of_forces(θ))
            rate *= 2
        end
        @test all(diff(losses) .< 0) && losses[end] < 0.5 * losses[1]
        # The calculator of what was learnt.
        calc = WrappedSiteCalculator(ACERust.model(ACERust.set_values!(t, θ)))
        @test sum(sum(abs2, matrix(AtomsCalculators.forces(sys, calc)) - known.forces) for (sys, known) in zip(systems, truth)) ≈ losses[end]
    end
else
    skipped("training by Zygote", "it needs Zygote")
end
