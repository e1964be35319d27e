"""
Equivariant operations, the building blocks of networks such as MACE: spherical harmonics, linear maps, products, contractions, radial
functions, perceptrons, gates; forwards, backwards and twice backwards. With ChainRulesCore they have rules of differentiation that work twice.
See [`Operation`](@ref ACERust.Ops.Operation).
"""
module Ops

using ..ACERust: Address, @acerust, JSON, check, device_option, json, library, text
import Libdl

export Operation, forward, forward!, backward, double_backward, inputs, indices

"An array of an operation: numbers in a row, and how many rows: a fixed number, or as many as there are rows or nodes."
struct Port
    name::String
    width::Int
    rows::Union{Int,Symbol}
end

"""
    Operation(kind; storage = Float64, device = :cpu, layout = "ir_mul", layout_out, convention = "O3_e3nn", arithmetic = "full", parameters…)

An equivariant operation, made once and used from any number of tasks. `kind` is one of

- `:harmonics` (`lmax`, `normalization`: `"component"` or `"orthonormal"`)
- `:linear` (`irreps_in`, `irreps_out`, `bias`, `species`)
- `:channelwise` (`irreps_in1`, `irreps_in2`, `targets`, `shared_weights`, `convolution`)
- `:fully_connected` (`irreps_in1`, `irreps_in2`, `irreps_out`, `shared_weights`, `convolution`)
- `:contraction` (`irreps_in`, `irreps_out`, `correlation`, `species`, `basis`, `projection`)
- `:radial` (`r_max`, `basis`, `cutoff`, `transform`), `:mlp` (`widths`, `activation`, `constant`, `layer_norm`),
  `:gate` (`scalars`, `gated`, `activation`, `constant`, `gate_activation`, `gate_constant`)

with irreps as in `"128x0e+128x1o"`; `storage` is `Float64`, `Float32` or `Float16`, `layout` is `"ir_mul"` or `"mul_ir"`. Arrays have a row of the
library's, which is a node or an edge, a column: (width, rows). [`inputs`](@ref ACERust.Ops.inputs) and
[`indices`](@ref ACERust.Ops.indices) tell which there are.

With `device = :cuda`, or the index of a device counted from 0, arrays are those of CUDA.jl, results too, and indices best are on the host. Passes
are queued on the task's stream and not waited for; `wait(op)` waits, and throws where a result since the last time was not finite. `arithmetic`, for
`:linear` and `:mlp` there, is `"tf32"` or `"bf16"` for tensor cores.

```jldoctest
julia> using ACERust.Ops

julia> op = Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e")
Operation linear: x (2, rows), w (2, 1) → (1, rows)

julia> op([1.0 3.0; 2.0 4.0], [5.0, 6.0])
1×2 Matrix{Float64}:
 12.0208  27.5772
```
"""
struct Operation{T}
    handle::Address{:op}
    kind::Symbol
    device::Int   # −1 for the processor
    inputs::Vector{Port}
    indices::Vector{@NamedTuple{name::Symbol, bound::Union{Int,Symbol}}}
    output::Port
end

const STORAGE = Dict{Type,String}(Float64 => "f64", Float32 => "f32", Float16 => "f16")

function Operation(
    kind::Symbol; storage::Type = Float64, device = :cpu, layout = nothing, layout_out = nothing, convention = nothing, arithmetic = nothing, parameters...
)
    haskey(STORAGE, storage) || throw(ArgumentError("storage is Float64, Float32 or Float16, not $storage"))
    index = device_option(device)
    given = (name => x for (name, x) in pairs((; layout, layout_out, convention, arithmetic)) if x !== nothing)
    described = json((; operation = NamedTuple{(kind,)}((values(parameters),)), storage = STORAGE[storage], given...))
    handle = Address{:op}(
        out -> @acerust acerust_op_new(described::Cstring, (index >= 0)::Int32, max(index, 0)::Int32, out::Ptr{Ptr{Cvoid}})
    )
    # Two numbers that nothing else is: what has as many rows follows them.
    rows, nodes = 1_000_003, 1_000_033
    found = JSON.parse(sizes(handle, rows, nodes))
    follow(n) = n == rows ? :rows : n == nodes ? :nodes : Int(n)
    port(p) = Port(p["name"], p["width"], follow(p["rows"]))
    return Operation{storage}(
        handle, kind, index, port.(found["inputs"]), [(name = Symbol(i["name"]), bound = follow(i["bound"])) for i in found["indices"]], port(found["output"])
    )
end

sizes(handle, rows, nodes) = text((b, n, needed) -> @acerust acerust_op_sizes(
    handle::Ptr{Cvoid}, rows::Csize_t, nodes::Csize_t, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
))

"The names of an operation's inputs, in the order that calls take them."
inputs(op::Operation) = [port.name for port in op.inputs]

"The names of an operation's indices, which calls take as keywords: vectors of integers from 1, an entry a row."
indices(op::Operation) = [index.name for index in op.indices]

function Base.show(io::IO, op::Operation)
    shape(port) = "($(port.width), $(port.rows))"
    print(io, "Operation ", op.kind, ": ", join(("$(port.name) $(shape(port))" for port in op.inputs), ", "))
    isempty(op.indices) || print(io, "; ", join(indices(op), ", "))
    return print(io, " → ", shape(op.output))
end
Base.isopen(op::Operation) = isopen(op.handle)
Base.close(op::Operation) = close(op.handle)

# Memory: `false` for the processor's, `true` for a CUDA device's, of which ACERustCUDAExt knows.

memory(op::Operation) = Val(op.device >= 0)
"Is an array in the memory of a CUDA device?"
on_device(::AbstractArray) = false
"The numbers of an array as a dense one of `T`; and room for as many as `size` says."
dense(::Type{T}, ::Val{false}, x::Array{T}) where {T} = x
dense(::Type{T}, ::Val{false}, x::AbstractArray) where {T} = Array{T}(x)
room(::Type{T}, ::Val{false}, size) where {T} = Array{T}(undef, size)
"The stream of this task on a device."
stream(::Val{false}, device) = C_NULL
stream(::Val{true}, device) = throw(ArgumentError("operations on CUDA devices take arrays of CUDA.jl, which is not loaded"))

struct Named   # acerust_array
    name::Ptr{UInt8}
    data::Ptr{Cvoid}
    length::Csize_t
end

"Throws where an array has no such columns; a matrix the other way round has as many numbers, but others."
function expect_columns(name, width, x)
    x isa AbstractArray && (eltype(x) <: Real || all(number -> number isa Real, x)) ||
        throw(ArgumentError("$name is a $(typeof(x)), not an array of real numbers"))
    ndims(x) == 2 && size(x, 1) != width && throw(DimensionMismatch("$name: a matrix of size $(size(x)) has no columns of $width"))
end

"The arguments of a call as the library takes them: how many rows and nodes, inputs and indices by name."
function arguments(op::Operation{T}, xs, given) where {T}
    length(xs) == length(op.inputs) || throw(ArgumentError("$(length(xs)) inputs for $op"))
    counts = Dict(:rows => 0, :nodes => 0)
    arrays = Pair{String,AbstractArray}[]
    for (port, x) in zip(op.inputs, xs)
        expect_columns(port.name, port.width, x)
        on_device(x) == (op.device >= 0) || throw(ArgumentError("$(port.name): $(typeof(x)), expected memory of $(op.device < 0 ? "the processor" : "a CUDA device")"))
        data = dense(T, memory(op), x)
        n, rest = divrem(length(data), max(port.width, 1))
        rest == 0 || throw(DimensionMismatch("$(port.name): $(length(data)) numbers are no columns of $(port.width)"))
        port.rows isa Symbol && port.width > 0 && (counts[port.rows] = max(counts[port.rows], n))
        push!(arrays, port.name => data)
    end
    for name in keys(given)
        name in indices(op) || throw(ArgumentError("$name is no index of $op"))
    end
    for (name, _) in op.indices
        haskey(given, name) || throw(ArgumentError("the index $name is missing for $op"))
        given[name] isa AbstractVector || throw(ArgumentError("$name is a $(typeof(given[name])), not a vector of integers"))
        counts[:rows] = max(counts[:rows], length(given[name]))
    end
    for (name, bound) in op.indices
        largest = bound isa Int ? bound : counts[bound]
        index = on_device(given[name]) ? Array(given[name]) : given[name]
        k = findfirst(i -> !(i isa Real && isinteger(i) && 1 <= i <= largest), index)
        k === nothing || throw(ArgumentError("$name: $(repr(index[k])) at $k, expected 1 to $largest"))
        push!(arrays, String(name) => UInt32.(index .- 1))
    end
    return counts[:rows], counts[:nodes], arrays
end

"Calls the library's function of a pass."
function run!(pass::Val, op::Operation, rows, nodes, arrays::AbstractVector{<:Pair{String}})
    names, data = String[first(array) for array in arrays], AbstractArray[last(array) for array in arrays]
    address(x) = isempty(x) ? C_NULL : Ptr{Cvoid}(reinterpret(UInt, pointer(x)))
    GC.@preserve names data begin
        named = Named[Named(pointer(names[k]), address(data[k]), length(data[k])) for k in eachindex(names)]
        call(pass, op.handle, rows, nodes, named, stream(memory(op), op.device))
    end
    return nothing
end

for pass in (:forward, :backward, :double_backward)
    @eval call(::Val{$(QuoteNode(pass))}, handle, rows, nodes, named, stream) = @acerust $(Symbol(:acerust_op_, pass))(
        handle::Ptr{Cvoid}, rows::Csize_t, nodes::Csize_t, named::Ptr{Named}, length(named)::Csize_t, stream::Ptr{Cvoid}
    )
end

function Base.wait(op::Operation)
    handle, on = op.handle, stream(memory(op), op.device)
    @acerust acerust_op_wait(handle::Ptr{Cvoid}, on::Ptr{Cvoid})
    return nothing
end

function output(op::Operation{T}, counts) where {T}
    rows = op.output.rows
    return room(T, memory(op), (op.output.width, rows isa Int ? rows : counts[rows]))
end

"""
    forward(op, inputs…; indices…) -> Matrix
    op(inputs…; indices…)

The result, (width, rows).
"""
function forward(op::Operation, xs...; given...)
    rows, nodes, arrays = arguments(op, xs, values(given))
    out = output(op, (; rows, nodes))
    run!(Val(:forward), op, rows, nodes, push!(arrays, "out" => out))
    return out
end
(op::Operation)(xs...; given...) = forward(op, xs...; given...)

"""
    forward!(out, op, inputs…; indices…) -> out

The same, into an array of as many numbers, which overlaps no input.
"""
function forward!(out::AbstractArray{T}, op::Operation{T}, xs...; given...) where {T}
    dense(T, memory(op), out) === out || throw(ArgumentError("out: $(typeof(out)), expected a dense array in the memory of the operation"))
    expect_columns("out", op.output.width, out)
    rows, nodes, arrays = arguments(op, xs, values(given))
    run!(Val(:forward), op, rows, nodes, push!(arrays, "out" => out))
    return out
end

"""
    backward(op, cotangent, inputs…; indices…) -> Tuple

The gradients of `Σ cotangent · out` with respect to each input, in its shape.
"""
function backward(op::Operation{T}, cotangent, xs...; given...) where {T}
    rows, nodes, arrays = arguments(op, xs, values(given))
    expect_columns("cotangent", op.output.width, cotangent)
    gradients = map(x -> room(T, memory(op), size(x)), xs)
    wanted = ["grad." * name => g for (name, g) in zip(inputs(op), gradients)]
    run!(Val(:backward), op, rows, nodes, [arrays; "cotangent" => dense(T, memory(op), cotangent); wanted])
    return gradients
end

"""
    double_backward(op, cotangent, directions, inputs…; indices…) -> (cotangent, inputs)

The gradients of `Σ grad · direction` with respect to the cotangent and to each input, where `grad` are the gradients of
[`backward`](@ref ACERust.Ops.backward) and `directions` is a tuple of an array for each input, or `nothing`.
"""
function double_backward(op::Operation{T}, cotangent, directions, xs...; given...) where {T}
    rows, nodes, arrays = arguments(op, xs, values(given))
    directions isa Tuple && length(directions) == length(xs) ||
        throw(ArgumentError("directions are a tuple of $(length(xs)), an array or nothing for each input of $op"))
    expect_columns("cotangent", op.output.width, cotangent)
    seconds, of_cotangent = map(x -> room(T, memory(op), size(x)), xs), room(T, memory(op), size(cotangent))
    named = Pair{String,AbstractArray}["cotangent" => dense(T, memory(op), cotangent), "second.cotangent" => of_cotangent]
    for (port, direction, second) in zip(op.inputs, directions, seconds)
        direction === nothing || expect_columns("direction of $(port.name)", port.width, direction)
        direction === nothing || push!(named, "dir." * port.name => dense(T, memory(op), direction))
        push!(named, "second." * port.name => second)
    end
    run!(Val(:double_backward), op, rows, nodes, [arrays; named])
    return of_cotangent, seconds
end

end
