# Live comparison with ACEpotentials.
include("common.jl")
using ACEpotentials, ACEfit, AtomsBuilder, LuxCore, Random
const Models, ETM = ACEpotentials.Models, ACEpotentials.ETModels

function ace_model(elements, order, Ytype; options...)
    rng = MersenneTwister(order)
    cutoffs = (x -> (rin = x.rin, r0 = x.r0, rcut = 5.5)).(Models._default_rin0cuts(elements))
    model = Models.ace_model(;
        elements, order, Ytype, level = Models.TotalDegree(), max_level = 8, maxl = 4, pair_maxn = 8, rin0cuts = cutoffs,
        init_WB = :glorot_normal, init_Wpair = :glorot_normal, pair_learnable = true, rng,
        E0s = Dict(e => -1.5k for (k, e) in enumerate(elements)), options...,
    )
    return model, LuxCore.setup(rng, model)...
end

function structure(elements)
    Random.seed!(7)
    sys = AtomsBuilder.bulk(:Si) * (2, 2, 1)
    AtomsBuilder.rattle!(sys, 0.1u"Å")
    length(elements) > 1 && AtomsBuilder.randz!(sys, [e => 1 / length(elements) for e in elements])
    return sys
end

function agree(found, expected, tol)
    @test found.energy ≈ expected.energy rtol = tol
    @test difference(bare.(found.forces), bare.(expected.forces)) < tol
    @test difference(bare(found.virial), bare(expected.virial)) < tol
end

efv(sys, calc) = AtomsCalculators.energy_forces_virial(sys, calc)

# One to three species, orders 2 to 4, solid and spherical harmonics.
const CASES = (
    ((:Si,), 3, :solid), ((:Si, :O), 2, :spherical), ((:Si,), 4, :spherical), ((:Si, :O), 3, :solid), ((:Fe, :Ni, :Cr), 3, :solid),
    ((:Fe, :Ni, :Cr), 4, :solid),
)

@testset "ACEpotentials: $elements, order $order, $Y" for (elements, order, Y) in CASES
    model, ps, st = ace_model(elements, order, Y)
    sys = structure(elements)
    theirs = ETM.convert2et_full(model, ps, st)
    calc = ACERust.convert2et_full(model, ps, st)
    expected = efv(sys, theirs)
    agree(efv(sys, calc), expected, 1e-10)
    agree(efv(sys, ACERust.StackedCalculator(theirs)), expected, 1e-10)
    agree(efv(sys, ACERust.convert2et_full(ACEpotentials.ACEPotential(model, ps, st))), expected, 1e-10)
    for (mine, their) in zip(calc.calcs, theirs.calcs)
        agree(efv(sys, mine), efv(sys, their), 1e-10)
        agree(efv(sys, ACERust.WrappedSiteCalculator(their.model, their.ps, their.st, their.rcut)), efv(sys, their), 1e-10)
        @test ACERust.length_basis(mine) == Models.length_basis(their)
    end
    @test ACERust.get_linear_parameters(calc) == ETM.get_linear_parameters(theirs)

    rows, their_rows = ACERust.energy_forces_virial_basis(sys, calc), Models.energy_forces_virial_basis(sys, theirs)
    @test difference(bare.(rows.energy), bare.(their_rows.energy)) < 1e-10
    @test difference(bare.(rows.forces), bare.(their_rows.forces)) < 1e-10
    @test difference(bare.(rows.virial), bare.(their_rows.virial)) < 1e-10

    @testset "splines" begin
        _, pair, ace = theirs.calcs
        for their in (pair, ace)
            layer = ETM.splinify(their.model, their.ps, their.st; Nspl = 40)
            sps, sst = LuxCore.setup(MersenneTwister(1), layer)
            sps.readout.W .= their.ps.readout.W
            splined = ETM.WrappedSiteCalculator(layer, sps, sst, 5.5)
            agree(efv(sys, ACERust.WrappedSiteCalculator(splined; radial = :exact)), efv(sys, splined), 1e-10)
        end
    end

    @testset "their graph" begin
        G = ETM.ET.Atoms.interaction_graph(sys, 5.5u"Å")
        mine, their = calc.calcs[3].model, theirs.calcs[3]
        @test difference(mine(G)[1], vec(their.model(G, their.ps, their.st)[1])) < 1e-10
        g = ETM.site_grads(their.model, G, their.ps, their.st)
        @test difference(ACERust.site_grads(mine, G), [e.𝐫 for e in g.edge_data]) < 1e-10
        @test difference(ACERust.site_basis(mine, G), ETM.site_basis(their.model, G, their.ps, their.st)) < 1e-10
    end

    elements == (:Si,) && order == 3 && @testset "their data" begin
        labelled = FlexibleSystem(sys; energy = -1.0, virial = Matrix(bare(expected.virial)))
        labelled = FlexibleSystem([Atom(a; force = bare(expected.forces[i])) for (i, a) in enumerate(labelled)];
                                  cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), energy = -1.0, virial = Matrix(bare(expected.virial)))
        data = [ACEpotentials.AtomsData(labelled; energy_key = "energy", force_key = "force", virial_key = "virial", v_ref = model.Vref)]
        A, Y, W = ACEfit.assemble(data, calc)
        B, Z, _ = ACEfit.assemble(data, theirs)
        @test difference(A, B) < 1e-10 && ACEfit.basis_size(calc) == size(A, 2)
        own = ACERust.AtomsData(labelled; energy = :energy, forces = :force, virial = :virial, reference = calc.calcs[1], weights = (E = 1, F = 1, V = 1))
        C, X, U = ACEfit.assemble([own], calc)
        # Their function with their keys, and their weights of 30 for energies.
        solver = ACEfit.QR(lambda = 1e-3)
        fitted = deepcopy(calc)
        @test ACEpotentials.acefit!([labelled], fitted; solver)["all"].frames == 1
        heavy = [k == 1 ? 30 : 1 for k in eachindex(W)] .* W
        @test ACERust.get_linear_parameters(fitted) ≈ ACEfit.solve(solver, heavy .* A, heavy .* Y)["C"] rtol = 1e-8
        @test difference(C, A) < 1e-10 && U ≈ W && X[2:end] ≈ Y[2:end]
    end
end

@testset "reference potentials are not dropped" begin
    model, ps, st = ace_model((:Si,), 2, :solid; ZBL = true)
    @test_throws "only one-body energies" ACERust.convert2et_full(model, ps, st)
    @test ACERust.convert2et(model, ps, st) isa ETACE
end
