include("common.jl")
import Artifacts

@testset "errors name the culprit" begin
    model = sio_o2()
    calc = WrappedSiteCalculator(model)
    energy(sys) = AtomsCalculators.potential_energy(sys, calc)
    @test_throws r"atom 2 is H; the model knows Si, O" energy(isolated_system([:Si => zeros(3)u"Å", :H => [1.5, 0, 0]u"Å"]))
    @test_throws "atom 2: position" energy(isolated_system([:Si => zeros(3)u"Å", :O => [NaN, 0, 0]u"Å"]))
    @test_throws "atoms 1 and 2 are at the same place" energy(isolated_system([:Si => zeros(3)u"Å", :O => zeros(3)u"Å"]))
    for (words, counted) in (
        ("edge 5: neighbour 7 of 7 atoms; parts[2].ace.A[17]", "edge 6: neighbour 8 of 7 atoms; parts[2].ace.A[17]"),
        ("cell row 2 [5, 5, 0] is periodic but linearly dependent", "cell row 3 [5, 5, 0] is periodic but linearly dependent"),
        ("parameters: number 0 of interactions.0.linear.weight is NaN", "parameters: number 1 of interactions.0.linear.weight is NaN"),
        ("vectors: row 9 has no direction", "vectors: row 10 has no direction"), ("w: NaN at 1, expected a finite number", "w: NaN at 2, expected a finite number"),
    )
        @test ACERust.ACERustError(4, words).message == counted
    end
    flat = (SVector(5.0, 0.0, 0.0)u"Å", SVector(0.0, 5.0, 0.0)u"Å", SVector(0.0, 0.0, 0.0)u"Å")
    @test_throws r"cell" energy(periodic_system([:Si => zeros(3)u"Å"], flat))
    @test_throws r"cell.*finite|finite" energy(periodic_system([:Si => zeros(3)u"Å"], (flat[1], flat[2], SVector(0.0, 0.0, NaN)u"Å")))
    @test isfinite(bare(energy(silica())))   # and goes on after errors
    @test_throws "nthreads is 0 (all) or more, not -1" WrappedSiteCalculator(model; nthreads = -1)
    @test_throws "at least one" StackedCalculator(())
    @test_throws "expected 78 linear parameters, got 77" set_committee!(calc, zeros(77, 3))
    @test_throws "committee member 2" set_committee!(calc, [k == 80 ? Inf : 1.0 for k in reshape(1:156, 78, 2)])
    @test_throws "1 forces for 4 atoms" ACERust.AtomsData(silica(); forces = [zeros(3)])
    @test_throws "expected 78 linear parameters, got 3" set_linear_parameters!(calc, zeros(3))
    @test_throws "parameter 5 is not finite" set_linear_parameters!(calc, [k == 5 ? NaN : 1.0 for k in 1:78])
    @test_throws "expected (linear = θ,)" site_energies(model, interaction_graph(silica(), 5.5), (weights = zeros(78),))
    @test_throws ACERust.ACERustError site_energies(model, interaction_graph(silica(), 3.0))
    @test_throws "no-such-file" load_model("no-such-file")
    @test_throws ACERust.ACERustError ACERust.model_from_json("{}")
    @test_throws "finite" onebody_model([:Si => Inf])
    @test_throws "2" energy(isolated_system([:Si => zeros(2)u"Å"]))
    close(calc)
    close(calc)
    @test_throws "closed" energy(silica())
    @test_throws "closed" length_basis(model)
    @test sprint(show, model) == "ACERustModel{:stack}(closed)"
end

@testset "memory is bounded" begin
    model, sys = sio_o2(), silica()
    n = ACERust.n_edges(interaction_graph(sys, 15.0))
    status(f) = try
        f()
        0
    catch error
        error isa ACERust.ACERustError ? error.status : rethrow()
    end
    try
        for (bytes, found) in ((91n, 9), (10_000n, 0))
            ACERust.set_memory_limit!(bytes)
            @test status(() -> interaction_graph(sys, 15.0)) == found
        end
        G = interaction_graph(sys, 5.5)
        ACERust.set_memory_limit!(47 * ACERust.n_basis(model) * ACERust.n_edges(G))
        @test_throws "the Jacobian of $(ACERust.n_basis(model)) basis functions on $(ACERust.n_edges(G)) edges would take" site_basis_jacobian(model, G)
        @test_throws "a limit of memory is above 0" ACERust.set_memory_limit!(0)
    finally
        ACERust.set_memory_limit!(nothing)
    end
    @test_throws "memory" interaction_graph(sys, 1500.0)   # 130 GB
end

@testset "a library that is not there" begin
    script = "using ACERust; try ACERust.load_model(\"x\") catch e; showerror(stdout, e) end"
    run_with(path) = withenv("ACERUST_LIBRARY" => path) do
        read(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $script`, String)
    end
    @test occursin("ACERUST_LIBRARY says \"nowhere.so\", but there is no such file", run_with("nowhere.so"))
    @test occursin("cannot be loaded", run_with(@__FILE__))
end

@testset "the library of an artifact" begin
    hash = "0123456789abcdef0123456789abcdef01234567"
    mktempdir() do dir
        toml = joinpath(dir, "Artifacts.toml")
        @test ACERust.artifact_library(toml) === nothing
        write(toml, "[acerust]\ngit-tree-sha1 = \"$hash\"\n")
        Artifacts.with_artifacts_directory(joinpath(dir, "artifacts")) do
            @test ACERust.artifact_library(toml) === nothing   # not put in place
            mkpath(joinpath(dir, "artifacts", hash))
            @test ACERust.artifact_library(toml) == joinpath(dir, "artifacts", hash, Sys.iswindows() ? "bin" : "lib", ACERust.FILE)
        end
        write(toml, "[other]\ngit-tree-sha1 = \"$hash\"\n")
        @test ACERust.artifact_library(toml) === nothing
    end
end

@testset "made and dropped ten thousand times" begin
    model = sio_o2()
    expected = AtomsCalculators.potential_energy(molecule(), WrappedSiteCalculator(model))
    text, mol = ACERust.model_to_json(model), molecule()
    function cycles(n)
        return all(1:n) do round
            calc = WrappedSiteCalculator(ACERust.model_from_json(text); nthreads = 1)
            agrees = AtomsCalculators.potential_energy(mol, calc) ≈ expected
            round % 2 == 0 && close(calc)
            round % 500 == 0 && GC.gc()
            agrees
        end
    end
    resident() = Sys.islinux() ? parse(Int, split(read("/proc/self/statm", String))[2]) * 4096 : 0
    @test cycles(1000)
    before = resident()
    @test cycles(9000)
    # A model with its plan is more than 100 kB; the allocator's own fluctuations are some 50 MB in all.
    @test resident() - before < 9000 * 20_000
    @test length(StackedCalculator(model).calcs) == 3
end

@testset "four tasks at once" begin
    calc = StackedCalculator(sio_o2())
    systems = [silica(; scale = 0.97 + 0.02k) for k in 1:4]
    expected = [AtomsCalculators.forces(sys, calc; nthreads = 1) for sys in systems]
    tasks = map(1:4) do k
        Threads.@spawn begin
            all(1:50) do _
                GC.gc(false)
                difference(bare.(AtomsCalculators.forces(systems[k], calc; nthreads = 1)), bare.(expected[k])) < 1e-12
            end
        end
    end
    @test all(fetch, tasks)
    @test 1 <= length(only(calc.fused).calc.lists) <= 4
end
