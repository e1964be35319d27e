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

@testset "labels and priors" begin
    model = sio_o2()
    stack, single = StackedCalculator(model), WrappedSiteCalculator(model)
    labels = basis_labels(stack)
    @test labels == basis_labels(single) == basis_labels(model) && length(labels) == length_basis(stack)
    n = [length_basis(c) for c in stack.calcs]
    @test all(label -> label.part === :pair && label.l == [0] && length(label.n) == 1, labels[1:n[2]])
    @test [only(label.n) for label in labels[1:n[2]]] == repeat(1:(n[2] ÷ 2), 2)
    @test all(label -> label.part === :ace && 1 <= length(label.n) == length(label.l) <= 2, labels[(n[2] + 1):end])
    @test [label.species for label in labels] == [fill(:Si, n[2] ÷ 2); fill(:O, n[2] ÷ 2); fill(:Si, n[3] ÷ 2); fill(:O, n[3] ÷ 2)]
    # The formulas of ACEpotentials, written out.
    algebraic(label; p = 4, wl = 2 / 3, wn = 1) = sum((label.l ./ wl) .^ p .+ (label.n ./ wn) .^ p)
    exponential(label; wl = 2 / 3, wn = 1) = exp(sum(label.l ./ wl .+ label.n ./ wn))
    gaussian(label; wl = 1 / sqrt(2), wn = 1 / sqrt(2)) = exp(sum((label.l ./ wl) .^ 2 .+ (label.n ./ wn) .^ 2))
    swapped = StackedCalculator((stack.calcs[3], StackedCalculator((stack.calcs[2],))))
    for calc in (stack, single, model, swapped)
        Γ(args...; options...) = smoothness_prior(calc, args...; options...).diag
        of(f; options...) = [f(label; options...) for label in basis_labels(calc)]
        @test Γ() ≈ of(algebraic) && Γ(; p = 2, wl = 0.5, wn = 3) ≈ of(algebraic; p = 2, wl = 0.5, wn = 3)
        @test Γ(:exponential) ≈ of(exponential) && Γ(:exponential; wl = 2) ≈ of(exponential; wl = 2)
        @test Γ(:gaussian; wl = 4, wn = 5) ≈ of(gaussian; wl = 4, wn = 5)
    end
    @test ACERust.upstream_order(stack) == [(n[2] + 1):length(labels); 1:n[2]]
    @test ACERust.upstream_order(swapped) == 1:length(labels)
    @test_throws "not :gauss" smoothness_prior(stack, :gauss)
    @test_throws "no keyword p; the gaussian prior takes wl, wn" smoothness_prior(stack, :gaussian; p = 2)
    @test_throws "wl is 0, not above 0" smoothness_prior(stack; wl = 0)
    @test_throws "too small for this basis" smoothness_prior(stack, :gaussian; wn = 0.01)
end

"A calculator of another package."
struct Foreign end

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
        for (f, name) in ((AtomsCalculators.potential_energy, :energy), (AtomsCalculators.forces, :forces), (AtomsCalculators.virial, :virial))
            value, members = @committee f(sys, calc; nthreads = 1)
            @test value == f(sys, calc) && length(members) == 4
            @test all(difference(bare.(members[m]), bare.(expected[m][name])) < 1e-11 for m in 1:4)
        end
        @test_throws "energy_forces has no committee" @committee AtomsCalculators.energy_forces(sys, calc)
        @test committee_energies(sys, deepcopy(calc)) ≈ energies
        set_committee!(calc, nothing)
        @test_throws "no committee" committee_energies(sys, calc)
    end
    @test_throws DimensionMismatch set_committee!(stack, [θ[2:end]])
    # A stack has a committee where all of its calculators have one of the same size.
    first_part, others... = stack.calcs
    set_committee!(first_part, [get_linear_parameters(first_part)])
    @test_throws "no committee" committee_energies(sys, stack)
    foreach(calc -> set_committee!(calc, [get_linear_parameters(calc) for _ in 1:2]), others)
    @test ACERust.n_members(stack) == 0
    @test_throws "no committee" committee_energies(sys, stack)
    set_committee!(first_part, [get_linear_parameters(first_part) for _ in 1:2])
    @test committee_energies(sys, stack) ≈ fill(AtomsCalculators.potential_energy(sys, stack), 2)
    @test ACERust.n_members(StackedCalculator((Foreign(),))) == 0
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
    @test_throws "linear parameter $p is 0.0 + 1.0im, not a real number" set_linear_parameters!(stack, [i == p ? 1.0im : 3.0 for i in 1:p])
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

@testset "stresses, and counts by group" begin
    truth, sys = StackedCalculator(sio_o2()), silica()
    V = bare(AtomsCalculators.virial(sys, truth))
    σ = -V / ACERust.volume(sys)
    voigt = [σ[1, 1], σ[2, 2], σ[3, 3], σ[2, 3], σ[1, 3], σ[1, 2]]
    with(; extra...) = FlexibleSystem([Atom(a) for a in sys]; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), extra...)
    for stress in (Matrix(σ), voigt, vec(Matrix(σ)), [σ[:, k] for k in 1:3], uconvert.(u"GPa", σ * u"eV/Å^3"))
        d = only(ACERust.atoms_data([with(; stress)], truth))
        @test d.virial ≈ V && d.is_stress && ACERust.count_observations(d) == 6
    end
    @test ACERust.compute_errors([with(; stress = voigt)], truth)["all"].rmse.V < 1e-12
    both = ACERust.AtomsData(with(; stress = voigt, virial = 2V); virial = :virial, stress = :stress)
    @test both.virial ≈ 2V && !both.is_stress
    @test_throws "system 1 has none of" ACERust.atoms_data([with(; stress = voigt)], truth; stress = nothing)
    @test_throws "periodic in all directions" ACERust.AtomsData(molecule(); stress = voigt)
    @test_throws "system 2: a stress of 4 numbers" ACERust.atoms_data([with(; stress = voigt), with(; stress = zeros(4))], truth)
    @test_throws "the stress is not finite" ACERust.AtomsData(sys; stress = fill(NaN, 6))
    @test_throws "the force on atom 3 is not finite" ACERust.AtomsData(sys; forces = [k == 3 ? fill(NaN, 3) : zeros(3) for k in 1:4])

    data = [ACERust.atoms_data(labelled(truth), truth); ACERust.AtomsData(with(; stress = voigt, config_type = "bulk"); stress = :stress)]
    counts = ACERust.observations(data)
    @test keys(counts) == ["bulk", "strained", "all"]
    @test counts["bulk"] == (frames = 6, atoms = 24, energies = 5, forces = 20, virials = 0, stresses = 1)
    @test counts["all"] == (frames = 11, atoms = 44, energies = 10, forces = 40, virials = 5, stresses = 1)
    @test occursin(r"group +frames +atoms +energies +forces +virials +stresses", sprint(show, MIME("text/plain"), counts))
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
