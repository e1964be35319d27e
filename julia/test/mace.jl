# MACE models: golden data, heads and charges, and what such a model has not.
include("common.jl")
using AtomsCalculators.Testing: test_energy_forces_virial
using Serialization

"Energy, forces and virial as a golden file has them."
function golden_agrees(found, s; tol = 1e-10)
    E = abs(bare(found.energy) - s["energy"]) <= tol * abs(s["energy"])
    F = difference(bare.(found.forces), [SVector{3,Float64}(f) for f in s["forces"]]) < tol
    s["virials"] === nothing && return E && F
    return E && F && difference(bare(found.virial), reduce(vcat, permutedims.(Vector{Float64}.(s["virials"])))) < tol
end

efv(sys, calc; options...) = AtomsCalculators.energy_forces_virial(sys, calc; options...)
calculator_of(path; settings...) = WrappedSiteCalculator(load_model(path); settings...)

@testset "MACE: $name" for name in ("two_layers_scalar", "mp0_like", "off_like", "one_layer", "omat_like")
    path = joinpath(MODELS, "$name.json")
    golden, calc = parse_json(read(path, String)), calculator_of(path)
    @test calc.model isa ACERust.MACEModel && occursin("MACE", sprint(show, MIME("text/plain"), calc.model))
    for s in golden["structures"]
        sys = golden_structure(s)
        found = efv(sys, calc)
        @test golden_agrees(found, s)
        G = interaction_graph(sys, calc.rcut)
        @test ACERust.n_edges(G) == s["n_edges"]
        @test difference(site_energies(calc, G), Float64.(s["node_energy"])) < 1e-10
        single = efv(sys, calc; precision = Float32)
        @test isapprox(single.energy, found.energy; rtol = 1e-4) && difference(bare.(single.forces), bare.(found.forces)) < 1e-3
    end
    test_energy_forces_virial(golden_structure(golden["structures"][2]), calc)
end

@testset "MACE as a calculator" begin
    path = joinpath(TINY, "tiny.model")
    model = load_model(path)
    calc = WrappedSiteCalculator(model)
    known = ACERust.species(model)
    sys = isolated_system([known[1 + k % length(known)] => [1.1k, 0.3 * (k % 2), 0.2k]u"Å" for k in 0:3])
    expected = efv(sys, calc)
    same(found) = found.energy ≈ expected.energy && difference(bare.(found.forces), bare.(expected.forces)) < 1e-12

    @testset "copies and files" begin
        io = IOBuffer()
        serialize(io, calc)
        for copied in (deepcopy(calc), deserialize(seekstart(io)), StackedCalculator(model), deepcopy(StackedCalculator(model)))
            @test same(efv(sys, copied))
        end
        mktempdir() do dir
            for name in ("model.safetensors", "again.safetensors")
                @test same(efv(sys, calculator_of(save_model(joinpath(dir, name), name == "again.safetensors" ? StackedCalculator(model).calcs[1] : model))))
            end
        end
    end

    @testset "stacks" begin
        shift = WrappedSiteCalculator(onebody_model([z => 0.5 * k for (k, z) in enumerate(known)]))
        stack = StackedCalculator((shift, calc))
        test_energy_forces_virial(sys, stack)
        found = efv(sys, stack)
        @test found.energy ≈ expected.energy + AtomsCalculators.potential_energy(sys, shift) && difference(bare.(found.forces), bare.(expected.forces)) < 1e-12
        @test length(stack.fused) == 2 && length_basis(stack) == 0
        G = interaction_graph(sys, calc.rcut)
        @test sum(site_energies(stack, G)) ≈ bare(found.energy)
        labelled = FlexibleSystem([Atom(a; forces = bare(f)) for (a, f) in zip(sys, found.forces)]; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), energy = bare(found.energy))
        @test ACERust.compute_errors([labelled], stack)["all"].rmse.F < 1e-12
    end

    @testset "forces are slopes of the energy" begin
        (; positions, cell, linear) = ACERust.variables(sys, calc)
        d = reshape(cos.(2 .* (1:length(positions))), size(positions))
        E(t) = ACERust.energy(calc, sys, positions + t * d, cell)
        @test isempty(linear)
        @test sum(ACERust.forces(calc, sys, positions, cell) .* d) ≈ -(E(1e-4) - E(-1e-4)) / 2e-4 rtol = 1e-6
    end

    @testset "what is not linear is not called so" begin
        G = interaction_graph(sys, calc.rcut)
        @test length_basis(calc) == 0 && get_linear_parameters(calc) == [] && set_linear_parameters!(deepcopy(calc), Float64[]) isa WrappedSiteCalculator
        @test same(efv(sys, set_linear_parameters!(deepcopy(calc), Float64[])))
        @test_throws "expected 0 linear parameters, got 2" set_linear_parameters!(calc, [1.0, 2.0])
        for call in (() -> site_basis(calc, G), () -> site_basis_jacobian(calc, G), () -> energy_forces_virial_basis(sys, calc), () -> splinify(calc))
            @test_throws r"MACE|linear" call()
        end
        for refusing in (calc, StackedCalculator((WrappedSiteCalculator(onebody_model([z => 0.5 for z in known])), calc)))
            @test_throws "no linear parameters for a committee" set_committee!(refusing, zeros(0, 2))
            @test_throws "no committee" committee_energies(sys, refusing)
            @test isfinite(efv(sys, refusing).energy)
        end
    end
end

const PRESENT = ACERust.PRESENT[]
@testset "heads, charges, spins over $name" for name in sort!(collect(keys(ACERust.BINDINGS)))
    ACERust.PRESENT[] = name
    golden = parse_json(read(joinpath(TINY, "two_heads.json"), String))
    s = golden["structures"][1]
    heads = golden["config"]["heads"]
    by_head(head) = calculator_of(joinpath(TINY, "two_heads.json"); head)
    calc = by_head(nothing)
    wanted = heads[1 + s["head"]]
    E = [AtomsCalculators.potential_energy(golden_structure(s), by_head(head)) for head in heads]
    @test !(E[1] ≈ E[2]) && AtomsCalculators.potential_energy(golden_structure(s), calc) == E[1]
    @test golden_agrees(efv(golden_structure(s), by_head(wanted)), s) && golden_agrees(efv(golden_structure(s; head = wanted), calc), s)
    # The system's own head comes first; copies keep the calculator's.
    @test AtomsCalculators.potential_energy(golden_structure(s; head = heads[1]), by_head(heads[2])) == E[1]
    @test AtomsCalculators.potential_energy(golden_structure(s), deepcopy(by_head(heads[2]))) == E[2]
    @test_throws "head `c`: the model has $(join(heads, ", "))" efv(golden_structure(s), by_head("c"))
    @test_throws "a NUL in the head" efv(golden_structure(s), by_head("a\0"))
    @test_throws "only MACE models have heads" WrappedSiteCalculator(sio_o2(); head = "a")

    path = joinpath(TINY, "nonlinear.json")
    golden, calc = parse_json(read(path, String)), calculator_of(path)
    for s in golden["structures"]
        own = (; (Symbol(key) => Int(s[key]) for key in ("total_charge", "total_spin") if haskey(s, key))...)
        @test golden_agrees(efv(golden_structure(s; own...), calc), s)
        isempty(own) && continue
        @test !golden_agrees(efv(golden_structure(s; own..., total_charge = own.total_charge == 1 ? 0 : 1), calc), s)
        @test_throws "total_charge is 0.5, not a whole number" efv(golden_structure(s; total_charge = 0.5), calc)
        @test_throws "charge" efv(golden_structure(s; total_charge = 10_000), calc)
    end
end
ACERust.PRESENT[] = PRESENT
