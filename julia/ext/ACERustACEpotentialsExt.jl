# Reads the numbers of ACEpotentials' models. The parts are converted by ACEpotentials itself to its `ETModels`, and from there here.
module ACERustACEpotentialsExt

using ACERust: ACERust, ACERustModel, AtomsData, Calculator, StackedCalculator, WrappedSiteCalculator
using ACERust: element, onebody_model, single_part
using SparseArrays: findnz, sparse
using StaticArrays: SVector
import ACEfit
import ACEpotentials
import EquivariantTensors as ET

const Models = ACEpotentials.Models
const ETM = ACEpotentials.ETModels
const SOURCE = "ACEpotentials.jl $(pkgversion(ACEpotentials))"

# ---- the numbers of a model of ETModels

rows(W) = [W[t, :] for t in axes(W, 1)]
blocks(W) = [rows(W[:, :, k]) for k in axes(W, 3)]

"The transform of a radial basis, and the species that it knows."
function transform(layer)
    state = layer.refstate
    parameters = [(; p.rin, p.req, pin = Int(p.pin), pcut = Int(p.pcut), p.a, p.b0, p.b1) for p in state.params]
    return [element(z) for z in state.zlist], parameters
end

polynomials(basis, W) = (
    type = "polynomial", A = collect(basis.refstate.A), B = collect(basis.refstate.B), C = collect(basis.refstate.C), W = blocks(W)
)

function splines(layer)
    (; F, G, x0, x1) = layer.refstate
    table(k) = (x0 = x0[k], x1 = x1[k], values = collect.(F[:, k]), slopes = collect.(G[:, k]))
    return (type = "spline", tables = table.(axes(F, 2)))
end

"The one envelope that ETModels gives its many-body models; its function is opaque, so that it is tried out."
function quartic(f)
    all(y -> isapprox(f(y), (1 - y^2)^2; atol = 1e-14), range(-1, 1; length = 21)) ||
        throw(ArgumentError("the radial envelope of this many-body model is not (1 − y²)²"))
    return (type = "poly2sx", x1 = -1.0, x2 = 1.0, p1 = 2, p2 = 2, s = 1.0)
end

"Solid or spherical harmonics, by their values at two points of one direction."
function harmonics(basis)
    x = SVector(0.3, -0.5, 0.7)
    ratio = basis(2 * x) ./ basis(x)
    lm = ETM.P4ML.natural_indices(basis)
    lmax = maximum(y -> y.l, lm)
    [(y.l, y.m) for y in lm] == [(l, m) for l in 0:lmax for m in (-l):l] || throw(ArgumentError("harmonics in an unknown order"))
    all(isapprox.(ratio, 1)) && return (kind = "spherical", lmax = lmax)
    all(isapprox.(ratio, [2.0^y.l for y in lm])) && return (kind = "solid", lmax = lmax)
    throw(ArgumentError("harmonics that are neither solid nor spherical"))
end

"Readout weights by species."
readout(ps) = [ps.readout.W[1, :, s] for s in axes(ps.readout.W, 3)]

function many_body(et::ETM.ETACE, ps, rcut)
    layer = et.rembed.layer
    species, transforms = transform(layer.trans)
    if layer isa ET.TransSelSplines
        functions = splines(layer)
        envelope = quartic_of_distance(layer)
    else
        functions = polynomials(layer.basis.l.layers.layer_1, ps.rembed.post.W)
        envelope = quartic(layer.basis.l.layers.layer_2.func)
    end
    ybasis = et.yembed.layer.basis
    n_radial = functions.type == "spline" ? length(functions.tables[1].values[1]) : length(functions.W[1])
    tensor = et.basis
    products = [collect(k) .- 1 for specs in tensor.aabasis.specs for k in specs]
    couplings = sparse(tensor.A2Bmaps[1])
    i, j, values = findnz(couplings)
    pooled = [(p[1] - 1, p[2] - 1) for p in tensor.abasis.spec]
    part = (
        type = "ace",
        rcut = rcut,
        radial = (
            transforms = transforms,
            envelopes = fill(envelope, length(transforms)),
            functions = functions,
            spec = radial_spec(pooled, ybasis, n_radial),
        ),
        angular = harmonics(ybasis),
        A = pooled,
        AA = products,
        C = (shape = collect(size(couplings)), rows = i .- 1, cols = j .- 1, vals = values),
        weights = readout(ps),
    )
    return single_part("ace", species, part; source = SOURCE)
end

"""
`[n, l]` of each radial function. ETModels keeps no list: l is that of the harmonics that the function is pooled with, n counts the
functions of an l. Functions that are not pooled count as l = 0.
"""
function radial_spec(pooled, ybasis, n_radial)
    lm = ETM.P4ML.natural_indices(ybasis)
    l = zeros(Int, n_radial)
    foreach(((t, y),) -> l[t + 1] = lm[y + 1].l, pooled)
    return [(count(==(l[t]), view(l, 1:t)), l[t]) for t in eachindex(l)]
end

function quartic_of_distance(layer)
    species, parameters = transform(layer.trans)
    z = layer.trans.refstate.zlist[1]
    p = layer.trans.refstate.params[1]
    for r in range(0.5 * p.req, 1.5 * p.req; length = 11)
        x = (𝐫 = SVector(r, 0.0, 0.0), z0 = z, z1 = z)
        y = ET.eval_agnesi(r, p)
        isapprox(layer.envelope.f(x, layer.envelope.refstate), (1 - y^2)^2; atol = 1e-12) ||
            throw(ArgumentError("the radial envelope of this many-body model is not (1 − y²)²"))
    end
    return quartic(y -> (1 - y^2)^2)
end

function pair(et::ETM.ETPairModel, ps, rcut)
    layer = et.rembed.layer
    if layer isa ET.TransSelSplines
        trans, functions = layer.trans, splines(layer)
    else
        trans, functions = layer.rbasis.trans, polynomials(layer.rbasis.basis, ps.rembed.rbasis.post.W)
    end
    species, transforms = transform(trans)
    cut = layer.envelope.refstate
    envelope = (type = "poly1sr", rcut = cut.rcut, p = Int(cut.p))
    part = (
        type = "pair",
        rcut = rcut,
        radial = (transforms = transforms, envelopes = fill(envelope, length(transforms)), functions = functions),
        weights = readout(ps),
    )
    return single_part("pair", species, part; source = SOURCE)
end

function onebody(et::ETM.ETOneBody, st; order = nothing)
    E0 = Dict(element(z) => Float64(e) for (z, e) in zip(et.categories, hasproperty(st, :E0s) ? st.E0s : et.E0s))
    species = order !== nothing && issetequal(order, keys(E0)) ? order : sort!(collect(keys(E0)))
    return onebody_model([z => E0[z] for z in species])
end

# ---- conversions

ACERust.convert2et(et::ETM.ETACE, ps, st, rcut) = many_body(et, ps, ACERust.in_ångström(rcut))
ACERust.convertpair(et::ETM.ETPairModel, ps, st, rcut) = pair(et, ps, ACERust.in_ångström(rcut))

cutoff(basis) = Float64(maximum(a -> a.rcut, basis.rin0cuts))
fresh(et) = ETM.setup(ETM.default_rng(), et)

function ACERust.convert2et(model::Models.ACEModel, ps, st)
    model.rbasis isa Models.LearnableRnlrzzBasis ||
        throw(ArgumentError("the radial basis is a $(nameof(typeof(model.rbasis))): convert the model before its splines are made"))
    et = ETM.convert2et(model)
    parameters, _ = fresh(et)
    ETM.copy_ace_params!(parameters, ps, model)
    return many_body(et, parameters, cutoff(model.rbasis))
end

function ACERust.convertpair(model::Models.ACEModel, ps, st)
    model.pairbasis isa Models.LearnableRnlrzzBasis ||
        throw(ArgumentError("the pair basis is a $(nameof(typeof(model.pairbasis))): convert the model before its splines are made"))
    et = ETM.convertpair(model)
    parameters, _ = fresh(et)
    ETM.copy_pair_params!(parameters, ps, model)
    return pair(et, parameters, cutoff(model.pairbasis))
end

function reference_energies(model)
    model.Vref isa Models.OneBody || throw(ArgumentError(
        "the reference potential of this model is a $(nameof(typeof(model.Vref))): only one-body energies can be converted. " *
        "Convert pair and many-body part and stack them with a calculator of the reference potential.",
    ))
    return onebody_model([Int(z) => model.Vref.E0[Int(z)] for z in element.(model.rbasis._i2z)])
end

function ACERust.convert2et_full(model::Models.ACEModel, ps, st; settings...)
    parts = (reference_energies(model), ACERust.convertpair(model, ps, st), ACERust.convert2et(model, ps, st))
    return StackedCalculator(map(part -> WrappedSiteCalculator(part; settings...), parts))
end

ACERust.convert2et_full(p::Models.ACEPotential; settings...) = ACERust.convert2et_full(p.model, p.ps, p.st; settings...)

# Calculators of ETModels.

known(calc::ETM.ETACEPotential, order) = ACERust.convert2et(calc.model, calc.ps, calc.st, calc.rcut)
known(calc::ETM.ETPairPotential, order) = ACERust.convertpair(calc.model, calc.ps, calc.st, calc.rcut)
known(calc::ETM.ETOneBodyPotential, order) = onebody(calc.model, calc.st; order)

function converted(calc::ETM.WrappedSiteCalculator; order = nothing, settings...)
    mine = WrappedSiteCalculator(known(calc, order); settings...)
    calc.co_ps === nothing || throw(ArgumentError("the committee of an ETModels calculator cannot be converted: set it afterwards"))
    return mine
end
converted(calc; settings...) = calc
ACERust.cutoff_radius(calc::Union{ETM.WrappedSiteCalculator,ETM.StackedCalculator}) = ETM.cutoff_radius(calc)

function species_order(calcs)
    for calc in calcs
        calc isa Union{ETM.ETACEPotential,ETM.ETPairPotential} && return Int.(ACERust.species(known(calc, nothing)))
    end
    return nothing
end

ACERust.convert2et_full(calc::ETM.WrappedSiteCalculator; settings...) = StackedCalculator((converted(calc; settings...),))
function ACERust.convert2et_full(stack::ETM.StackedCalculator; settings...)
    order = species_order(stack.calcs)
    return StackedCalculator(map(calc -> converted(calc; order, settings...), stack.calcs))
end

ACERust.WrappedSiteCalculator(et::ETM.ETACE, ps, st, rcut; settings...) =
    WrappedSiteCalculator(ACERust.convert2et(et, ps, st, rcut); settings...)
ACERust.WrappedSiteCalculator(et::ETM.ETPairModel, ps, st, rcut; settings...) =
    WrappedSiteCalculator(ACERust.convertpair(et, ps, st, rcut); settings...)
ACERust.WrappedSiteCalculator(et::ETM.ETOneBody, ps, st, rcut; settings...) = WrappedSiteCalculator(onebody(et, st); settings...)
ACERust.WrappedSiteCalculator(calc::ETM.WrappedSiteCalculator; settings...) = converted(calc; settings...)
ACERust.StackedCalculator(stack::ETM.StackedCalculator; settings...) = ACERust.convert2et_full(stack; settings...)

# ---- fitting with ACEpotentials' own data

Models.length_basis(calc::Calculator) = ACERust.length_basis(calc)
Models.potential_energy_basis(sys::ACERust.AbstractSystem, calc::Calculator; options...) = ACERust.potential_energy_basis(sys, calc; options...)
Models.energy_forces_virial_basis(sys::ACERust.AbstractSystem, calc::Calculator; options...) = ACERust.energy_forces_virial_basis(sys, calc; options...)
ETM.get_linear_parameters(calc::Calculator) = ACERust.get_linear_parameters(calc)
ETM.set_linear_parameters!(calc::Calculator, θ::AbstractVector) = ACERust.set_linear_parameters!(calc, θ)

ACERust.observed(d::ACEpotentials.AtomsData) = .!isnothing.((d.energy_key, d.force_key, d.virial_key))
ACERust.target_vector(d::ACEpotentials.AtomsData) = ACEfit.target_vector(d)
ACERust.weight_vector(d::ACEpotentials.AtomsData) = ACEfit.weight_vector(d)
ACEfit.feature_matrix(d::ACEpotentials.AtomsData, calc::Calculator; options...) = ACERust.feature_matrix(d, calc; options...)
ACEfit.assemble(data::AbstractVector{<:ACEpotentials.AtomsData}, calc::Calculator; options...) = ACERust.assemble(data, calc; options...)

"""
With the keywords of ACEpotentials, and its way to write them. A `prior` is in the order of its parameters, many-body parts first. What it
does that is not done here is refused.
"""
function ACEpotentials.acefit!(
    systems::AbstractArray{<:ACERust.AbstractSystem}, calc::Calculator;
    energy_key = "energy", force_key = "force", virial_key = "virial", weights = ACEpotentials.default_weights(), prior = nothing,
    repulsion_restraint = false, restraint_weight = 0.01, export_json = nothing, export_lammps = nothing, options...,
)
    repulsion_restraint && throw(ArgumentError("there is no repulsion_restraint here: add dimers to the data"))
    export_lammps === nothing || throw(ArgumentError("there is no export_lammps here: the pair style acerust reads what save_model writes"))
    errors = ACERust.acefit!(
        systems, calc;
        energy = Symbol(energy_key), forces = Symbol(force_key), virial = Symbol(virial_key), weights,
        prior = ACERust.from_upstream(calc, prior), options...,
    )
    export_json === nothing || ACERust.save_model(export_json, calc)
    return errors
end

# Priors by the order of the parameters here.
Models.algebraic_smoothness_prior(calc::Calculator; options...) = ACERust.smoothness_prior(calc, :algebraic; options...)
Models.exp_smoothness_prior(calc::Calculator; options...) = ACERust.smoothness_prior(calc, :exponential; options...)
Models.gaussian_smoothness_prior(calc::Calculator; options...) = ACERust.smoothness_prior(calc, :gaussian; options...)

end
