# What tools say of the package itself.
include("common.jl")

if loadable("Aqua")
    import Aqua
    @testset "Aqua" begin
        Aqua.test_all(ACERust; deps_compat = (check_extras = false,), persistent_tasks = false, stale_deps = false)
    end
else
    skipped("quality of the package", "it needs Aqua")
end

if loadable("JET")
    import JET
    @testset "JET" begin
        JET.test_package(ACERust; target_modules = (ACERust,), toplevel_logger = nothing)
    end
else
    skipped("types of the package", "they need JET")
end

if loadable("Documenter")
    import Documenter
    @testset "examples in docstrings" begin
        Documenter.DocMeta.setdocmeta!(ACERust, :DocTestSetup, :(using ACERust, AtomsBase, AtomsCalculators, Unitful); recursive = true)
        Documenter.doctest(ACERust; manual = false)
    end
else
    skipped("examples in docstrings", "they need Documenter")
end
