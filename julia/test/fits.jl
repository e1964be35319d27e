# Fits by the library: of files and of systems, here and on workers that do not live to the end.
include("common.jl")
using Distributed

const SILICON = ACERust.repository("benchmark", "data", "Si_test.extxyz")
const RECIPE = (
    elements = [:Si], order = 2, degree = 6, rcut = 4.5, E0 = (Si = -0.846,),
    fit = (solver = (type = "ridge", lambda = 1e-5), weights = (default = (energy = 10, force = 1),)),
)

@testset "fits by the library" begin
    fit(args...; options...) = ACERust.fit(args...; progress = false, options...)
    (; calc, report) = fit(RECIPE, SILICON)
    θ = get_linear_parameters(calc)
    @test length(θ) == report["parameters"] == length_basis(ACERust.build_model(RECIPE)) && any(!iszero, θ)
    @test report["frames"] == report["used"] == 25 && report["committee"] == ACERust.n_members(calc) == 0
    @test startswith(report["text"], "25 frames, 25 used") && sprint(show, MIME("text/plain"), report) == chomp(report["text"])
    @test sprint(show, report) == "FitReport(25 frames, $(length(θ)) parameters)" && "errors" in keys(report)
    @test report["left_out"] === nothing && isempty(report["test"]) && report["training"]["all"]["frames"] == 25

    mktempdir() do dir
        # The recipe as JSON and as TOML, as a text and as a file.
        text = ACERust.json(RECIPE)
        toml = "elements = ['Si']\norder = 2\ndegree = 6\nrcut = 4.5\nE0 = { Si = -0.846 }\n" *
            "[fit]\nsolver = { type = 'ridge', lambda = 1e-5 }\n[fit.weights]\ndefault = { energy = 10, force = 1 }\n"
        path = joinpath(dir, "si.toml")
        write(path, toml)
        for recipe in (text, toml, path)
            @test get_linear_parameters(fit(recipe, [SILICON]).calc) == θ
        end
        program = joinpath(dirname(abspath(last(ACERust.find_library()))), "acerust" * (Sys.iswindows() ? ".exe" : ""))
        if isfile(program)
            model = joinpath(dir, "si.json")
            said = read(`$program fit $path $SILICON -o $model`, String)
            @test difference(get_linear_parameters(load_model(model)), θ) < 1e-10
            @test startswith(said, report["text"])
        else
            skipped("fits beside those of the command line", "there is no $program")
        end
        # Factors know all that it takes for other settings.
        factors = joinpath(dir, "si.npz")
        fit(RECIPE, SILICON; factors)
        @test get_linear_parameters(ACERust.refit(factors; settings = RECIPE.fit).calc) == θ
        settings = (solver = (type = "blr",), prior = (type = "exponential",), committee = 3)
        again = ACERust.refit(factors; settings, leave_one_out = true)
        @test ACERust.n_members(again.calc) == 3 && !(get_linear_parameters(again.calc) ≈ θ)
        @test again.report["log_evidence"] isa Real && haskey(again.report["left_out"], "Vacancy")
        @test get_linear_parameters(fit(RECIPE, SILICON; settings).calc) == get_linear_parameters(again.calc)
        @test_throws "typo" ACERust.refit(factors; settings = (typo = 1,))
        @test_throws "none.npz" ACERust.refit(joinpath(dir, "none.npz"))
    end
    # Upstream's keywords; its defaults are those of the recipe.
    upstream = (elements = [:Si, :O], order = 2, totaldegree = 6)
    of(recipe) = replace(ACERust.model_to_json(ACERust.build_model(recipe)), r"\"E0\":\[[^]]*\]" => "")
    @test of(ACERust.ace1_recipe(; upstream...)) == of((elements = [:Si, :O], order = 2, degree = 6))
    @test of(ACERust.ace1_recipe(; upstream..., rcut = 5.0u"Å", pair_degree = 4, transform = (:agnesi, 1, 3), wL = 2)) ==
        of((elements = [:Si, :O], order = 2, degree = 6, rcut = 5.0, pair_degree = 4, transform = [3, 1], wL = 2))
    @test ACERust.ace1_recipe(; upstream..., Eref = Dict(:Si => -1.0u"eV", :O => -2.0u"eV")).E0 == Dict("Si" => -1.0, "O" => -2.0)
    @test_throws "ZBL" ACERust.build_model(ACERust.ace1_recipe(; upstream..., ZBL = true))
    @test_throws "typo" fit((; RECIPE..., typo = 1), SILICON)
    @test_throws "none.extxyz" fit(RECIPE, "none.extxyz")
    @test_throws "no rows" fit((; RECIPE..., elements = [:O], E0 = (;)), SILICON)
    @test_throws "energy is a keyword for systems" fit(RECIPE, SILICON; energy = :E)

    # Systems: what a model says of them is found again.
    truth = StackedCalculator(sio_o2())
    systems = labelled(truth)
    recipe = (elements = [:Si, :O], order = 2, degree = 6, rcut = 5.0, fit = (one_body = "composition", weights = (bulk = (energy = 100,),)))
    found = fit(recipe, systems)
    @test found.report["used"] == 10 && Set(keys(found.report["errors"])) == Set(["bulk", "strained"])
    errors = ACERust.compute_errors(systems, found.calc)
    @test errors["bulk"].rmse.F ≈ found.report["errors"]["bulk"]["force"] rtol = 1e-6
    @test errors["strained"].rmse.E ≈ found.report["errors"]["strained"]["energy"] rtol = 1e-6
    heavy = [FlexibleSystem(s; weight = 1.0 + k) for (k, s) in enumerate(systems)]
    @test !(get_linear_parameters(fit(recipe, heavy).calc) ≈ get_linear_parameters(found.calc))
    @test get_linear_parameters(fit(recipe, heavy; weight = nothing).calc) == get_linear_parameters(found.calc)
    @test_throws "no system has :misspelt" fit(recipe, systems; energy = :misspelt)

    processes = addprocs(3; exeflags = ["--project=$(Base.active_project())", "--startup-file=no", "-O1"])
    try
        @test_throws "has not loaded ACERust: @everywhere using ACERust" fit(RECIPE, SILICON)
        @everywhere processes using ACERust, AtomsBase, Unitful
        for shares in (3, 7)
            @test difference(get_linear_parameters(fit(RECIPE, SILICON; shares).calc), θ) < 1e-9
        end
        there = fit(recipe, systems)
        @test difference(get_linear_parameters(there.calc), get_linear_parameters(found.calc)) < 1e-9
        @test there.report["used"] == 10
        @test_throws "none.extxyz" fit(RECIPE, "none.extxyz")
        # Two of them are killed when they are to begin; the third does their shares.
        remotecall_fetch.(Core.eval, processes[1:2], Ref(ACERust), Ref(:(share_factors(text, source, number, of, device) = ccall(:raise, Cint, (Cint,), 9))))
        again = fit(RECIPE, SILICON; shares = 5)
        @test difference(get_linear_parameters(again.calc), θ) < 1e-9 && again.report["frames"] == 25
        @test workers() == processes[3:3]
    finally
        rmprocs(intersect(processes, workers()))
    end
end
