# julia --project=… test/runtests.jl [NAME …]: with the packages of the environment at hand; names choose files that have one of them in theirs, as
# `Pkg.test("ACERust"; test_args = ["fit"])` does. What cannot be loaded is skipped, and said aloud. Golden data
# are in the repository; an installed package is tried without, unless ACERUST_REPOSITORY says where one is.
using ACERust
include("installed.jl")
found = try
    ACERust.repository()
catch
    printstyled("SKIPPED: the tests with golden data: they are in the repository; ACERUST_REPOSITORY says where it is\n"; color = :yellow)
    exit(0)
end
include("common.jl")

chosen(file) = isempty(ARGS) || any(name -> occursin(name, file), ARGS)

"Runs a file in a module of its own: files may call their helpers alike."
function run_file(file)
    chosen(file) || return nothing
    place = Module(Symbol(first(splitext(file))))
    Core.eval(place, :(include(path) = Base.include($place, joinpath($(@__DIR__), path))))
    return Base.include(place, joinpath(@__DIR__, file))
end

"The same in a process of its own, with nothing loaded but what it loads itself."
function run_alone(file)
    chosen(file) || return nothing
    return @test success(pipeline(`$(Base.julia_cmd()) --project=$(Base.active_project()) --startup-file=no $(joinpath(@__DIR__, file))`; stdout, stderr))
end

@testset verbose = true "ACERust" begin
    haskey(ACERust.BINDINGS, :jlrs) || skipped("the binding by jlrs", "it needs JlrsCore 0.7 and libacerust_jl beside libacerust")
    present = ACERust.PRESENT[]
    @testset verbose = true "$name" for name in sort!(collect(keys(ACERust.BINDINGS)))
        ACERust.PRESENT[] = name
        run_file("golden.jl")
        run_file("calculators.jl")
        run_file("fitting.jl")
        run_file("robustness.jl")
        run_file("refusals.jl")
        run_file("binding.jl")
    end
    ACERust.PRESENT[] = present
    run_file("choice.jl")
    run_file("ops.jl")
    run_file("mace.jl")
    run_file("etmodels.jl")
    run_file("distributed.jl")
    run_file("fits.jl")
    run_file("grades.jl")
    run_file("training.jl")

    if get(ENV, "ACERUST_GPU", "") == "1"
        run_file("gpu.jl")
    else
        skipped("calculators on a CUDA device", "ACERUST_GPU=1 says that there is one")
    end

    if loadable("ACEfit")
        run_file("acefit.jl")
    else
        skipped("fits through ACEfit", "they need ACEfit")
    end

    if loadable("ChainRulesCore")
        run_file("differentiable.jl")
    else
        skipped("rules of differentiation", "they need ChainRulesCore")
    end

    if all(loadable, ("ChainRulesCore", "LuxCore", "Zygote"))
        run_file("lux.jl")
    else
        skipped("layers of Lux", "they need ChainRulesCore, LuxCore and Zygote")
    end

    if all(loadable, ("ACEpotentials", "ACEfit", "AtomsBuilder", "LuxCore"))
        run_file("acepotentials.jl")
    else
        skipped("comparison with ACEpotentials", "it needs ACEpotentials, ACEfit, AtomsBuilder and LuxCore")
    end

    run_file("tutorials.jl")
    run_alone("quality.jl")   # JET looks at all that is loaded
end
