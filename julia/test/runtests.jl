# julia --project=… test/runtests.jl: with the packages of the environment at hand. What cannot be loaded is skipped, and said aloud. Golden data
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

@testset verbose = true "ACERust" begin
    haskey(ACERust.BINDINGS, :jlrs) || skipped("the binding by jlrs", "it needs JlrsCore 0.7 and libacerust_jl beside libacerust")
    present = ACERust.PRESENT[]
    @testset verbose = true "$name" for name in sort!(collect(keys(ACERust.BINDINGS)))
        ACERust.PRESENT[] = name
        include("golden.jl")
        include("calculators.jl")
        include("fitting.jl")
        include("robustness.jl")
        include("binding.jl")
    end
    ACERust.PRESENT[] = present
    include("choice.jl")
    include("ops.jl")
    include("mace.jl")
    include("etmodels.jl")
    include("distributed.jl")

    if get(ENV, "ACERUST_GPU", "") == "1"
        include("gpu.jl")
    else
        skipped("calculators on a CUDA device", "ACERUST_GPU=1 says that there is one")
    end

    if loadable("ACEfit")
        include("acefit.jl")
    else
        skipped("fits through ACEfit", "they need ACEfit")
    end

    if loadable("ChainRulesCore")
        include("differentiable.jl")
    else
        skipped("rules of differentiation", "they need ChainRulesCore")
    end

    if all(loadable, ("ChainRulesCore", "LuxCore", "Zygote"))
        include("lux.jl")
    else
        skipped("layers of Lux", "they need ChainRulesCore, LuxCore and Zygote")
    end

    if all(loadable, ("ACEpotentials", "ACEfit", "AtomsBuilder", "LuxCore"))
        include("acepotentials.jl")
    else
        skipped("comparison with ACEpotentials", "it needs ACEpotentials, ACEfit, AtomsBuilder and LuxCore")
    end

    include("tutorials.jl")
    include("quality.jl")
end
