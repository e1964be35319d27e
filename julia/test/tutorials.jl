# The examples of the documentation run, with or without Documenter.
include("common.jl")

const PAGES = normpath(@__DIR__, "..", "docs", "src")

"The code of a page: its blocks of a kind (a regular expression), in their order."
blocks_of(page, kind) =
    [m[1] for m in eachmatch(Regex("^```$kind *\\n(.*?)^```", "ms"), read(joinpath(PAGES, page), String))]

"Runs them one after another in a module of their own; the last value."
function run_page(page, kind)
    code = blocks_of(page, kind)
    isempty(code) && error("$page has no examples")
    place = Module(Symbol(page))
    return last([include_string(place, block, page) for block in code])
end

@testset "tutorials" begin
    @test occursin("eV", string(run_page("index.md", "@example index")))
    @test run_page(joinpath("tutorials", "dynamics.md"), "@example dynamics") < 0.1
    if loadable("GeometryOptimization")
        @test 0u"meV" < run_page(joinpath("tutorials", "mace.md"), "@example mace") < 0.5u"meV"
    else
        skipped("the tutorial of MACE", "it needs GeometryOptimization")
    end
    if all(loadable, ("AtomsBuilder", "AtomsIO", "GeometryOptimization"))
        @test 1u"eV" < run_page(joinpath("tutorials", "structures.md"), "@example structures") < 6u"eV"
    else
        skipped("the tutorial of structures", "it needs AtomsBuilder, AtomsIO and GeometryOptimization")
    end
    if all(loadable, ("ACEfit", "ExtXYZ"))
        @test run_page(joinpath("tutorials", "fit.md"), "@example fit") isa ACERustModel
        @test run_page(joinpath("tutorials", "uncertainty.md"), "@example uncertainty") < 1.01
    else
        skipped("tutorials of fits and uncertainty", "they need ACEfit and ExtXYZ")
    end
    if all(loadable, ("ACEpotentials", "AtomsBuilder", "LuxCore"))
        @test run_page(joinpath("tutorials", "acepotentials.md"), "julia")
    else
        skipped("the tutorial of ACEpotentials", "it needs ACEpotentials, AtomsBuilder and LuxCore")
    end
end
