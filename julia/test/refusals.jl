# Bad input is one error that names the culprit, before the library sees it.
include("common.jl")
using ACERust.Ops: Operation, backward, double_backward, forward!

refused(words, call) = @test_throws words call()
energy(sys, calc; options...) = AtomsCalculators.potential_energy(sys, calc; options...)

@testset "settings and options of calls" begin
    model, sys = sio_o2(), silica()
    for (words, settings) in (
        ("nthreads is 0 (all) or more, not -1", (nthreads = -1,)),
        ("nthreads is 0 (all) or more, not 1000000000000000000000", (nthreads = big(10)^21,)),
        ("nthreads is a whole number, not 2.5", (nthreads = 2.5,)),
        ("nthreads is a whole number, not \"2\"", (nthreads = "2",)),
        ("precision is Float64, Float32, :mixed or :f24_radial, not 32", (precision = 32,)),
    )
        for calc in (WrappedSiteCalculator(model), StackedCalculator(model))
            refused(words, () -> energy(sys, calc; settings...))
            ps = AtomsCalculators.get_parameters(calc)
            refused(words, () -> AtomsCalculators.calculate(AtomsCalculators.Forces(), sys, calc, ps; settings...))
            refused(words, () -> potential_energy_basis(sys, calc; settings...))
        end
        refused(words, () -> WrappedSiteCalculator(model; settings...))
    end
    for (words, settings) in (
        ("radial is :default, :exact or a tolerance, not \"exact\"", (radial = "exact",)),
        ("the tolerance of radial tables is above 0 and finite, not NaN", (radial = NaN,)),
        ("the tolerance of radial tables is above 0 and finite, not Inf", (radial = Inf,)),
        ("the skin is 0 or more and finite, not NaN", (skin = NaN,)),
        ("the skin is 0 or more and finite, not -1", (skin = -1,)),
        ("the skin is \"a\", not a number", (skin = "a",)),
        ("there is no keyword threads; calculators take nthreads", (threads = 1,)),
        ("there is no CUDA device 1000000000000", (device = 10^12,)),
        ("device is :cpu, :cuda or the index", (device = "cuda",)),
    )
        refused(words, () -> WrappedSiteCalculator(model; settings...))
    end
    @test_throws "n_threads: 1000000000000 is more than" energy(sys, WrappedSiteCalculator(model; nthreads = 10^12))
    @test WrappedSiteCalculator(model; device = Int32(0)).settings.device === 0 && WrappedSiteCalculator(model; skin = 0.1u"nm").settings.skin == 1
    for cutoff in (5u"eV", "5", nothing)
        @test_throws "the cutoff is $(repr(cutoff)), not a number" WrappedSiteCalculator(model, nothing, nothing, cutoff)
        @test_throws "the cutoff is $(repr(cutoff)), not a number" interaction_graph(sys, cutoff)
    end
    @test_throws "less than" WrappedSiteCalculator(model, nothing, nothing, NaN)
    @test_throws "Nspl is -1, not a whole number from 0" splinify(model; Nspl = -1)
    @test_throws "Nspl is 2.5, not a whole number" splinify(model; Nspl = 2.5)
    @test_throws "p is \"a\", not a number" smoothness_prior(model; p = "a")
    @test_throws "\"Si\" is no element" onebody_model(["Si" => 1.0])
    @test_throws "not of a StackedCalculator" ACERust.Training(StackedCalculator(model))
    @test energy(sys, StackedCalculator([WrappedSiteCalculator(model)])) == energy(sys, StackedCalculator((WrappedSiteCalculator(model),)))
    for energies in (3.0, nothing, (Si = 1.0,))
        @test_throws "one-body energies are pairs" onebody_model(energies)
    end
    @test_throws "an energy is 1.0 Å, not a number" onebody_model([:Si => 1.0u"Å"])
    flat = (SVector(5.0, 0.0, 0.0)u"Å", SVector(0.0, 5.0, 0.0)u"Å", SVector(5.0, 5.0, 0.0)u"Å")
    @test_throws "cell row 3 [5.0, 5.0, 0.0] is periodic but linearly dependent" energy(periodic_system([:Si => zeros(3)u"Å"], flat), WrappedSiteCalculator(model))
    @test ACERust.set_memory_limit!(big(10)^30) == big(10)^30 && ACERust.set_memory_limit!(1e12) == 1e12 && ACERust.set_memory_limit!(nothing) === nothing
end

@testset "parameters" begin
    calc, sys = WrappedSiteCalculator(sio_o2()), silica()
    n = length_basis(calc)
    for (words, θ) in (
        ("linear parameter 1 is 0 + 1im, not a real number", fill(1im, n)),
        ("linear parameter 2 is missing, not a real number", [k == 2 ? missing : 1.0 for k in 1:n]),
        ("linear parameter 1 is \"a\", not a real number", fill("a", n)),
    )
        refused(words, () -> set_linear_parameters!(calc, θ))
        refused(words, () -> AtomsCalculators.calculate(AtomsCalculators.Energy(), sys, calc, (linear = θ,)))
        refused("committee member 2: " * words, () -> set_committee!(calc, reshape(Any[zeros(n)..., θ...], n, 2)))
    end
    for θ in (3.0, "abc", zeros(n, 1), nothing)
        @test_throws "a vector with each linear parameter was expected, not a $(typeof(θ))" AtomsCalculators.set_parameters!(calc, (linear = θ,))
    end
    @test get_linear_parameters(set_linear_parameters!(calc, Any[k for k in 1:n])) == 1:n
    @test_throws "committee members have different lengths: $n, 3" set_committee!(calc, [zeros(n), zeros(3)])
    @test calc.members === nothing
end

@testset "functions of arrays" begin
    calc, sys = WrappedSiteCalculator(sio_o2()), silica()
    (; positions, cell) = ACERust.variables(sys, calc)
    for X in (vec(positions), positions', 3)
        @test_throws "positions of size $(size(X)) for 4 atoms, not (3, 4)" ACERust.energy(calc, sys, X, cell)
    end
    @test_throws "linear parameter 2 is not finite" site_energies(calc.model, interaction_graph(sys, 5.5), (linear = [k == 2 ? NaN : 1.0 for k in 1:length_basis(calc)],))
end

@testset "room for forces" begin
    calc, sys = WrappedSiteCalculator(sio_o2()), isolated_system([:Si => zeros(3)u"Å"])
    room = fill(zero(SVector{3,ACERust.FORCE}), 4)
    # Forces of one atom fit into room for any number, by the rules of broadcasting.
    for f in (AtomsCalculators.forces!, AtomsCalculators.energy_forces!, AtomsCalculators.energy_forces_virial!)
        @test_throws "room for 4 forces, of 1 atoms" f(room, sys, calc)
    end
    @test all(iszero, room)
end

@testset "graphs of edges" begin
    graph(; numbers = [14, 14], first = [1, 2], jj = [2], r = [[1.0, 0.0, 0.0]], options...) = ACERust.graph_from_edges(numbers, first, jj, r; options...)
    @test ACERust.n_edges(graph()) == 1 && graph(; rcut = 0.5u"nm").rcut == 5
    @test_throws "jj[1] is 0, not a whole number from 1" graph(; jj = [0])
    @test_throws "first[1] is 0, not a whole number from 1" graph(; first = [0, 1])
    @test_throws "first is empty" graph(; first = Int[], jj = Int[], r = [])
    @test_throws "numbers[2] is 1000000000000, not a whole number from 1" graph(; numbers = [14, 10^12])
    @test_throws "r[1] has 2 components" graph(; r = [[1.0, 0.0]])
    for rcut in (NaN, -Inf, -1)
        @test_throws "cutoff" graph(; rcut)
    end
end

@testset "observations" begin
    sys = silica()
    data(; options...) = ACERust.AtomsData(sys; options...)
    for (words, options) in (
        ("the energy is \"a\", not a number", (energy = "a",)),
        ("the energy is missing, not a number", (energy = missing,)),
        ("the energy is 1 Å, not a number", (energy = 1u"Å",)),
        ("the force on atom 1 has 2 components", (forces = [zeros(2) for _ in 1:4],)),
        ("the force on atom 3 is nothing, not a number", (forces = [[0.0, 0.0, k == 3 ? nothing : 1.0] for k in 1:4],)),
        ("the virial is 0.0 Å, not a number", (virial = zeros(3, 3)u"Å",)),
        ("the virial is 3, not a matrix", (virial = 3,)),
        ("the virial is missing, not a number", (virial = fill(missing, 6),)),
        ("there is no keyword energi; observations are energy", (energi = 1,)),
        ("weights are (E = …, F = …, V = …), or a dictionary of such by group, not 3", (energy = 0, weights = 3)),
        ("the weight F of the group \"default\" is nothing", (energy = 0, weights = (E = 1, V = 1))),
        ("the weight E of the group \"default\" is NaN", (energy = 0, weights = (E = NaN, F = 1, V = 1))),
        ("the weight V of the group \"default\" is -1", (energy = 0, weights = (E = 1, F = 1, V = -1))),
        ("the weight F of the group \"default\" is nothing", (energy = 0, weights = Dict("default" => Dict("E" => 1, "V" => 1)))),
        ("the key of the group's name is a Symbol, not \"config_type\"", (energy = 0, group = "config_type")),
    )
        refused(words, () -> data(; options...))
    end
    none = FlexibleSystem(Atom[]; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), energy = 0.0)
    @test_throws "system 2: a system without atoms" ACERust.atoms_data([FlexibleSystem(sys; energy = 0.0), none], nothing; reference = nothing)
    @test data(; energy = 0, weights = (E = 0, F = 1, V = 1)).weights.E == 0
    calc = WrappedSiteCalculator(sio_o2())
    recipe = (elements = [:Si, :O], order = 1, degree = 3, rcut = 5.0)
    for call in (s -> ACERust.atoms_data(s, calc), s -> ACERust.compute_errors(s, calc), s -> ACERust.fit(recipe, s), s -> active_set(recipe, s))
        @test_throws "a vector of systems was expected, not one system" call(sys)
        @test_throws "system 2 is a Int64, not a system of AtomsBase" call([sys, 2])
    end
end

@testset "fits" begin
    systems = labelled(StackedCalculator(sio_o2()))
    recipe = (elements = [:Si, :O], order = 1, degree = 3, rcut = 5.0, fit = (one_body = "composition",))
    fitted(; options...) = ACERust.fit(recipe, systems; progress = false, options...)
    for (words, options) in (
        ("nthreads is 0 (all) or more, not -1", (nthreads = -1,)),
        ("there is no CUDA device 1000000000000", (device = 10^12,)),
        ("settings are a dictionary, a named tuple or the text of a section, not 3", (settings = 3,)),
        ("leave_one_out is true or false, not 3", (leave_one_out = 3,)),
        ("factors is the name of a file, not 3", (factors = 3,)),
        ("names of files were expected", (test = systems,)),
        ("there is no keyword nthread", (nthread = 1,)),
        ("the key of the weight is a Symbol or nothing, not \"w\"", (weight = "w",)),
        ("system 1: config_type is \"bulk\", not a number", (weight = :config_type,)),
    )
        refused(words, () -> fitted(; options...))
    end
    @test_throws "nthreads is 0 (all) or more, not -1" active_set(recipe, systems; nthreads = -1)
    @test_throws "nthreads is 0 (all) or more, not -1" ACERust.refit("factors"; nthreads = -1)
    @test_throws "a recipe is the name of a file, its text, a dictionary or a named tuple, not a Int64" ACERust.build_model(3)
    @test_throws "numbers have to be finite, found NaN" ACERust.build_model(Dict(pairs((; recipe..., rcut = NaN))))
    @test_throws "without units here, found 5.0 Å" ACERust.build_model((; recipe..., rcut = 5.0u"Å"))
    ace1(; options...) = ACERust.ace1_recipe(; elements = [:Si], order = 2, totaldegree = 6, options...)
    @test_throws "a transform is (:agnesi, p, q), not (:agnesi, 2)" ace1(; transform = (:agnesi, 2))
    @test_throws "pair_envelope is (:r, p), not ()" ace1(; pair_envelope = ())
    for Eref in (3.0, nothing)
        @test_throws "Eref are pairs of elements and energies, or a dictionary, not $Eref" ace1(; Eref)
    end
    @test_throws "rcut is 5.0 eV, not a number" ace1(; rcut = 5.0u"eV")
    @test_throws "an energy is \"a\", not a number" ace1(; Eref = [:Si => "a"])
    @test_throws "an active set cannot be empty" ActiveSet(UInt8[])
    (; calc) = fitted()
    set = active_set(recipe, systems)
    @test_throws "nthreads is 0 (all) or more, not -1" Grader(calc, set; nthreads = -1)
    @test_throws "there is no CUDA device 1000000000000" Grader(calc, set; device = 10^12)
end

@testset "heads, charges, spins" begin
    path = joinpath(TINY, "nonlinear.json")
    model, s = load_model(path), first(parse_json(read(path, String))["structures"])
    calc, training = WrappedSiteCalculator(model), Training(model)
    for call in (sys -> energy(sys, calc), sys -> ACERust.energy(training, sys)), name in (:total_charge, :total_spin)
        for x in (1e30, 0.5, NaN, big(10)^30, "1", missing, 1 + 0im)
            refused("$name is $(repr(x)), not a whole number", () -> call(golden_structure(s; (name => x,)...)))
        end
    end
    for head in (3, :b, 'a', missing)
        @test_throws "a head is a string, not $(repr(head))" energy(golden_structure(s; head), calc)
        @test_throws "a head is a string, not $(repr(head))" WrappedSiteCalculator(model; head)
        @test_throws "a head is a string, not $(repr(head))" Training(model; head)
    end
end

@testset "training" begin
    model = load_model(joinpath(TINY, "tiny.json"))
    z = ACERust.species(model)
    sys = isolated_system([z[1] => zeros(3)u"Å", z[2] => [1.6, 0.1, 0.0]u"Å"])
    @test_throws "nthreads is 0 (all) or more, not -1" Training(model; nthreads = -1)
    @test_throws "there is no CUDA device 1000000000000" Training(model; device = 10^12)
    run = ACERust.evaluate(Training(model), sys)
    for (words, cotangents) in (
        ("the cotangent of forces is a Int64, not an array", (forces = 3,)),
        ("the cotangent of forces is a Matrix{Complex{Int64}}, not an array of real numbers", (forces = fill(1im, 3, 2),)),
        ("the cotangent of virial is a Int64, not an array", (virial = 3,)),
        ("the cotangent of virial has the size (9,), not (3, 3)", (virial = zeros(9),)),
    )
        refused(words, () -> ACERust.gradient(run; cotangents...))
    end
    @test ACERust.gradient(run; forces = Any[1.0 for _ in 1:3, _ in 1:2]) == ACERust.gradient(run; forces = ones(3, 2))
end

@testset "operations" begin
    op = Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e")
    x, w, ȳ = [1.0 3.0; 2.0 4.0], [5.0, 6.0], [1.0 2.0]
    @test_throws "x is a Int64, not an array of real numbers" op(3, w)
    @test_throws "x is a Matrix{Complex{Int64}}, not an array of real numbers" op(fill(1im, 2, 2), w)
    # The other way round there are as many numbers.
    @test_throws "w: a matrix of size (1, 2) has no columns of 2" op(x, [5.0 6.0])
    @test_throws "cotangent: a matrix of size (2, 1) has no columns of 1" backward(op, [1.0; 2.0;;], x, w)
    @test_throws "out: a matrix of size (2, 1) has no columns of 1" forward!(zeros(2, 1), op, x, w)
    for directions in ((ones(2, 2),), ones(2, 2), ())
        @test_throws "directions are a tuple of 2" double_backward(op, ȳ, directions, x, w)
    end
    @test_throws "direction of x: a matrix of size (1, 4) has no columns of 2" double_backward(op, ȳ, (ones(1, 4), nothing), x, w)
    species = Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e", species = 3)
    for (words, given) in (("species: 1.5 at 1, expected 1 to 3", [1.5, 1]), ("species: missing at 2", [1, missing]), ("species: :a at 1", [:a, :b]),
                           ("species is a Int64, not a vector", 1), ("species is a Tuple", (1, 2)))
        refused(words, () -> species(x, ones(2, 3); species = given))
    end
    @test_throws "there is no CUDA device 1000000000000" Operation(:harmonics; lmax = 1, device = 10^12)
end
