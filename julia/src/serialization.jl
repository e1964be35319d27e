# Copies of models and calculators come to life from the model file's text: on another process, from disk, or as deep copies.

"What it takes to make a calculator again."
ingredients(calc::WrappedSiteCalculator) = (model_to_json(calc.model), calc.rcut, calc.settings, calc.linear, calc.members)
ingredients(stack::StackedCalculator) = (stack.calcs,)
ingredients(model::ACERustModel) = (model_to_json(model),)

revive(::Type{<:ACERustModel}, json) = model_from_json(json)
revive(::Type{<:StackedCalculator}, calcs) = StackedCalculator(calcs)
function revive(::Type{<:WrappedSiteCalculator}, json, cutoff, settings, θ, members)
    (; nthreads, precision, radial, skin, device) = settings
    calc = WrappedSiteCalculator(model_from_json(json), nothing, nothing, cutoff; nthreads, precision, radial, skin, device)
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
Serialization.deserialize(s::Serialization.AbstractSerializer, T::Type{<:Revived}) = revive(T, Serialization.deserialize(s)...)

function Base.deepcopy_internal(x::Revived, seen::IdDict)
    return get!(() -> revive(typeof(x), Base.deepcopy_internal(ingredients(x), seen)...), seen, x)
end
