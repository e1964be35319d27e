# Models and operations as layers of Lux.
module ACERustLuxCoreExt

using ACERust: ACERust, ACERustModel, InteractionGraph, get_linear_parameters, length_basis, site_energies
using ACERust.Ops: Operation, Port
import LuxCore

struct SiteLayer{M<:ACERustModel} <: LuxCore.AbstractLuxLayer
    model::M
end
ACERust.layer(model::ACERustModel) = SiteLayer(model)

(layer::SiteLayer)(G::InteractionGraph, ps, st) = (site_energies(layer.model, G, ps, st), st)
LuxCore.initialparameters(rng::LuxCore.AbstractRNG, layer::SiteLayer) = LuxCore.initialparameters(rng, layer.model)
LuxCore.parameterlength(layer::SiteLayer) = length_basis(layer.model)

# As the models of ETModels, which are layers themselves.
LuxCore.initialparameters(::LuxCore.AbstractRNG, model::ACERustModel) = (linear = get_linear_parameters(model),)
LuxCore.initialstates(::LuxCore.AbstractRNG, ::ACERustModel) = (;)

struct OperationLayer{O<:Operation,F,P<:Tuple} <: LuxCore.AbstractLuxLayer
    operation::O
    init::F
    places::P           # of each input of the operation: its name among the parameters, or its place among the inputs of the layer
end

is_weight(port::Port) = port.rows isa Int
weights(operation) = filter(is_weight, operation.inputs)

function ACERust.layer(operation::Operation; init = randn)
    ports = operation.inputs
    places = [is_weight(port) ? Symbol(port.name) : k for (port, k) in zip(ports, cumsum(.!is_weight.(ports)))]
    return OperationLayer(operation, init, Tuple(places))
end

function LuxCore.initialparameters(rng::LuxCore.AbstractRNG, layer::OperationLayer{<:Operation{T}}) where {T}
    function made(port)
        size = (port.width, port.rows)
        startswith(port.name, r"b|shift") && return zeros(T, size)
        startswith(port.name, "scale") && return ones(T, size)
        return layer.init(rng, T, size...)
    end
    ports = weights(layer.operation)
    return NamedTuple{Tuple(Symbol(port.name) for port in ports)}(Tuple(made.(ports)))
end
LuxCore.parameterlength(layer::OperationLayer) = sum(port -> port.width * port.rows, weights(layer.operation); init = 0)

(layer::OperationLayer)(x::AbstractArray, ps, st) = layer((x,), ps, st)
function (layer::OperationLayer)(x::Tuple, ps, st)
    given = last(x) isa NamedTuple ? last(x) : (;)
    arrays = last(x) isa NamedTuple ? Base.front(x) : x
    n = count(place -> place isa Int, layer.places)
    length(arrays) == n || throw(ArgumentError("$(length(arrays)) inputs for a layer of $(layer.operation), which takes $n"))
    xs = map(place -> place isa Symbol ? getproperty(ps, place) : arrays[place], layer.places)
    return layer.operation(xs...; given...), st
end

Base.show(io::IO, layer::OperationLayer) = print(io, "Layer of ", layer.operation)
Base.show(io::IO, layer::SiteLayer) = print(io, "Layer of ", layer.model)

end
