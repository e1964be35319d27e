include("common.jl")

@testset "errors name the culprit" begin
    model = sio_o2()
    calc = WrappedSiteCalculator(model)
    energy(sys) = AtomsCalculators.potential_energy(sys, calc)
    @test_throws r"atom 1 is H; the model knows Si, O" energy(isolated_system([:Si => zeros(3)u"Å", :H => [1.5, 0, 0]u"Å"]))
    @test_throws r"position.*1|atom 1" energy(isolated_system([:Si => zeros(3)u"Å", :O => [NaN, 0, 0]u"Å"]))
    @test_throws ACERust.ACERustError energy(isolated_system([:Si => zeros(3)u"Å", :O => zeros(3)u"Å"]))
    @test isfinite(bare(energy(silica())))   # and goes on after errors
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

@testset "a library that is not there" begin
    script = "using ACERust; try ACERust.load_model(\"x\") catch e; showerror(stdout, e) end"
    run_with(path) = withenv("ACERUST_LIBRARY" => path) do
        read(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $script`, String)
    end
    @test occursin("ACERUST_LIBRARY says \"nowhere.so\", but there is no such file", run_with("nowhere.so"))
    @test occursin("cannot be loaded", run_with(@__FILE__))
end

@testset "made and dropped" begin
    sys = silica()
    for round in 1:200
        calc = StackedCalculator(sio_o2())
        round % 20 == 0 && AtomsCalculators.potential_energy(sys, calc)
        round % 3 == 0 && close(calc)
    end
    GC.gc()
    @test isfinite(bare(AtomsCalculators.potential_energy(sys, WrappedSiteCalculator(sio_o2()))))
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
