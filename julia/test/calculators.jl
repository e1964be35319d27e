include("common.jl")
using AtomsCalculators.Testing: test_energy_forces_virial
using Serialization

"A calculator of another package: a spring from every atom to the origin."
struct Springs end
AtomsCalculators.energy_unit(::Springs) = u"eV"
AtomsCalculators.length_unit(::Springs) = u"Å"
places(sys) = [ustrip.(u"Å", position(sys, i)) for i in 1:length(sys)]
AtomsCalculators.@generate_interface AtomsCalculators.potential_energy(sys, calc::Springs; ignored...) = sum(x -> dot(x, x), places(sys)) / 2 * u"eV"
AtomsCalculators.@generate_interface AtomsCalculators.forces(sys, calc::Springs; ignored...) = -places(sys) .* u"eV/Å"
AtomsCalculators.@generate_interface AtomsCalculators.virial(sys, calc::Springs; ignored...) = zeros(SMatrix{3,3}) * u"eV"

"The same, without any keywords."
struct Plain end
AtomsCalculators.potential_energy(sys, ::Plain) = AtomsCalculators.potential_energy(sys, Springs())
AtomsCalculators.forces(sys, ::Plain) = AtomsCalculators.forces(sys, Springs())
AtomsCalculators.virial(sys, ::Plain) = AtomsCalculators.virial(sys, Springs())

results(sys, calc; options...) = AtomsCalculators.energy_forces_virial(sys, calc; options...)
same(a, b; tol = 1e-12) =
    isapprox(a.energy, b.energy; rtol = tol) && difference(bare.(a.forces), bare.(b.forces)) < tol && difference(bare(a.virial), bare(b.virial)) < tol

function allocated(sys, calc)
    foreach(_ -> AtomsCalculators.energy_forces_virial(sys, calc), 1:2)
    number = @allocations AtomsCalculators.energy_forces_virial(sys, calc)
    return (; number, bytes = @allocated AtomsCalculators.energy_forces_virial(sys, calc))
end

@testset "AtomsCalculators" begin
    model = sio_o2()
    one = WrappedSiteCalculator(model)
    for (sys, calc) in ((silica(), one), (molecule(), one), (FastSystem(silica()), one), (silica(), StackedCalculator((one, Springs()))))
        test_energy_forces_virial(sys, calc)
    end
end

@testset "calculators" begin
    model, sys = sio_o2(), silica()
    calc = WrappedSiteCalculator(model)
    expected = results(sys, calc)

    @testset "forces are slopes of the energy" begin
        h = 1e-4
        moved(δ) = FlexibleSystem([Atom(s, position(sys, i) + (i == 2) * SVector(δ, 0, 0)u"Å") for (i, s) in enumerate(species(sys, :))];
                                  cell_vectors = cell_vectors(sys), periodicity = periodicity(sys))
        slope = (AtomsCalculators.potential_energy(moved(h), calc) - AtomsCalculators.potential_energy(moved(-h), calc)) / (2h * u"Å")
        @test expected.forces[2][1] ≈ -slope rtol = 1e-6
    end

    @testset "units, threads, precision, tables" begin
        bohr = FlexibleSystem([Atom(s, uconvert.(u"nm", position(sys, i))) for (i, s) in enumerate(species(sys, :))];
                              cell_vectors = map(v -> uconvert.(u"pm", v), cell_vectors(sys)), periodicity = (true, true, true))
        @test same(results(bohr, calc), expected; tol = 1e-11)
        @test same(results(sys, calc; nthreads = 1), results(sys, calc; nthreads = 2); tol = 1e-15)
        single = results(sys, calc; precision = Float32)
        @test same(single, expected; tol = 1e-4) && single.energy != expected.energy
        @test same(results(sys, WrappedSiteCalculator(model; radial = 1e-12)), expected; tol = 1e-9)
        # Mixed precision is for CUDA devices.
        for mixed in (results(sys, calc; precision = :mixed), results(sys, StackedCalculator(model; precision = :mixed)))
            @test same(mixed, single; tol = 1e-15)
        end
        @test_throws "Float64, Float32, :mixed or :f24_radial" WrappedSiteCalculator(model; precision = Float16)
        @test_throws "for MACE models on CUDA devices" results(sys, calc; precision = :f24_radial)
        @test_throws "not :double" WrappedSiteCalculator(model; precision = :double)
        @test_throws "not :double" results(sys, calc; precision = :double)
        @test_throws ArgumentError WrappedSiteCalculator(model; radial = :fast)
    end

    @testset "cutoff" begin
        @test ACERust.cutoff_radius(calc) == 5.5u"Å"
        @test same(results(sys, WrappedSiteCalculator(model, nothing, nothing, 7u"Å")), expected)
        @test_throws "less than" WrappedSiteCalculator(model, nothing, nothing, 4.0)
    end

    @testset "stacks" begin
        stack = StackedCalculator(model)
        @test length(stack.calcs) == 3 && length(stack.fused) == 1
        @test stack.calcs[1] isa ETOneBodyPotential && stack.calcs[2] isa ETPairPotential && stack.calcs[3] isa ETACEPotential
        @test same(results(sys, stack), expected)
        mixed = StackedCalculator((stack.calcs[3], Springs(), stack.calcs[1], stack.calcs[2]))
        springs = results(sys, Springs())
        found = results(sys, mixed)
        @test found.energy ≈ expected.energy + springs.energy
        @test difference(bare.(found.forces), bare.(expected.forces .+ springs.forces)) < 1e-12
        plain = StackedCalculator((Plain(), calc))
        @test same(results(sys, plain; nthreads = 1, precision = Float64), results(sys, StackedCalculator((Springs(), calc))))
        # A change made to a member is the stack's.
        set_linear_parameters!(stack.calcs[3], zeros(length_basis(stack.calcs[3])))
        apart = sum(AtomsCalculators.potential_energy(sys, c) for c in stack.calcs)
        @test AtomsCalculators.potential_energy(sys, stack) ≈ apart
        @test AtomsCalculators.potential_energy(sys, mixed) ≈ apart + springs.energy
        @test ACERust.present_model(stack) isa ACERustModel{:stack}
        @test_throws "one model" ACERust.present_model(mixed)
    end

    @testset "parameters that come with a call" begin
        stack = StackedCalculator(model)
        θ = get_linear_parameters(stack)
        nested = StackedCalculator((stack.calcs[3], Springs(), StackedCalculator((stack.calcs[2],)), stack.calcs[1]))
        AC = AtomsCalculators
        for c in (calc, stack, nested)
            own = AC.get_parameters(c).linear
            other = own .* range(0.5, 1.5; length = length(own))
            changed = results(sys, AC.set_parameters!(deepcopy(c), (linear = other,)))
            for ps in (nothing, (;), (linear = own,), (linear = other,))
                wanted = ps == (linear = other,) ? changed : results(sys, c)
                found = AC.calculate((AC.Energy(), AC.Forces(), AC.Virial()), sys, c, ps, (step = 1,))
                @test same(found, wanted) && found.state == (step = 1,)
            end
            @test AC.get_parameters(c).linear == own && same(results(sys, c), results(sys, deepcopy(c)))   # and is forgotten
            @test_throws "linear parameter 2 is not finite" AC.calculate(AC.Energy(), sys, c, (linear = [k == 2 ? NaN : 1.0 for k in eachindex(own)],))
            @test_throws "expected $(length(own)) linear parameters, got 3" AC.calculate(AC.Forces(), sys, c, (linear = zeros(3),))
            @test_throws "expected (linear = θ,)" AC.calculate(AC.Energy(), sys, c, (weights = own,))
            @test_throws "expected (linear = θ,)" AC.calculate(AC.Energy(), sys, c, own)
        end
        @test AC.set_parameters!(calc, nothing) === calc && same(results(sys, calc), expected)
    end

    @testset "a moving structure" begin
        moving = WrappedSiteCalculator(model)
        for step in 0:5
            sys2 = silica(; scale = 1 + 0.004 * step)
            @test same(results(sys2, moving), results(sys2, WrappedSiteCalculator(model; skin = 0)); tol = 1e-11)
        end
        @test same(results(molecule(), moving), results(molecule(), WrappedSiteCalculator(model)); tol = 1e-11)
        @test length(moving.lists) == 1
        # The list is kept while no atom has moved by more than half the skin, of 0.5 Å.
        at(δ) = ACERust.Structure(isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :O => [1.6 + δ, 0.1, 0.0]u"Å"]))
        results(isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :O => [1.6, 0.1, 0.0]u"Å"]), moving)
        list = only(moving.lists)
        moved(δ) = ACERust.graph_update(list, ACERust.atoms(at(δ))...)
        @test !moved(0.1) && !moved(0.24) && moved(0.26)
        @test !moved(0.4)
    end

    @testset "allocations" begin
        for calc in (WrappedSiteCalculator(model; nthreads = 1), StackedCalculator(model; nthreads = 1)), make in (identity, FastSystem)
            small, large = make(silica()), make(supercell(silica(), 5))
            # Arrays of the system and the results, in a number that does not grow with the atoms; the same with every call.
            @test allocated(small, calc).number <= 100
            @test allocated(large, calc).number <= allocated(small, calc).number + 20
            @test allocated(large, calc).number == allocated(large, calc).number
            @test allocated(large, calc).bytes - allocated(small, calc).bytes <= 400 * (length(large) - length(small))
        end
    end

    @testset "copies, files, serialisation" begin
        stack = StackedCalculator(model)
        set_linear_parameters!(stack, 1.5 * get_linear_parameters(stack))
        scaled = results(sys, stack)
        io = IOBuffer()
        serialize(io, stack)
        revived = deserialize(seekstart(io))
        @test revived isa typeof(stack) && same(results(sys, revived), scaled; tol = 1e-15)
        copied = deepcopy(stack)
        close(stack)
        @test same(results(sys, copied), scaled; tol = 1e-15)
        mktempdir() do dir
            path = save_model(joinpath(dir, "model.json"), copied)
            @test same(results(sys, WrappedSiteCalculator(load_model(path))), scaled; tol = 1e-14)
        end
        @test ACERust.model_to_json(deepcopy(model)) == ACERust.model_to_json(model)
    end

    @testset "site level" begin
        G = interaction_graph(sys, 5.5u"Å")
        E, st = model(G, nothing, (;))
        @test sum(E) ≈ bare(expected.energy) && st == (;)
        θ = get_linear_parameters(model)
        @test site_energies(model, G, (linear = θ,)) == E
        B, J = site_basis_jacobian(model, G)
        @test B == site_basis(model, G) && size(J) == (length(G.ii), size(B, 2))
        # A calculator in place of its model, with its own parameters and precision.
        scaled = set_linear_parameters!(WrappedSiteCalculator(model), 2θ)
        @test site_energies(scaled, G) ≈ site_energies(model, G, (linear = 2θ,)) && site_energies(scaled, G, (linear = θ,)) ≈ E
        @test site_grads(scaled, G) ≈ 2 * site_grads(model, G)
        @test site_basis(scaled, G) ≈ B && all(site_basis_jacobian(scaled, G) .≈ (B, J))
        E32 = site_energies(WrappedSiteCalculator(model; precision = Float32), G)
        @test E32 ≈ E rtol = 1e-4
        @test E32 != E
        again = ACERust.graph_from_edges(G.numbers, G.first, G.jj, G.r)
        @test site_energies(model, again) ≈ E
        g, F = site_grads(model, G), zeros(SVector{3,Float64}, 4)
        for e in eachindex(g)
            F[G.ii[e]] += g[e]
            F[G.jj[e]] -= g[e]
        end
        @test difference(F, bare.(expected.forces)) < 1e-11
        @test occursin("sio_o2", sprint(show, MIME("text/plain"), model))
    end

    @testset "site level of stacks" begin
        G, θ = interaction_graph(sys, 5.5), get_linear_parameters(model)
        stack = StackedCalculator(model)
        swapped = StackedCalculator((stack.calcs[3], StackedCalculator((stack.calcs[2],)), stack.calcs[1]))
        n = ACERust.n_basis.(stack.calcs)
        B, J = site_basis_jacobian(model, G)
        for (calc, order, ps) in ((stack, 1:sum(n), (linear = 2θ,)), (swapped, [(n[2] + 1):sum(n); 1:n[2]], (linear = 2 * get_linear_parameters(swapped),)))
            @test site_energies(calc, G) ≈ site_energies(model, G) && site_grads(calc, G) ≈ site_grads(model, G)
            @test site_energies(calc, G, ps) ≈ site_energies(model, G, (linear = 2θ,)) && site_grads(calc, G, ps) ≈ 2 * site_grads(model, G)
            @test site_basis(calc, G) ≈ B[:, order]
            found = site_basis_jacobian(calc, G)
            @test found[1] ≈ B[:, order] && found[2] ≈ J[:, order]
        end
        E0 = site_energies(stack.calcs[1], G)
        for calc in (stack, swapped, calc)
            descriptors = site_descriptors(sys, calc)
            @test length.(descriptors) == fill(length_basis(calc), 4)
            @test [dot(d, get_linear_parameters(calc)) for d in descriptors] .+ E0 ≈ site_energies(calc, G)
            @test site_descriptors(sys, calc; domain = 2:3) == descriptors[2:3]
        end
        @test_throws "a calculator Springs has no site energies" site_energies(StackedCalculator((Springs(), stack)), G)
    end

    @testset "accessors of ETModels" begin
        θ = get_linear_parameters(model)
        for c in (WrappedSiteCalculator(model), StackedCalculator(model))
            @test c.ps == (linear = θ,) && c.st == (;) && c.co_ps === nothing
            set_committee!(c, [θ, 2θ])
            @test c.co_ps == [(linear = θ,), (linear = 2θ,)]
            @test issubset((:ps, :st, :co_ps), propertynames(c))
        end
        @test StackedCalculator(model).rcut == 5.5
        @test_throws "the cutoff of Springs is not known: define ACERust.cutoff_radius" StackedCalculator((Springs(), calc)).rcut
        ACERust.cutoff_radius(::Plain) = 0.7u"nm"
        @test cutoff_radius(StackedCalculator((Plain(), calc))) == 7.0u"Å"
        # One-body energies by category, the category being the element.
        D = Dict(ChemicalSpecies(:Si) => -1.5, ChemicalSpecies(:O) => -3.0)
        @test AtomsCalculators.potential_energy(sys, WrappedSiteCalculator(one_body(D, x -> x.z))) ≈ -9.0u"eV"
        @test_throws "the category of :Si is 1" one_body(Dict(:Si => -1.5), x -> 1)
    end

    @testset "splinify" begin
        fine = splinify(model; Nspl = 1000)
        @test same(results(sys, WrappedSiteCalculator(fine)), expected; tol = 1e-6)
        @test !same(results(sys, WrappedSiteCalculator(fine)), expected; tol = 1e-13)
        θ = 1.5 * get_linear_parameters(model)
        for c in (calc, StackedCalculator(model))
            scaled = set_linear_parameters!(deepcopy(c), θ)
            @test same(results(sys, splinify(scaled; Nspl = 1000)), results(sys, scaled); tol = 1e-6)
        end
        @test get_linear_parameters(splinify(model, (linear = θ,))) == θ
        @test_throws "1 nodes are not in 2 … 10000" splinify(model; Nspl = 1)
    end
end
