# Copies of models and calculators come to life from the model file's text: on another process, from disk, or as deep copies.

"What it takes to make a calculator again."
ingredients(calc::WrappedSiteCalculator) = (model_to_json(calc.model), calc.rcut, calc.settings, calc.linear, calc.members)
ingredients(stack::StackedCalculator) = (stack.calcs,)
ingredients(model::ACERustModel) = (model_to_json(model),)

revive(::Type{<:ACERustModel}, json) = model_from_json(json)
revive(::Type{<:StackedCalculator}, calcs) = StackedCalculator(calcs)
revive(::Type{<:WrappedSiteCalculator}, json, ingredients...) = calculator(model_from_json(json), ingredients...)
"A calculator of another model, with the settings, parameters and committee of this one."
revived(calc::WrappedSiteCalculator, model) = calculator(model, ingredients(calc)[2:end]...)

function calculator(model, cutoff, settings, θ, members)
    calc = WrappedSiteCalculator(model, nothing, nothing, cutoff; keywords(settings)...)
    θ == calc.linear || set_linear_parameters!(calc, θ)
    members === nothing || set_committee!(calc, members)
    return calc
end

const Revived = Union{ACERustModel,WrappedSiteCalculator,StackedCalculator}

function Serialization.serialize(s::Serialization.AbstractSerializer, x::Revived)
    Serialization.serialize_type(s, typeof(x))
    Serialization.serialize(s, ingredients(x))
    return nothing
end
Serialization.deserialize(s::Serialization.AbstractSerializer, T::Type{<:Revived}) =
    Base.inferencebarrier(revive)(T, Serialization.deserialize(s)...)

# Behind barriers: what is revived has types that inference cannot know, and it would look for them through the whole package, for half a minute.
function Base.deepcopy_internal(x::Revived, seen::IdDict)
    haskey(seen, x) && return seen[x]::typeof(x)
    parts = Base.deepcopy_internal(Base.inferencebarrier(ingredients(x)), seen)
    return seen[x] = Base.inferencebarrier(revive)(typeof(x), parts...)::typeof(x)
end
