# Fits through ACEfit.
include("common.jl")
import ACEfit

"A solver that returns a committee too."
struct Doubling end
ACEfit.solve(::Doubling, A, y) = (θ = ACEfit.solve(ACEfit.QR(), A, y)["C"]; Dict{String,Any}("C" => θ, "committee" => [θ 2θ]))

"A solver whose committee is not one of numbers."
struct Spoiling end
ACEfit.solve(::Spoiling, A, y) = Dict{String,Any}("C" => zeros(size(A, 2)), "committee" => fill(NaN, size(A, 2), 2))

"A solver that looks at a validation set."
struct Validating end
const VALIDATED = [0, 0]
ACEfit.solve(::Validating, A, y, Av, yv) = (VALIDATED .= size(Av); Dict{String,Any}("C" => zeros(size(A, 2))))

@testset "fits through ACEfit" begin
    truth = StackedCalculator(sio_o2())
    systems = labelled(truth)
    data = ACERust.atoms_data(systems, truth; weights = (E = 5, F = 1, V = 0.5))
    A, Y, W = ACEfit.assemble(data, truth)
    @test (A, Y, W) == ACERust.assemble(data, truth; nthreads = 1)
    @test A == reduce(vcat, ACEfit.feature_matrix.(data, Ref(truth))) && Y == reduce(vcat, ACEfit.target_vector.(data))
    @test W == reduce(vcat, ACEfit.weight_vector.(data)) && ACEfit.basis_size(truth) == size(A, 2)
    @test size(A, 1) == sum(ACEfit.count_observations, data)

    # More rows than parameters, but structures so alike that some directions are hardly seen: predictions come back, whatever they do.
    solver = ACEfit.QR(lambda = 1e-9)
    fitted = set_linear_parameters!(deepcopy(truth), zeros(length_basis(truth)))
    @test ACERust.compute_errors(systems, fitted)["all"].rmse.E > 0.1
    errors = ACERust.acefit!(systems, fitted; solver, prior = I, weights = (E = 5, F = 1, V = 0.5))
    @test errors["all"].rmse.E < 1e-7 && errors["all"].rmse.F < 1e-6 && errors["strained"].rmse.V < 1e-6
    @test errors["all"].frames == 10

    # The same least-squares problem, in other variables.
    P = Diagonal(1 .+ 0.1 * (1:length_basis(truth)))
    A .*= W
    ACERust.acefit!(data, fitted; solver, prior = P, verbose = false)
    expected(P) = P \ ACEfit.solve(solver, A / P, W .* Y)["C"]
    @test get_linear_parameters(fitted) ≈ expected(P)
    # Smoothness, in our order; the default is upstream's.
    for (options, Γ) in ((;) => smoothness_prior(truth), (; smoothness = 2) => smoothness_prior(truth; p = 2))
        ACERust.acefit!(data, fitted; solver, verbose = false, options...)
        @test get_linear_parameters(fitted) ≈ expected(Γ)
    end
    order = ACERust.upstream_order(truth)
    theirs = Diagonal(smoothness_prior(truth).diag[order])
    @test ACERust.from_upstream(truth, theirs) == smoothness_prior(truth)
    @test_throws "in the order of ACEpotentials, many-body parameters first" ACERust.acefit!(data, fitted; solver, prior = theirs)
    @test_throws "a prior of size (3, 3) for" ACERust.acefit!(data, fitted; solver, prior = Diagonal(ones(3)))
    # A validation set goes to the solvers that take one.
    ACERust.acefit!(systems, fitted; solver = Validating(), validation_set = systems[1:3], verbose = false)
    @test length(fitted |> get_linear_parameters) == VALIDATED[2] && VALIDATED[1] == sum(ACEfit.count_observations, data[1:3])

    ACERust.acefit!(data, fitted; solver = Doubling(), verbose = false)
    @test ACERust.n_members(fitted) == 2
    before = get_linear_parameters(fitted)
    @test_throws "committee member 1: linear parameter 1 is not finite" ACERust.acefit!(data, fitted; solver = Spoiling())
    @test_throws "no linear parameters to fit in" ACERust.acefit!(data, truth.calcs[1]; solver)
    @test size(ACERust.assemble(data, truth.calcs[1])[1]) == (size(A, 1), 0)
    @test_throws "no keyword smoothnes;" ACERust.acefit!(systems, fitted; solver, smoothnes = 4)
    @test_throws "no observations to fit to in 1 systems" ACERust.acefit!([ACERust.AtomsData(silica())], fitted; solver)
    @test_throws "no systems" ACERust.acefit!(typeof(silica())[], fitted; solver)
    @test_throws "no system has :misspelt" ACERust.acefit!(systems, fitted; solver, energy = :misspelt)
    @test get_linear_parameters(fitted) == before
    E = committee_energies(systems[1], fitted)
    @test E[1] ≈ AtomsCalculators.potential_energy(systems[1], fitted)
    said = mktemp() do path, file
        redirect_stdout(() -> ACERust.acefit!(data, fitted; solver), file)
        read(seekstart(file), String)
    end
    @test said == sprint(show, MIME("text/plain"), ACERust.observations(data)) * '\n' && occursin(r"strained +5 +20 +5 +20 +5 +0\n", said)
    @test ACERust.n_members(fitted) == 0
end

"Whether ACEfit's solver works by itself; it does not with every version of Optim."
solves(solver) =
    try
        haskey(ACEfit.solve(solver, [1.0 0; 0 2; 1 1; 3 1], [1.0, 2, 2.1, 4]), "C")
    catch
        false
    end

if solves(ACEfit.BLR(verbose = false))
    @testset "Bayesian linear regression, and its committee" begin
        truth = StackedCalculator(sio_o2())
        systems = labelled(truth)
        fitted = set_linear_parameters!(deepcopy(truth), zeros(length_basis(truth)))
        options = (; weights = (E = 5, F = 1, V = 0.5), verbose = false)
        @test ACERust.acefit!(systems, fitted; solver = ACEfit.BLR(verbose = false), options...)["all"].rmse.F < 1e-3
        @test ACERust.n_members(fitted) == 0
        solver = ACEfit.BLR(factorization = :svd, committee_size = 3, verbose = false)
        @test ACERust.acefit!(systems, fitted; solver, options...)["all"].rmse.F < 1e-3
        @test ACERust.n_members(fitted) == 3
    end
else
    skipped("fits by Bayesian linear regression", "ACEfit.BLR itself fails with the Optim of this environment")
end
