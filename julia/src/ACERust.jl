"""
Interatomic potentials of the atomic cluster expansion: a thin layer over the library ACERust. All energies are in eV, all
lengths in Å; numbers without a unit are in these too. All indices count from 1.
"""
module ACERust

using Artifacts: artifact_exists, artifact_hash, artifact_path
using AtomsBase: AbstractSystem, Atom, ChemicalSpecies, FastSystem, FlexibleSystem, periodic_system
using AtomsBase: atomic_number, atomkeys, cell_vectors, hasatomkey, mass, periodicity, position
using AtomsBase: species as species_of
using Distributed: CachingPool, ProcessExitedException, clear!, nprocs, nworkers, remotecall_fetch, workers
using LinearAlgebra: Diagonal, I, UniformScaling, det, pinv
using PrecompileTools: @compile_workload, @setup_workload
using Preferences: @set_preferences!, load_preference
using Printf: @sprintf
using ProgressMeter: Progress, next!
using StaticArrays: SMatrix, SVector
using Unitful: Unitful, @u_str, uconvert, ustrip
import AtomsCalculators
import JSON
import Libdl
import Serialization

export ACERustModel, ETACE, ETPairModel, ETOneBody
export load_model, save_model, convert_reference, onebody_model, one_body, splinify, cutoff_radius
export InteractionGraph, interaction_graph, site_energies, site_grads, site_basis, site_basis_jacobian, site_descriptors
export WrappedSiteCalculator, ETACEPotential, ETPairPotential, ETOneBodyPotential, StackedCalculator
export length_basis, get_linear_parameters, set_linear_parameters!, potential_energy_basis, energy_forces_virial_basis
export basis_labels, smoothness_prior
export set_committee!, committee_energies, committee_forces, committee_energy_forces_virial, committee_mean_std, @committee
export ActiveSet, active_set, Grader, extrapolation_grades
export Training, LossScale
export convert2et, convertpair, convert2et_full

include("binding/interface.jl")
include("binding/library.jl")
include("binding/ccall.jl")
include("binding/choice.jl")
include("json.jl")
include("arguments.jl")
include("models.jl")
include("structure.jl")
include("graph.jl")
include("calculators.jl")
include("site.jl")
include("stacked.jl")
include("assembly.jl")
include("descriptors.jl")
include("basis.jl")
include("data.jl")
include("differentiable.jl")
include("committee.jl")
include("errors.jl")
include("fits.jl")
include("grades.jl")
include("training.jl")
include("ops.jl")
include("serialization.jl")
include("conversion.jl")
include("precompile.jl")

end
