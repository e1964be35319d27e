# Builds the documentation into docs/build: `make docs-julia`, or this file in an environment with ACERust, ACEfit, Documenter, ExtXYZ,
# AtomsBuilder, AtomsIO and GeometryOptimization.
# Examples run, and docstrings' examples are compared with what they show.
using ACERust, Documenter

DocMeta.setdocmeta!(ACERust, :DocTestSetup, :(using ACERust, AtomsBase, AtomsCalculators, Unitful); recursive = true)

makedocs(;
    sitename = "ACERust",
    modules = [ACERust],
    pages = [
        "index.md",
        "Tutorials" => ["tutorials/fit.md", "tutorials/dynamics.md", "tutorials/structures.md", "tutorials/mace.md", "tutorials/uncertainty.md", "tutorials/acepotentials.md"],
        "reference.md",
        "etmodels.md",
    ],
    checkdocs = :exports,
    remotes = nothing,
    format = Documenter.HTML(; prettyurls = false, edit_link = nothing, repolink = nothing),
)
