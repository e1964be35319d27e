module ACERustACEfitExt

using ACERust: ACERust, AtomsData, Calculator
import ACEfit

ACEfit.basis_size(calc::Calculator) = ACERust.length_basis(calc)
ACEfit.count_observations(d::AtomsData) = ACERust.count_observations(d)
ACEfit.feature_matrix(d::AtomsData, calc::Calculator; options...) = ACERust.feature_matrix(d, calc; options...)
ACEfit.target_vector(d::AtomsData; options...) = ACERust.target_vector(d; options...)
ACEfit.weight_vector(d::AtomsData; options...) = ACERust.weight_vector(d; options...)
ACEfit.assemble(data::AbstractVector{<:AtomsData}, calc::Calculator; options...) = ACERust.assemble(data, calc; options...)

end
