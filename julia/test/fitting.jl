include("common.jl")

@testset "fitting" begin
    sys = silica()
    stack = StackedCalculator(sio_o2())
    θ = get_linear_parameters(stack)
    rows = energy_forces_virial_basis(sys, stack)
    one = AtomsCalculators.potential_energy(sys, stack.calcs[1])
    found = AtomsCalculators.energy_forces_virial(sys, stack)
    @test length(θ) == length_basis(stack) == length(rows.energy) == length(rows.virial)
    @test size(rows.forces) == (4, length(θ)) && eltype(rows.forces) <: SVector{3}
    @test dot(rows.energy, θ) + one ≈ found.energy
    @test difference(bare.(rows.forces * θ), bare.(found.forces)) < 1e-11
    @test difference(bare(sum(θ .* rows.virial)), bare(found.virial)) < 1e-11

    # Members out of order: columns go where the members are.
    swapped = StackedCalculator((stack.calcs[3], StackedCalculator((stack.calcs[2],)), stack.calcs[1]))
    n = length_basis(stack.calcs[2])
    @test difference(bare.(energy_forces_virial_basis(sys, swapped).forces), bare.(rows.forces[:, [(n + 1):length(θ); 1:n]])) < 1e-14

    set_linear_parameters!(stack, 2θ)
    @test get_linear_parameters(stack) == 2θ
    @test AtomsCalculators.potential_energy(sys, stack) ≈ one + 2 * dot(rows.energy, θ)

    # A fit to what a model says gives its parameters' predictions back.
    truth = StackedCalculator(sio_o2())
    onebody = truth.calcs[1]
    data = map(0:9) do k
        s = silica(; scale = 0.95 + 0.013k)
        (; energy, forces, virial) = AtomsCalculators.energy_forces_virial(s, truth)
        ACERust.AtomsData(s; energy, forces, virial, weights = (E = 4, F = 1, V = 0.5), reference = onebody)
    end
    A, Y, W = ACERust.assemble(data, truth)
    @test size(A) == (10 * (1 + 12 + 6), length_basis(truth)) && length(Y) == length(W) == size(A, 1)
    @test A * get_linear_parameters(truth) ≈ Y
    @test W[1] == 4 / 2 && W[2] == 1 && W[19] == 0.5 / 2
    @test A[20:38, :] == ACERust.feature_matrix(data[2], truth)
    d = ACERust.AtomsData(sys; energy = 1.0)
    @test ACERust.count_observations(d) == 1 && ACERust.target_vector(d) == [1.0] && size(ACERust.feature_matrix(d, truth)) == (1, length(θ))
    @test_throws DimensionMismatch ACERust.AtomsData(sys; forces = [[0, 0, 0]])
end

@testset "committee" begin
    sys, stack = silica(), StackedCalculator(sio_o2())
    θ = get_linear_parameters(stack)
    sets = [θ, 1.2θ, 0.7θ, -θ]
    expected = map(sets) do set
        AtomsCalculators.energy_forces_virial(sys, set_linear_parameters!(stack, set))
    end
    set_linear_parameters!(stack, θ)
    @test_throws "no committee" committee_energies(sys, stack)
    for calc in (stack, WrappedSiteCalculator(ACERust.present_model(stack)))
        set_committee!(calc, sets)
        (; energies, forces, virials) = committee_energy_forces_virial(sys, calc)
        for m in 1:4
            @test energies[m] ≈ expected[m].energy
            @test difference(bare.(forces[:, m]), bare.(expected[m].forces)) < 1e-11
            @test difference(bare(virials[m]), bare(expected[m].virial)) < 1e-11
        end
        (; mean, std) = committee_mean_std(sys, calc)
        e = [x.energy for x in expected]
        @test mean.energy ≈ sum(e) / 4 && std.energy ≈ sqrt(sum(abs2, e .- mean.energy) / 3)
        @test std.forces[2][3] ≈ sqrt(sum(x -> abs2(x.forces[2][3] - mean.forces[2][3]), expected) / 3)
        @test AtomsCalculators.potential_energy(sys, calc) ≈ expected[1].energy
        @test committee_energies(sys, deepcopy(calc)) ≈ energies
        set_committee!(calc, nothing)
        @test_throws "no committee" committee_energies(sys, calc)
    end
    @test_throws DimensionMismatch set_committee!(stack, [θ[2:end]])
end

@testset "updates that fail change nothing" begin
    sys = silica()
    stack = StackedCalculator((StackedCalculator(sio_o2()), WrappedSiteCalculator(sio_o2())))
    θ, p = get_linear_parameters(stack), length_basis(stack)
    set_committee!(stack, [θ 2θ])
    state() = (get_linear_parameters(stack), AtomsCalculators.potential_energy(sys, stack), committee_energies(sys, stack))
    before = state()
    ends = cumsum(length_basis.(ACERust.ours(stack)))
    for k in (1, ends[1], ends[1] + 1, p)   # in each member
        @test_throws "linear parameter $k is not finite" set_linear_parameters!(stack, [i == k ? NaN : 3.0 for i in 1:p])
        @test state() == before
        spoilt = [i == k && m == 2 ? Inf : 3.0 for i in 1:p, m in 1:2]
        @test_throws "committee member 2: linear parameter $k is not finite" set_committee!(stack, spoilt)
        @test state() == before
    end
    @test_throws "expected $p linear parameters" set_linear_parameters!(stack, θ[2:end])
    @test_throws DimensionMismatch set_committee!(stack, [θ, θ[2:end]])
    @test_throws InexactError set_linear_parameters!(stack, [i == p ? 1.0im : 3.0 + 0im for i in 1:p])
    @test state() == before
end

@testset "keywords that are none are refused" begin
    sys, calc = silica(), StackedCalculator(sio_o2())
    set_committee!(calc, [get_linear_parameters(calc)])
    data = [ACERust.AtomsData(sys; energy = 1.0)]
    for call in (
        (; o...) -> committee_energies(sys, calc; o...),
        (; o...) -> committee_mean_std(sys, calc; o...),
        (; o...) -> potential_energy_basis(sys, calc; o...),
        (; o...) -> energy_forces_virial_basis(sys, calc; o...),
        (; o...) -> ACERust.feature_matrix(data[1], calc; o...),
        (; o...) -> ACERust.assemble(data, calc; o...),
        (; o...) -> ACERust.compute_errors(data, calc; o...),
    )
        @test_throws "no keyword nthread;" call(; nthread = 1)
        @test call(; nthreads = 1, precision = Float64) !== nothing
    end
    @test_throws MethodError ACERust.target_vector(data[1]; nthreads = 1)
    # AtomsCalculators has calculators ignore what they do not know.
    @test AtomsCalculators.potential_energy(sys, calc; nthread = 1) == AtomsCalculators.potential_energy(sys, calc)
end

@testset "data by their keys" begin
    truth = StackedCalculator(sio_o2())
    systems = labelled(truth)
    data = ACERust.atoms_data(systems, truth; weights = Dict("default" => (E = 4, F = 1, V = 1), "strained" => Dict("E" => 2, "F" => 3, "V" => 1)))
    @test ACERust.count_observations.(data) == repeat([13, 19], 5)
    @test [d.weights.E for d in data] == repeat([4, 2], 5) && data[2].weights.F == 3
    @test [d.group for d in data] == repeat(["bulk", "strained"], 5)
    # The reference is what no parameter changes.
    onebody = AtomsCalculators.potential_energy(systems[1], truth.calcs[1])
    @test ACERust.target_vector(data[1])[1] ≈ systems[1][:energy] - bare(onebody)
    @test_throws "system 3 has none of" ACERust.atoms_data([systems[1:2]; silica()], truth)
    @test_throws "no weights for the group \"bulk\"" ACERust.atoms_data(systems, truth; weights = Dict("strained" => (E = 1, F = 1, V = 1)))
    @test_throws "no :stress" ACERust.AtomsData(systems[1]; energy = :stress)
    @test_throws "no system has :misspelt; the first has :" ACERust.atoms_data(systems, truth; energy = :misspelt)
    @test_throws "no system has :misspelt" ACERust.compute_errors(systems, truth; virial = :misspelt)
    @test_throws "a Symbol or nothing, not \"energy\"" ACERust.atoms_data(systems, truth; energy = "energy")
    @test ACERust.count_observations.(ACERust.atoms_data(systems, truth; energy = nothing)) == repeat([12, 18], 5)
end

@testset "errors by group" begin
    truth = StackedCalculator(sio_o2())
    systems = labelled(truth)
    exact = ACERust.compute_errors(systems, truth)
    @test keys(exact) == ["bulk", "strained", "all"] && exact["all"].frames == 10 && exact["bulk"].atoms == 20
    @test exact["all"].rmse.E < 1e-12 && exact["all"].rmse.F < 1e-12 && exact["strained"].mae.V < 1e-12
    @test isnan(exact["bulk"].rmse.V) && occursin("–", sprint(show, MIME("text/plain"), exact))
    @test_throws KeyError exact["surface"]
    off = StackedCalculator((truth.calcs..., WrappedSiteCalculator(onebody_model([:Si => 0.25, :O => 0.75]))))
    shifted = ACERust.compute_errors(systems, off)
    @test shifted["bulk"].rmse.E ≈ 0.5 && shifted["all"].mae.E ≈ 0.5 && shifted["all"].rmse.F < 1e-12
    @test occursin(r"all +10 +40 +500\.00 +500\.00 +0\.0000", sprint(show, MIME("text/plain"), shifted))
end
