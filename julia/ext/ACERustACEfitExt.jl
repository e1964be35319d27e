module ACERustACEfitExt

using ACERust: ACERust, AtomsData, Calculator
using LinearAlgebra: I, UniformScaling
using PrecompileTools: @compile_workload, @setup_workload
using Unitful: @u_str
import ACEfit

ACEfit.basis_size(calc::Calculator) = ACERust.length_basis(calc)
ACEfit.count_observations(d::AtomsData) = ACERust.count_observations(d)
ACEfit.feature_matrix(d::AtomsData, calc::Calculator; options...) = ACERust.feature_matrix(d, calc; options...)
ACEfit.target_vector(d::AtomsData) = ACERust.target_vector(d)
ACEfit.weight_vector(d::AtomsData) = ACERust.weight_vector(d)
ACEfit.assemble(data::AbstractVector{<:AtomsData}, calc::Calculator; options...) = ACERust.assemble(data, calc; options...)

const WEIGHTS = (E = 30.0, F = 1.0, V = 1.0)

function ACERust.acefit!(
    systems, calc::Calculator;
    energy = :energy, forces = :forces, virial = :virial, stress = :stress, weights = WEIGHTS, group = :config_type,
    validation_set = nothing, options...
)
    of(some) = ACERust.atoms_data(some, calc; energy, forces, virial, stress, weights, group)
    return ACERust.acefit!(of(systems), calc; validation_set = validation_set === nothing ? nothing : of(validation_set), options...)
end

function ACERust.acefit!(
    data::AbstractVector{<:AtomsData}, calc::Calculator;
    solver = ACEfit.BLR(), smoothness::Real = 4, prior::Union{Nothing,AbstractMatrix,UniformScaling} = nothing,
    validation_set::Union{Nothing,AbstractVector{<:AtomsData}} = nothing, verbose = true, progress = stderr isa Base.TTY, options...,
)
    ACERust.expect_options(options)
    ACERust.length_basis(calc) > 0 || throw(ArgumentError("there are no linear parameters to fit in $calc"))
    P = prior === nothing ? ACERust.smoothness_prior(calc; p = smoothness) : ACERust.checked_prior(calc, prior)
    counts = ACERust.observations(data)
    sum(ACERust.count_observations, data; init = 0) > 0 || throw(ArgumentError("no observations to fit to in $(length(data)) systems"))
    verbose && (show(stdout, MIME("text/plain"), counts); println())
    function problem(some)
        A, Y, W = ACERust.assemble(some, calc; progress, options...)
        A .*= W
        return P == I ? A : A / P, W .* Y
    end
    result = ACEfit.solve(solver, problem(data)..., (validation_set === nothing ? () : problem(validation_set))...)
    committee = get(result, "committee", nothing)
    θ = ACERust.checked_parameters(calc, P \ result["C"])
    ACERust.replace_committee!(calc, ACERust.checked_committee(calc, committee === nothing ? nothing : P \ committee))
    ACERust.replace_parameters!(calc, θ)
    return ACERust.compute_errors(data, calc; options...)
end

# A first fit, compiled ahead; without a library there is nothing to run.
@setup_workload try
    sys = ACERust.periodic_system([:Si => [0.0, 0.0, 0.0]u"Å"], ([0.0, 2.7, 2.7]u"Å", [2.7, 0.0, 2.7]u"Å", [2.7, 2.7, 0.0]u"Å"))
    calc = ACERust.StackedCalculator(ACERust.smallest_model(); nthreads = 1)
    data = ACERust.observe_and_assemble(calc, sys)
    solvers = (ACEfit.QR(lambda = 1e-3), ACEfit.BLR(verbose = false))
    @compile_workload for solver in solvers
        try
            redirect_stdout(() -> ACERust.acefit!(data, calc; solver, progress = false), devnull)
            ACERust.acefit!([d.system for d in data], calc; solver, progress = false, verbose = false)
        catch error
            @debug "not compiled ahead" solver error   # BLR does not work with every version of Optim
        end
    end
    ACERust.HANDLE[] = C_NULL     # of this process alone
catch error
    @debug "nothing compiled ahead" error
end

end
