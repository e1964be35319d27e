# The tests that ACEpotentials has of its ETModels, said again of our calculators: the claims and limits are theirs, case by case, the models those of
# golden files, which ACEpotentials made, and the original ACE model's numbers those in them. docs/src/etmodels.md is the table.
include("common.jl")
using Random

const GOLDEN_O3 = parse_json(read(joinpath(GOLDEN, "sio_o3.json"), String))
const ONEBODY, PAIR, ACE = ACERust.model_parts(convert_reference(joinpath(GOLDEN, "sio_o3.json")))
const FULL = convert_reference(joinpath(GOLDEN, "sio_o3.json"))
const RCUT = GOLDEN_O3["rcut"]

"Silicon's lattice, 2 × 2 × 1 primitive cells, rattled, its atoms silicon or oxygen at random."
function random_structure(rng; oxygen = 0.5, rattle = 0.2)
    a = 5.43
    vectors = (SVector(0, a / 2, a / 2), SVector(a / 2, 0, a / 2), SVector(a / 2, a / 2, 0))
    places = [i * vectors[1] + j * vectors[2] + (b * a / 4) * SVector(1, 1, 1) for b in 0:1 for i in 0:1 for j in 0:1]
    kinds = [rand(rng) < oxygen ? :O : :Si for _ in places]
    atoms = [z => (x + rattle * (rand(rng, SVector{3}) .- 0.5)) * u"Å" for (z, x) in zip(kinds, places)]
    return periodic_system(atoms, (2vectors[1] * u"Å", 2vectors[2] * u"Å", vectors[3] * u"Å"))
end
structures(n; options...) = (rng = Xoshiro(1234); [random_structure(rng; options...) for _ in 1:n])

golden_system(s) = FlexibleSystem(
    [Atom(Int(z), SVector{3,Float64}(x) * u"Å") for (z, x) in zip(s["numbers"], s["positions"])];
    cell_vectors = Tuple(SVector{3,Float64}(v) * u"Å" for v in s["cell"]), periodicity = Tuple(Bool.(s["pbc"])),
)

total(model, sys) = sum(first(model(interaction_graph(sys, RCUT * u"Å"))))
bare_energy(sys, calc) = bare(AtomsCalculators.potential_energy(sys, calc))
numbers_of(sys) = atomic_number(sys, :)

"Energies of centres from the basis and the weights of their species."
function by_hand(model, G, B)
    W = reshape(get_linear_parameters(model), :, length(ACERust.species(model)))
    s(i) = findfirst(==(G.numbers[i]), ACERust.species(model))
    return [dot(B[i, :], W[:, s(i)]) for i in axes(B, 1)], [W[:, s(i)] for i in axes(B, 1)]
end

"What the Jacobian gives for the gradient of each edge."
gradients_by_hand(J, G, weights) = [sum(J[e, :] .* weights[G.ii[e]]) for e in eachindex(G.ii)]

"The largest deviation from slopes of the energy along edges, by differences."
function against_differences(model, G)
    g, rng = site_grads(model, G), Xoshiro(1)
    t = [normalize(randn(rng, SVector{3})) for _ in G.r]
    E(x) = sum(site_energies(model, ACERust.graph_from_edges(G.numbers, G.first, G.jj, G.r + x * t)))
    slope = sum(w / 1e-3 * (E(1e-3k) - E(-1e-3k)) for (k, w) in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280)))
    return abs(slope - sum(dot.(g, t))) / abs(slope)
end

spread(a, b) = maximum(norm.(a - b) ./ (1 .+ norm.(a) .+ norm.(b)))

@testset verbose = true "tests of ETModels" begin
    @testset "etmodels/test_etace.jl" begin
        fine, coarse = splinify(ACE; Nspl = 200), splinify(ACE; Nspl = 50)
        for s in GOLDEN_O3["structures"]   # the basis in their order, and the original model's energies
            sys = golden_system(s)
            G, results = interaction_graph(sys, RCUT), s["results"]["ace"]
            @test abs(total(ACE, sys) - results["energy"]) < 1e-6
            haskey(results, "basis") && @test difference(site_basis(ACE, G), reduce(vcat, permutedims.(Vector{Float64}.(results["basis"])))) < 1e-11
        end
        for sys in structures(30)
            E, E50, E200 = total(ACE, sys), total(coarse, sys), total(fine, sys)
            @test abs(E - E50) / (1 + abs(E) + abs(E50)) < 1e-2 && abs(E - E200) / (1 + abs(E) + abs(E200)) < 1e-4
        end
        sys = only(structures(1))
        G = interaction_graph(sys, RCUT * u"Å")
        g = site_grads(ACE, G)
        @test spread(g, site_grads(coarse, G)) < 1 && spread(g, site_grads(fine, G)) < 0.01
        @test against_differences(ACE, G) < 1e-8   # in place of ForwardDiff
        B, (B2, J) = site_basis(ACE, G), site_basis_jacobian(ACE, G)
        E, weights = by_hand(ACE, G, B2)
        @test B ≈ B2 && E ≈ first(ACE(G))
        (B200, J200) = site_basis_jacobian(fine, G)
        @test site_basis(fine, G) ≈ B200 && norm(B - B200, Inf) < 3e-3 && maximum(norm.(J - J200)) < 0.1
        @test all(gradients_by_hand(J, G, weights) .≈ g)
    end

    if all(loadable, ("ChainRulesCore", "Zygote", "LuxCore"))
        @eval import LuxCore, Zygote
        @testset "etmodels/test_etace.jl: Zygote" begin
            ps, st = @invokelatest LuxCore.setup(Xoshiro(1), ACE)
            G = interaction_graph(only(structures(1)), RCUT * u"Å")
            @test (@invokelatest Zygote.gradient(G -> sum(ACE(G, ps, st)[1]), G))[1].r ≈ site_grads(ACE, G, ps, st)
        end
    else
        skipped("gradients of site energies by Zygote", "they need ChainRulesCore, LuxCore and Zygote")
    end

    @testset "etmodels/test_etonebody.jl" begin
        E0 = Dict(:Si => 0.9, :O => -0.3)
        model = one_body(Dict(ChemicalSpecies(z) => e for (z, e) in E0), x -> x.z)
        for sys in structures(30)
            G = interaction_graph(sys, 5.0u"Å")
            expected = [z == 14 ? E0[:Si] : E0[:O] for z in numbers_of(sys)]
            @test expected ≈ first(model(G)) ≈ first(model(G, (;), (;)))
        end
        G = interaction_graph(only(structures(1)), 5.0u"Å")
        @test all(iszero, site_grads(model, G)) && length(site_grads(model, G)) == length(G.ii)   # theirs are empty
        B, J = site_basis_jacobian(model, G)
        @test size(site_basis(model, G)) == size(B) == (8, 0) && size(J) == (length(G.ii), 0)   # theirs (maxneigs, 8, 0)
    end

    @testset "etmodels/test_etpair.jl" begin
        fine, coarse = splinify(PAIR; Nspl = 200), splinify(PAIR; Nspl = 50)
        for s in GOLDEN_O3["structures"]
            @test abs(total(PAIR, golden_system(s)) - s["results"]["pair"]["energy"]) < 1e-6
        end
        for sys in structures(30)
            @test abs(total(PAIR, sys) - total(coarse, sys)) < 1e-2 && abs(total(PAIR, sys) - total(fine, sys)) < 1e-4
        end
        G = interaction_graph(only(structures(1)), RCUT * u"Å")
        B, (B2, J), (B200, J200) = site_basis(PAIR, G), site_basis_jacobian(PAIR, G), site_basis_jacobian(fine, G)
        @test B ≈ B2 && site_basis(fine, G) ≈ B200 && norm(B - B200, Inf) < 1e-4
        _, weights = by_hand(PAIR, G, B)
        g = site_grads(PAIR, G)
        @test all(gradients_by_hand(J, G, weights) .≈ g)
        @test maximum(norm.(g - site_grads(fine, G))) < 1e-3 && maximum(norm.(J - J200)) < 1e-3
    end

    @testset "etmodels/test_splines.jl" begin
        # Radial functions are the basis of a pair model on a dimer.
        fine = splinify(PAIR; Nspl = 200)
        for sys in structures(30)
            # The first edges of each centre, without the other edges.
            G = interaction_graph(sys, RCUT)
            e = G.first[1:(end - 1)]
            dimer = ACERust.graph_from_edges(G.numbers, collect(1:(length(sys) + 1)), G.jj[e], G.r[e]; rcut = RCUT)
            (P1, dP1), (P2, dP2) = site_basis_jacobian(PAIR, dimer), site_basis_jacobian(fine, dimer)
            @test maximum(abs.(P1 - P2) ./ (abs.(P1) + abs.(P2) .+ 1)) < 1e-5 && P2 ≈ site_basis(fine, dimer)
            @test maximum(norm.(dP1 - dP2) ./ (1 .+ abs.(P1) + abs.(P2))) < 1e-3
        end
        @test against_differences(fine, interaction_graph(only(structures(1)), RCUT)) < 1e-6   # a spline has three derivatives
    end

    @testset "et_models/test_et_calculators.jl, phase 1" begin
        calc = ETACEPotential(ACE, (linear = get_linear_parameters(ACE),), (;), RCUT)
        @test calc.model === ACE && calc.rcut == RCUT && calc.co_ps === nothing && cutoff_radius(calc) == RCUT * u"Å"
        @test all(sys -> abs(total(ACE, sys) - bare_energy(sys, calc)) < 1e-10, structures(20))
        for s in GOLDEN_O3["structures"]
            sys, expected = golden_system(s), s["results"]["ace"]
            found = AtomsCalculators.energy_forces_virial(sys, calc)
            @test abs(bare(found.energy) - expected["energy"]) < 1e-6
            @test maximum(norm.(bare.(found.forces) - SVector{3,Float64}.(expected["forces"]))) < 1e-6
            V = reduce(vcat, permutedims.(Vector{Float64}.(expected["virial"])))
            @test norm(bare(found.virial) - V) / (norm(V) + 1e-10) < 1e-6
        end
        sys = only(structures(1))
        E, F, V = AtomsCalculators.potential_energy(sys, calc), AtomsCalculators.forces(sys, calc), AtomsCalculators.virial(sys, calc)
        @test E isa typeof(1.0u"eV") && eltype(F) <: SVector && V isa SMatrix
        together = AtomsCalculators.energy_forces_virial(sys, calc)
        @test together.energy ≈ E && all(bare.(together.forces) .≈ bare.(F)) && bare(together.virial) ≈ bare(V)
    end

    @testset "et_models/test_et_calculators.jl, phase 2" begin
        E0 = (Si = -0.846, O = -2.15)
        model, rng = one_body(Dict(:Si => E0.Si, :O => E0.O), x -> x.z), Xoshiro(1)
        expected(sys) = sum(z == 14 ? E0.Si : E0.O for z in numbers_of(sys))
        sys = random_structure(rng)
        E, _ = model(interaction_graph(sys, RCUT * u"Å"), nothing, (;))
        @test length(E) == length(sys) && sum(E) ≈ expected(sys)
        atoms = WrappedSiteCalculator(model, nothing, (;), 3.0)
        @test cutoff_radius(atoms) == 3.0u"Å" && bare_energy(sys, atoms) ≈ expected(sys)
        @test all(f -> norm(bare(f)) < 1e-14, AtomsCalculators.forces(sys, atoms))
        ps, st = (linear = get_linear_parameters(ACE),), (;)
        calc, same = WrappedSiteCalculator(ACE, ps, st, RCUT), ETACEPotential(ACE, ps, st, RCUT)
        @test cutoff_radius(calc) == RCUT * u"Å" && bare_energy(sys, calc) ≈ bare_energy(sys, same)
        @test maximum(norm.(bare.(AtomsCalculators.forces(sys, calc)) - bare.(AtomsCalculators.forces(sys, same)))) < 1e-10
        stack = StackedCalculator((atoms, calc))
        @test cutoff_radius(stack) == RCUT * u"Å" && length(stack.calcs) == 2
        for sys in structures(10)
            found, alone = AtomsCalculators.energy_forces_virial(sys, stack), AtomsCalculators.energy_forces_virial(sys, calc)
            @test bare(found.energy) ≈ bare_energy(sys, atoms) + bare_energy(sys, calc)
            @test maximum(norm.(bare.(found.forces) - bare.(alone.forces))) < 1e-10
            @test norm(bare(found.virial - alone.virial)) / (norm(bare(alone.virial)) + 1e-10) < 1e-10
        end
        only_atoms = StackedCalculator((atoms,))
        @test bare_energy(sys, only_atoms) ≈ bare_energy(sys, atoms)
        @test all(f -> norm(bare(f)) < 1e-14, AtomsCalculators.forces(sys, only_atoms))
    end

    @testset "et_models/test_et_calculators.jl, phase 5: $name" for (name, calc, n) in (
        ("one-body", WrappedSiteCalculator(ONEBODY, nothing, (;), 3.0), 0),
        ("pair", ETPairPotential(PAIR, nothing, (;), RCUT), 2 * ACERust.n_basis(PAIR)),
        ("many-body", ETACEPotential(ACE, nothing, (;), RCUT), 2 * ACERust.n_basis(ACE)),
        ("stack", StackedCalculator(FULL), 2 * (ACERust.n_basis(PAIR) + ACERust.n_basis(ACE))),
    )
        @test length_basis(calc) == n
        θ, other = get_linear_parameters(calc), randn(Xoshiro(2), n)
        @test get_linear_parameters(set_linear_parameters!(calc, other)) ≈ other
        @test get_linear_parameters(set_linear_parameters!(calc, θ)) ≈ θ
        loadable("ACEfit") && @test (@eval (import ACEfit; ACEfit.basis_size($calc))) == n
        systems = [structures(5); [only(structures(1; oxygen = x, rattle = 0.1)) for x in (0.0, 1.0, 0.5, 0.75)]]
        for sys in systems
            rows = energy_forces_virial_basis(sys, calc)
            @test length(rows.energy) == length(rows.virial) == n && size(rows.forces) == (length(sys), n)
            @test bare.(potential_energy_basis(sys, calc)) ≈ bare.(rows.energy) rtol = 1e-10
            n == 0 && continue
            fixed = calc isa StackedCalculator ? calc.calcs[1] : WrappedSiteCalculator(onebody_model([:Si => 0, :O => 0]))
            found = AtomsCalculators.energy_forces_virial(sys, calc)   # theirs leave E0 = 0 in this place
            @test dot(bare.(rows.energy), θ) + bare_energy(sys, fixed) ≈ bare(found.energy) rtol = 1e-10
            @test maximum(norm.(bare.(rows.forces * θ) - bare.(found.forces))) < 1e-10
            @test maximum(abs, bare(sum(θ .* rows.virial) - found.virial)) < 1e-10
        end
        name in ("pair", "many-body") || continue
        for (k, own) in ((6, 1:(n ÷ 2)), (7, (n ÷ 2 + 1):n))   # silicon alone, oxygen alone
            e = bare.(potential_energy_basis(systems[k], calc))
            @test any(>(1e-12), abs.(e[own])) && all(<(1e-12), abs.(e[setdiff(1:n, own)]))
        end
    end

    if all(loadable, ("ACEfit", "ExtXYZ"))
        @eval import ACEfit, ExtXYZ
        @testset "et_models/test_et_silicon.jl" begin
            data = (@invokelatest ExtXYZ.load(ACERust.repository("benchmark", "data", "Si_test.extxyz")))[1:10]
            full = StackedCalculator(load_model(ACERust.repository("benchmark", "models", "si_fit.json")))
            before = ACERust.compute_errors(data, full)["all"]
            (@invokelatest ACERust.acefit!(data, full; solver = ACEfit.QR(lambda = 1e-3), verbose = false))
            @test ACERust.compute_errors(data, full)["all"].rmse.F < before.rmse.F
            # The many-body part alone, and as a member without the pair potential.
            atoms, pair, many_body = full.calcs
            calc = ETACEPotential(many_body.model, many_body.ps, many_body.st, 6.5)
            nothing_of_pairs = StackedCalculator((set_linear_parameters!(deepcopy(pair), zeros(length_basis(pair))), many_body))
            for sys in data
                a, b = AtomsCalculators.energy_forces_virial(sys, nothing_of_pairs), AtomsCalculators.energy_forces_virial(sys, calc)
                @test abs(bare(a.energy - b.energy)) < 1e-10 && maximum(norm.(bare.(a.forces) - bare.(b.forces))) < 1e-10
                @test maximum(abs, bare(a.virial - b.virial)) < 1e-9
            end
            sys, θ = data[5], get_linear_parameters(calc)
            rows, found = energy_forces_virial_basis(sys, calc), AtomsCalculators.energy_forces_virial(sys, calc)
            @test dot(bare.(rows.energy), θ) ≈ bare(found.energy) rtol = 1e-10
            @test maximum(norm.(bare.(rows.forces * θ) - bare.(found.forces))) < 1e-10
            @test maximum(abs, bare(sum(θ .* rows.virial) - found.virial)) < 1e-9
            E0 = WrappedSiteCalculator(one_body(Dict(:Si => -158.54496821), x -> x.z), nothing, (;), 3.0)
            for sys in data[2:5]
                @test bare_energy(sys, StackedCalculator((E0, calc))) ≈ bare_energy(sys, E0) + bare_energy(sys, calc) rtol = 1e-10
            end
        end
    else
        skipped("ETModels' test of silicon", "it needs ACEfit and ExtXYZ")
    end
end
