# Sums of calculators.

"Members of a stack that are evaluated together, in one call over one graph."
struct Fused
    members::Vector{Int}                        # which of the stack's calculators
    calc::WrappedSiteCalculator
    versions::Vector{Int}                       # of the members, when `calc` took over their parameters
    lock::ReentrantLock
end

"""
    StackedCalculator(calcs)
    StackedCalculator(model; settings…)

The sum of calculators, a tuple or vector of them. Members over an [`ACERustModel`](@ref) with the same species and settings are evaluated together; any other
calculator with the AtomsCalculators interface may be a member too. Linear parameters are those of the members, one after another;
members keep theirs, and a change made to a member is seen by the stack. From a model: one member for each part, or for the whole of a MACE model.
"""
struct StackedCalculator{N,C<:Tuple} <: Calculator
    calcs::C
    fused::Vector{Fused}
end

function StackedCalculator(calcs::Tuple)
    isempty(calcs) && throw(ArgumentError("a stack needs at least one calculator"))
    groups = Dict{Any,Vector{Int}}()
    for (k, calc) in enumerate(calcs)
        # A model that passes messages is evaluated by itself.
        calc isa WrappedSiteCalculator && push!(get!(groups, passes_messages(calc) ? k : (species(calc.model), calc.settings), Int[]), k)
    end
    fused = [fuse(calcs, members) for members in sort!(collect(values(groups)); by = first)]
    return StackedCalculator{length(calcs),typeof(calcs)}(calcs, fused)
end

StackedCalculator(calcs::AbstractVector) = StackedCalculator(Tuple(calcs))

StackedCalculator(model::ACERustModel; settings...) =
    StackedCalculator(Tuple(WrappedSiteCalculator(part; settings...) for part in (passes_messages(model) ? [model] : model_parts(model))))

function fuse(calcs, members)
    length(members) == 1 && return Fused(members, calcs[members[1]], Int[], ReentrantLock())
    model = stack_models([calcs[k].model for k in members])
    calc = WrappedSiteCalculator(model; keywords(calcs[members[1]].settings)...)
    return Fused(members, calc, zeros(Int, length(members)), ReentrantLock())
end

"The calculator of fused members, with their present parameters."
function present(fused::Fused, stack::StackedCalculator)
    isempty(fused.versions) && return fused.calc
    @lock fused.lock begin
        members = [stack.calcs[k] for k in fused.members]
        versions = [member.version for member in members]
        if versions != fused.versions
            replace_parameters!(fused.calc, reduce(vcat, [member.linear for member in members]))
            replace_committee!(fused.calc, common_committee(members))
            fused.versions .= versions
        end
    end
    return fused.calc
end

"The members of a stack that the library does not evaluate."
foreign(stack::StackedCalculator) = filter(calc -> !(calc isa WrappedSiteCalculator), stack.calcs)

function Base.getproperty(stack::StackedCalculator, name::Symbol)
    name === :rcut && return maximum(in_ångström ∘ cutoff_of, getfield(stack, :calcs))
    name === :ps && return parameters_of(stack)
    name === :st && return (;)
    name === :co_ps && return committee_of(stack)
    return getfield(stack, name)
end
Base.propertynames(stack::StackedCalculator) = (:calcs, :fused, :rcut, :ps, :st, :co_ps)
passes_messages(stack::StackedCalculator) = any(passes_messages, ours(stack))
ours(stack::StackedCalculator) = filter(calc -> calc isa Calculator, getfield(stack, :calcs))

function cutoff_of(calc)
    applicable(cutoff_radius, calc) && return cutoff_radius(calc)
    name = nameof(typeof(calc))
    throw(ArgumentError("the cutoff of $name is not known: define ACERust.cutoff_radius(::$name)"))
end

committee_parameters(stack::StackedCalculator) = common_committee(ours(stack))
"The committees of calculators as one, where all have one, and of the same size."
function common_committee(calcs)
    sets = [committee_parameters(calc) for calc in calcs]
    return isempty(sets) || any(isnothing, sets) || !allequal(size.(sets, 2)) ? nothing : reduce(vcat, sets)
end

splinify(stack::StackedCalculator; options...) =
    StackedCalculator(map(calc -> calc isa Calculator ? splinify(calc; options...) : calc, stack.calcs))

function Base.show(io::IO, stack::StackedCalculator)
    print(io, "StackedCalculator(")
    join(io, stack.calcs, ", ")
    return print(io, ')')
end

Base.close(stack::StackedCalculator) = (foreach(f -> close(f.calc), stack.fused); foreach(close, ours(stack)))

function present_model(stack::StackedCalculator)
    covered = length(stack.fused) == 1 && length(stack.fused[1].members) == length(stack.calcs)
    covered || throw(ArgumentError("only a stack of ACERust calculators with the same species and settings is one model"))
    return present_model(present(stack.fused[1], stack))
end

function evaluate!(energy, forces, virial, sys::AbstractSystem, stack::StackedCalculator, ::Nothing = nothing; options...)
    for fused in stack.fused
        evaluate!(energy, forces, virial, sys, present(fused, stack); options...)
    end
    foreach(calc -> evaluate!(energy, forces, virial, sys, calc; options...), foreign(stack))
    return nothing
end

function evaluate!(energy, forces, virial, sys::AbstractSystem, stack::StackedCalculator, θ::Vector{Float64}; options...)
    columns = blocks(stack)
    for fused in stack.fused
        evaluate!(energy, forces, virial, sys, present(fused, stack), θ[reduce(vcat, columns[fused.members])]; options...)
    end
    for (calc, range) in zip(stack.calcs, columns)
        calc isa WrappedSiteCalculator || evaluate!(energy, forces, virial, sys, calc, calc isa Calculator ? θ[range] : nothing; options...)
    end
    return nothing
end

"A calculator of whatever package, by its AtomsCalculators interface. What it takes of keywords is not known: ours are not passed on."
function evaluate!(
    energy, forces, virial, sys::AbstractSystem, calc, ::Given = nothing; nthreads = nothing, precision = nothing, others...
)
    energy === nothing || (energy[] += ustrip(u"eV", AtomsCalculators.potential_energy(sys, calc; others...)))
    forces === nothing || add!(forces, (f -> SVector{3,Float64}(ustrip.(u"eV/Å", f))).(AtomsCalculators.forces(sys, calc; others...)))
    virial === nothing || (virial[] += SMatrix{3,3,Float64,9}(ustrip.(u"eV", AtomsCalculators.virial(sys, calc; others...))))
    return nothing
end
