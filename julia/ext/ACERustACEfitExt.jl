module ACERustACEfitExt

using ACERust: ACERust, AtomsData, Calculator
using LinearAlgebra: I, UniformScaling
import ACEfit

ACEfit.basis_size(calc::Calculator) = ACERust.length_basis(calc)
ACEfit.count_observations(d::AtomsData) = ACERust.count_observations(d)
ACEfit.feature_matrix(d::AtomsData, calc::Calculator; options...) = ACERust.feature_matrix(d, calc; options...)
ACEfit.target_vector(d::AtomsData) = ACERust.target_vector(d)
ACEfit.weight_vector(d::AtomsData) = ACERust.weight_vector(d)
ACEfit.assemble(data::AbstractVector{<:AtomsData}, calc::Calculator; options...) = ACERust.assemble(data, calc; options...)

const WEIGHTS = (E = 30.0, F = 1.0, V = 1.0)

function ACERust.acefit!(
    systems, calc::Calculator; energy = :energy, forces = :forces, virial = :virial, weights = WEIGHTS, group = :config_type, options...
)
    return ACERust.acefit!(ACERust.atoms_data(systems, calc; energy, forces, virial, weights, group), calc; options...)
end

function ACERust.acefit!(
    data::AbstractVector{<:AtomsData}, calc::Calculator;
    solver = ACEfit.BLR(), prior::Union{AbstractMatrix,UniformScaling} = I, progress = stderr isa Base.TTY, options...,
)
    ACERust.expect_options(options)
    A, Y, W = ACERust.assemble(data, calc; progress, options...)
    A .*= W
    result = ACEfit.solve(solver, prior == I ? A : A / prior, W .* Y)
    committee = get(result, "committee", nothing)
    θ = ACERust.checked_parameters(calc, prior \ result["C"])
    ACERust.replace_committee!(calc, ACERust.checked_committee(calc, committee === nothing ? nothing : prior \ committee))
    ACERust.replace_parameters!(calc, θ)
    return ACERust.compute_errors(data, calc; options...)
end

end
