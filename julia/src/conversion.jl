# Conversions from ACEpotentials; the methods come with the extension, when ACEpotentials is loaded.

"""
    convert2et(model, ps, st) -> ETACE
    convert2et(et::ETModels.ETACE, ps, st, rcut) -> ETACE

The many-body part of an ACEpotentials model with its parameters. Needs ACEpotentials.
"""
function convert2et end

"""
    convertpair(model, ps, st) -> ETPairModel
    convertpair(et::ETModels.ETPairModel, ps, st, rcut) -> ETPairModel

The pair part of an ACEpotentials model with its parameters. Needs ACEpotentials.
"""
function convertpair end

"""
    convert2et_full(model, ps, st; settings…) -> StackedCalculator
    convert2et_full(potential; settings…)

An ACEpotentials model, an `ACEPotential`, or a calculator of its `ETModels`, as a stack of one-body, pair and many-body calculators.
`settings` as for [`WrappedSiteCalculator`](@ref). Members of a stack that are no such models are kept as they are. Reference potentials other
than one-body energies are an error. Needs ACEpotentials.
"""
function convert2et_full end
