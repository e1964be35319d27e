# Calculators of one model.

"What our calculators share: the whole of the AtomsCalculators interface rests on `evaluate!`."
abstract type Calculator end

"How a calculator evaluates; see [`WrappedSiteCalculator`](@ref)."
struct Settings
    nthreads::Int
    precision::Precision
    radial::Union{Symbol,Float64}
    skin::Float64
    device::Union{Symbol,Int}
    head::Union{Nothing,String}
    function Settings(; nthreads = 0, precision = Float64, radial = :default, skin = 0.5, device = :cpu, head = nothing, others...)
        expect_none(others, "calculators take nthreads, precision, radial, skin, device and head")
        precision_option(precision)   # for its error
        tolerance = radial_option(radial)
        return new(
            nthreads_option(nthreads), precision, radial isa Symbol ? radial : tolerance, skin_option(skin), kept_device(device), head_option(head)
        )
    end
end
keywords(s::Settings) = (; s.nthreads, s.precision, s.radial, s.skin, s.device, s.head)

"A plan, with its present number of threads and the version of the parameters and the committee that it has."
mutable struct Prepared
    const handle::PlanHandle
    nthreads::Int
    version::Int
end

"""
    WrappedSiteCalculator(model; nthreads = 0, precision = Float64, radial = :default, skin = 0.5, device = :cpu, head = nothing)
    WrappedSiteCalculator(model, ps, st, rcut; …)

The AtomsCalculators calculator of an [`ACERustModel`](@ref), for any AtomsBase system of three dimensions. `ps` is `nothing`, empty, or
`(linear = θ,)`; `st` plays no part; `rcut`, in Å or with a unit, may not be less than the model's cutoff.

- `nthreads`: 0 for all of the machine. Results do not depend on it.
- `precision`: `Float64`; `Float32`, single but for the transform of distances; or `:mixed`, single for that as well on CUDA devices, on the
  processor the same as `Float32`; of MACE models on CUDA devices `:f24_radial` as well (`docs/mace.md`). Positions are subtracted, and atoms summed, in double precision whatever it is; results are `Float64`.
- `radial`: `:default`, which the library chooses so that nothing is lost to the precision, `:exact`, or the tolerance of tables.
- `device`: `:cpu`, `:cuda` or the index of a CUDA device, counted from 0. The first call says where it is missing.
- `skin`: Å; neighbour lists are reused while no atom has moved by more than half of it.
- `head`: of a MACE model that has several, the first by default. A system's own `:head` comes before; its `:total_charge` (else 0) and `:total_spin`
  (else 1) are for models that know such.

`nthreads` and `precision` may also be given with each call. Several tasks may use one calculator at once.
"""
mutable struct WrappedSiteCalculator{M<:ACERustModel} <: Calculator
    const model::M
    const rcut::Float64
    const settings::Settings
    const lock::ReentrantLock
    const plans::Dict{Precision,Prepared}                           # by precision
    const spare::Dict{Precision,Vector{PlanHandle}}                  # the same, for parameters that come with a call
    const lists::Vector{GraphHandle}                                # neighbour lists that nobody uses just now
    const device_lists::Dict{Precision,Vector{ListHandle}}           # the same on a device, by precision
    linear::Vector{Float64}
    members::Union{Nothing,Matrix{Float64}}                              # (n_params, n_members)
    version::Int                                                        # of `linear` and `members`
end

const ETACEPotential = WrappedSiteCalculator{ETACE}
const ETPairPotential = WrappedSiteCalculator{ETPairModel}
const ETOneBodyPotential = WrappedSiteCalculator{ETOneBody}

function WrappedSiteCalculator(model::M, ps = nothing, st = nothing, cutoff = rcut(model); settings...) where {M<:ACERustModel}
    return WrappedSiteCalculator{M}(model, ps, st, cutoff; settings...)
end

function WrappedSiteCalculator{M}(model::M, ps = nothing, st = nothing, cutoff = rcut(model); settings...) where {M<:ACERustModel}
    in_ångström(cutoff) >= rcut(model) ||
        throw(ArgumentError("the cutoff of $cutoff is less than the $(rcut(model)) Å of the model"))
    haskey(settings, :head) && settings[:head] !== nothing && !passes_messages(model) &&
        throw(ArgumentError("only MACE models have heads: $(repr(settings[:head])) is for none"))
    calc = WrappedSiteCalculator{M}(
        model, in_ångström(cutoff), Settings(; settings...), ReentrantLock(), Dict(), Dict(), [], Dict(), get_linear_parameters(model), nothing, 0
    )
    θ = linear(ps)
    θ === nothing || set_linear_parameters!(calc, θ)
    return calc
end

"""
    cutoff_radius(calc)

How far a calculator looks, with its unit; of a stack, the farthest of its members. Calculators of other packages may have a method.
"""
cutoff_radius(calc::Calculator) = calc.rcut * u"Å"

# As calculators of ETModels have them.
function Base.getproperty(calc::WrappedSiteCalculator, name::Symbol)
    name === :ps && return parameters_of(calc)
    name === :st && return (;)
    name === :co_ps && return committee_of(calc)
    return getfield(calc, name)
end
Base.propertynames(calc::WrappedSiteCalculator) = (fieldnames(typeof(calc))..., :ps, :st, :co_ps)

parameters_of(calc) = (linear = get_linear_parameters(calc),)
function committee_of(calc)
    members = committee_parameters(calc)
    return members === nothing ? nothing : [(linear = collect(θ),) for θ in eachcol(members)]
end
committee_parameters(calc::WrappedSiteCalculator) = getfield(calc, :members)

passes_messages(calc::WrappedSiteCalculator) = passes_messages(calc.model)
splinify(calc::WrappedSiteCalculator; options...) = revived(calc, splinify(calc.model; options...))
n_basis(calc::WrappedSiteCalculator) = n_basis(calc.model)

"A calculator's model with its present linear parameters."
present_model(calc::WrappedSiteCalculator) = calc.version == 0 || passes_messages(calc) ? calc.model : with_parameters(calc.model, calc.linear)
save_model(path::AbstractString, calc::Calculator) = save_model(path, present_model(calc))

function Base.show(io::IO, calc::WrappedSiteCalculator)
    return print(io, "WrappedSiteCalculator(", calc.model, ", ", calc.rcut, " Å, ", calc.settings.precision, ")")
end

"""
    close(calculator)

Frees what the library keeps for a calculator, its model included, without waiting for the garbage collector.
"""
function Base.close(calc::WrappedSiteCalculator)
    @lock calc.lock begin
        foreach(prepared -> close(prepared.handle), values(calc.plans))
        foreach(close, calc.lists)
        foreach(handles -> foreach(close, handles), (values(calc.spare)..., values(calc.device_lists)...))
        foreach(empty!, (calc.plans, calc.spare, calc.lists, calc.device_lists))
    end
    close(calc.model)
    return nothing
end

new_plan(calc::WrappedSiteCalculator; nthreads = calc.settings.nthreads, precision = calc.settings.precision) =
    make_plan(calc.model; nthreads, precision, calc.settings.radial, calc.settings.device)

"The plan of a precision, with the present parameters and committee, for `nthreads` threads."
function plan(calc::WrappedSiteCalculator; nthreads = calc.settings.nthreads, precision = calc.settings.precision)
    nthreads = nthreads_option(nthreads)
    return @lock calc.lock begin
        found = get(calc.plans, precision, nothing)   # `get!` would have a closure made for each call
        prepared = found === nothing ? add_plan!(calc, precision, nthreads) : found
        if prepared.nthreads != nthreads
            plan_set_threads(prepared.handle, nthreads)
            prepared.nthreads = nthreads
        end
        prepared.version == calc.version || bring_up_to_date!(prepared, calc)
        prepared.handle
    end
end

function add_plan!(calc::WrappedSiteCalculator, precision, nthreads)
    isopen(calc.model) || throw(closed(:model))
    return calc.plans[precision] = Prepared(new_plan(calc; nthreads, precision), nthreads, 0)
end

# Parameters reach a plan when it is next used, so that setting them in a calculator, once they are checked, cannot fail half-way.
function bring_up_to_date!(prepared::Prepared, calc::WrappedSiteCalculator)
    if passes_messages(calc)   # there are no linear parameters, nor a committee of them
        prepared.version = calc.version
        return nothing
    end
    plan_set_linear_parameters(prepared.handle, calc.linear)
    members = calc.members
    plan_set_committee(prepared.handle, members === nothing ? zeros(length_basis(calc), 0) : members)
    prepared.version = calc.version
    return nothing
end

"Calls `f` with a plan: of the present parameters, or of parameters that come with the call, which are checked, and which the calculator forgets."
with_plan(f, calc::WrappedSiteCalculator, ::Nothing; options...) = f(plan(calc; options...))
function with_plan(
    f, calc::WrappedSiteCalculator, θ::Vector{Float64}; nthreads = calc.settings.nthreads, precision = calc.settings.precision
)
    precision_option(precision)   # for its error
    idle = @lock calc.lock get!(() -> PlanHandle[], calc.spare, precision)
    spare = @lock calc.lock isempty(idle) ? nothing : pop!(idle)
    if spare === nothing
        isopen(calc.model) || throw(closed(:model))
        spare = new_plan(calc; nthreads, precision)
    else
        plan_set_threads(spare, nthreads_option(nthreads))
    end
    plan_set_linear_parameters(spare, θ)
    result = f(spare)
    @lock calc.lock push!(idle, spare)
    return result
end

"Calls `f` with a neighbour list of the structure, which nobody else uses meanwhile and which is kept for the next call."
function with_list(f, calc::WrappedSiteCalculator, s::Structure)
    list = @lock calc.lock isempty(calc.lists) ? nothing : pop!(calc.lists)
    if list === nothing
        cutoff = rcut(calc.model)
        list = build_graph(s, cutoff, cutoff == 0 ? 0.0 : calc.settings.skin, calc.settings.nthreads)
    else
        graph_update(list, atoms(s)...)   # a list that could not be updated is let go
    end
    result = f(list)
    @lock calc.lock push!(calc.lists, list)
    return result
end

"The same with a list on the device of the plan, which updates it itself."
function with_device_list(f, calc::WrappedSiteCalculator, plan::PlanHandle, precision)
    idle = @lock calc.lock get!(() -> ListHandle[], calc.device_lists, precision)
    list = @lock calc.lock isempty(idle) ? nothing : pop!(idle)
    list === nothing && (list = list_new(plan, calc.settings.skin))
    result = f(list)
    @lock calc.lock push!(idle, list)
    return result
end

on_device(calc::WrappedSiteCalculator) = calc.settings.device !== :cpu

"Calls `f` with the plan under the conditions that the system and the calculator name, where the model knows such."
function at_conditions(f, plan::PlanHandle, calc::WrappedSiteCalculator, @nospecialize(sys))
    passes_messages(calc) || return f(plan)
    told = conditions(sys, calc.settings.head)
    all(isempty, told) && return f(plan)
    own = plan_at(plan, told...)
    try
        return f(own)
    finally
        close(own)
    end
end

"Head, charge and spin that a system names, else that head: vectors, empty where nobody does."
conditions(sys, head) = (
    terminated(head_option(condition(sys, :head, head))), number_of(condition(sys, :total_charge), :total_charge),
    number_of(condition(sys, :total_spin), :total_spin),
)
condition(sys, key, otherwise = nothing) = haskey(sys, key) ? sys[key] : otherwise
number_of(x, key) = x === nothing ? Int[] : [whole(key, x)]
terminated(::Nothing) = UInt8[]
terminated(head::String) = [codeunits(head); 0x00]

const Given = Union{Nothing,Vector{Float64}}

"""
    evaluate!(energy, forces, virial, sys, calc, θ = nothing; nthreads, precision)

Adds a calculator's results to those that are wanted, which is each that is not `nothing`: a `Ref` of the energy, a vector of forces, a
`Ref` of the virial, without units. `θ` are linear parameters in place of the calculator's, checked before.
"""
function evaluate!(
    energy, forces, virial, @nospecialize(sys::AbstractSystem), calc::WrappedSiteCalculator, θ::Given = nothing;
    nthreads = calc.settings.nthreads, precision = calc.settings.precision, ignored...   # AtomsCalculators wants others ignored
)
    s = Structure(sys)::Structure
    F = forces === nothing ? NO_MATRIX : Matrix{Float64}(undef, 3, length(s))
    V = virial === nothing ? NO_MATRIX : Matrix{Float64}(undef, 3, 3)
    E::Float64 = with_plan(calc, θ; nthreads, precision) do plan
        at_conditions(plan, calc, sys) do handle
            if on_device(calc)
                with_device_list(list -> list_energy_forces_virial!(list, handle, atoms(s)..., F, V), calc, handle, precision)
            else
                with_list(list -> energy_forces_virial!(handle, list, F, V), calc, s)
            end
        end
    end
    energy === nothing || (energy[] += E)
    forces === nothing || (forces .+= columns(F))
    virial === nothing || (virial[] += SMatrix{3,3,Float64,9}(V)')   # row by row in memory
    return nothing
end

"""
    device_energy_forces_virial!(forces, positions, sys, calc; precision) -> (; energy, virial)

Energy and virial of a system at other positions, Å; forces, eV/Å, are left in `forces`. Both are `CuMatrix{Float64}` (3, n_atoms) on the CUDA
device of the calculator, which is `WrappedSiteCalculator(model; device = :cuda)`; nothing of their size is copied. The work waits for what
CUDA.jl's stream of the task has yet to do; forces are there when the call returns. Needs CUDA.
"""
function device_energy_forces_virial! end

"""
Refuses what is no keyword of an evaluation. The functions of this package ask here; those of AtomsCalculators, whose rule is to ignore
keywords that a calculator does not know, do not.
"""
function expect_options(options)
    for name in keys(options)
        name in (:nthreads, :precision) || throw(ArgumentError("there is no keyword $name; evaluations take nthreads and precision"))
    end
end

# ---- AtomsCalculators

const FORCE = typeof(1.0u"eV/Å")

AtomsCalculators.energy_unit(::Calculator) = u"eV"
AtomsCalculators.length_unit(::Calculator) = u"Å"
AtomsCalculators.promote_force_type(::AbstractSystem, ::Calculator) = SVector{3,FORCE}
AtomsCalculators.zero_energy(::AbstractSystem, ::Calculator) = 0.0u"eV"

no_forces(sys) = zeros(SVector{3,Float64}, length(sys))
no_virial() = Ref(zero(SMatrix{3,3,Float64,9}))
with_unit(F::Vector{SVector{3,Float64}}) = F .* u"eV/Å"

"The linear parameters that come with a call, checked; `nothing` for those of the calculator."
function given(calc::Calculator, ps)
    θ = linear(ps)
    θ === nothing || (θ = checked_parameters(calc, θ))
    return θ === nothing || isempty(θ) ? nothing : θ
end

# Parameters of a call are `(linear = θ,)`, as `get_parameters` gives them; the state plays no part and comes back as it was.
function AtomsCalculators.calculate(
    ::AtomsCalculators.Energy, sys::AbstractSystem, calc::Calculator, ps = nothing, st = nothing; options...
)
    E = Ref(0.0)
    evaluate!(E, nothing, nothing, sys, calc, given(calc, ps); options...)
    return (energy = E[] * u"eV", state = st)
end

function AtomsCalculators.calculate(
    ::AtomsCalculators.Forces, sys::AbstractSystem, calc::Calculator, ps = nothing, st = nothing; options...
)
    F = no_forces(sys)
    evaluate!(nothing, F, nothing, sys, calc, given(calc, ps); options...)
    return (forces = with_unit(F), state = st)
end

function AtomsCalculators.calculate(
    ::AtomsCalculators.Virial, sys::AbstractSystem, calc::Calculator, ps = nothing, st = nothing; options...
)
    V = no_virial()
    evaluate!(nothing, nothing, V, sys, calc, given(calc, ps); options...)
    return (virial = V[] * u"eV", state = st)
end

AtomsCalculators.potential_energy(sys::AbstractSystem, calc::Calculator; options...) =
    AtomsCalculators.calculate(AtomsCalculators.Energy(), sys, calc; options...).energy
AtomsCalculators.forces(sys::AbstractSystem, calc::Calculator; options...) =
    AtomsCalculators.calculate(AtomsCalculators.Forces(), sys, calc; options...).forces
AtomsCalculators.virial(sys::AbstractSystem, calc::Calculator; options...) =
    AtomsCalculators.calculate(AtomsCalculators.Virial(), sys, calc; options...).virial

AtomsCalculators.get_parameters(calc::Calculator) = parameters_of(calc)
function AtomsCalculators.set_parameters!(calc::Calculator, ps)
    θ = linear(ps)
    return θ === nothing ? calc : set_linear_parameters!(calc, θ)
end

function AtomsCalculators.energy_forces(sys::AbstractSystem, calc::Calculator; options...)
    E, F = Ref(0.0), no_forces(sys)
    evaluate!(E, F, nothing, sys, calc; options...)
    return (energy = E[] * u"eV", forces = with_unit(F))
end

function AtomsCalculators.energy_forces_virial(sys::AbstractSystem, calc::Calculator; options...)
    E, F, V = Ref(0.0), no_forces(sys), no_virial()
    evaluate!(E, F, V, sys, calc; options...)
    return (energy = E[] * u"eV", forces = with_unit(F), virial = V[] * u"eV")
end

# These add to what is there. Those of one atom would be added to each of many, where broadcasting is not kept from it.
function add!(f, forces)
    length(f) == length(forces) || throw(DimensionMismatch("room for $(length(f)) forces, of $(length(forces)) atoms"))
    return f .+= forces
end

AtomsCalculators.forces!(f::AbstractVector, sys::AbstractSystem, calc::Calculator; options...) =
    add!(f, AtomsCalculators.forces(sys, calc; options...))

function AtomsCalculators.energy_forces!(f::AbstractVector, sys::AbstractSystem, calc::Calculator; options...)
    result = AtomsCalculators.energy_forces(sys, calc; options...)
    add!(f, result.forces)
    return (; result.energy, forces = f)
end

function AtomsCalculators.energy_forces_virial!(f::AbstractVector, sys::AbstractSystem, calc::Calculator; options...)
    result = AtomsCalculators.energy_forces_virial(sys, calc; options...)
    add!(f, result.forces)
    return (; result.energy, forces = f, result.virial)
end
