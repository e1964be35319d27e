# The binding over the C interface: calls with status and message, and handles that are freed once.

"The binding over the C interface."
struct CCall <: Binding end

"Throws what the library said last in this thread, unless `status` is 0."
function check(status::Int32)
    status == 0 && return nothing
    f = Libdl.dlsym(library(), :acerust_last_error)
    bytes = Vector{UInt8}(undef, @ccall $f(C_NULL::Ptr{UInt8}, 0::Csize_t)::Csize_t)
    @ccall $f(bytes::Ptr{UInt8}, length(bytes)::Csize_t)::Csize_t
    throw(ACERustError(status, String(bytes[1:(end - 1)])))
end

"""
    @acerust f(x::T, …)

Calls the library's `f` and throws where it does not return 0. Other threads may collect garbage meanwhile where Julia allows it
(1.12 and later). The message belongs to the thread, so that no task switch may come between call and `check`; there is none.
"""
macro acerust(call)
    name, f = QuoteNode(call.args[1]), gensym(call.args[1])
    signature = Expr(:(::), Expr(:call, Expr(:$, f), call.args[2:end]...), :Int32)
    options = VERSION >= v"1.12" ? [:(gc_safe = true)] : []
    invocation = Expr(:macrocall, Symbol("@ccall"), __source__, options..., signature)
    return esc(:(
        let $f = Libdl.dlsym(library(), $name)
            check($invocation)
        end
    ))
end

"A handle of the C interface."
mutable struct Address{Kind} <: Handle{Kind}
    @atomic value::Ptr{Cvoid}
    function Address{Kind}(value::Ptr{Cvoid}) where {Kind}
        return finalizer(release, new{Kind}(value))
    end
end
const Model, Plan, Graph, List = Address{:model}, Address{:plan}, Address{:graph}, Address{:list}

is_open(handle::Address) = (@atomic handle.value) != C_NULL

function release(handle::Address{Kind}) where {Kind}
    value = @atomicswap handle.value = C_NULL
    value == C_NULL && return nothing
    f = Libdl.dlsym(library(), Symbol(:acerust_, Kind, :_free))
    @ccall $f(value::Ptr{Cvoid})::Int32
    return nothing
end

# `ccall` keeps what `cconvert` returns alive until it is over.
Base.cconvert(::Type{Ptr{Cvoid}}, handle::Address) = handle
function Base.unsafe_convert(::Type{Ptr{Cvoid}}, handle::Address{Kind}) where {Kind}
    value = @atomic handle.value
    value == C_NULL && throw(closed(Kind))
    return value
end

"The handle that `make(out)` writes to `out`."
function Address{Kind}(make::Function) where {Kind}
    out = Ref{Ptr{Cvoid}}(C_NULL)
    make(out)
    return Address{Kind}(out[])
end

"The text that `get(buffer, length, needed)` writes."
function text(get::Function)
    needed = Ref{Csize_t}(0)
    get(C_NULL, 0, needed)
    bytes = Vector{UInt8}(undef, needed[])
    get(bytes, length(bytes), needed)
    return String(bytes[1:(end - 1)])
end

"The number that `get(out)` writes."
function number(get::Function, ::Type{T}) where {T}
    out = Ref{T}(zero(T))
    get(out)
    return out[]
end
tally(get::Function) = Int(number(get, Csize_t))

"Where a result goes; null where it is not wanted."
wanted(result::Array) = isempty(result) ? C_NULL : result

# ---- models

model_load(::CCall, path::String) = Model(out -> @acerust acerust_model_load(path::Cstring, out::Ptr{Ptr{Cvoid}}))
model_from_json(::CCall, json::String) =
    Model(out -> @acerust acerust_model_from_json(json::Cstring, sizeof(json)::Csize_t, out::Ptr{Ptr{Cvoid}}))
model_from_reference_json(::CCall, json::String) =
    Model(out -> @acerust acerust_model_from_reference_json(json::Cstring, sizeof(json)::Csize_t, out::Ptr{Ptr{Cvoid}}))
model_extract(model::Model, part::Int) = Model(
    out -> @acerust acerust_model_extract(model::Ptr{Cvoid}, Csize_t[part]::Ptr{Csize_t}, 1::Csize_t, out::Ptr{Ptr{Cvoid}})
)
model_save(model::Model, path::String) = @acerust acerust_model_save(model::Ptr{Cvoid}, path::Cstring)

for name in (:to_json, :summary, :name)
    @eval $(Symbol(:model_, name))(model::Model) = text((b, n, needed) -> @acerust $(Symbol(:acerust_model_, name))(
        model::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
    ))
end
model_part_kind(model::Model, part::Int) = text((b, n, needed) -> @acerust acerust_model_part_kind(
    model::Ptr{Cvoid}, part::Csize_t, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
))

for name in (:n_species, :length_basis, :n_basis, :n_parts)
    @eval $(Symbol(:model_, name))(model::Model) =
        tally(out -> @acerust $(Symbol(:acerust_model_, name))(model::Ptr{Cvoid}, out::Ptr{Csize_t}))
end
model_rcut(model::Model) = number(out -> @acerust(acerust_model_rcut(model::Ptr{Cvoid}, out::Ptr{Float64})), Float64)
model_species!(model::Model, numbers::Vector{Int32}) =
    @acerust acerust_model_species(model::Ptr{Cvoid}, numbers::Ptr{Int32}, length(numbers)::Csize_t)
model_linear_parameters!(model::Model, θ::Vector{Float64}) =
    @acerust acerust_model_linear_parameters(model::Ptr{Cvoid}, θ::Ptr{Float64}, length(θ)::Csize_t)

# ---- plans

struct Options   # acerust_options
    size::Csize_t
    n_threads::Csize_t
    tolerance::Float64
    radial::Int32
    instruction_set::Int32
end

function plan_new(model::Model, device::Int, precision::Int, tolerance::Float64, nthreads::Int)
    radial = isnan(tolerance) ? 0 : iszero(tolerance) ? 1 : 2   # ACERUST_RADIAL_…
    options = Ref(Options(sizeof(Options), nthreads, radial == 2 ? tolerance : 0.0, radial, 0))
    # ACERUST_CPU, ACERUST_CUDA; ACERUST_F64, ACERUST_F32, ACERUST_MIXED
    return Plan(out -> @acerust acerust_plan_new(
        model::Ptr{Cvoid}, (device >= 0)::Int32, max(device, 0)::Int32, precision::Int32, options::Ptr{Options}, out::Ptr{Ptr{Cvoid}}
    ))
end
plan_set_linear_parameters(plan::Plan, θ::Vector{Float64}) =
    @acerust acerust_plan_set_linear_parameters(plan::Ptr{Cvoid}, θ::Ptr{Float64}, length(θ)::Csize_t)
plan_set_committee(plan::Plan, θs::Matrix{Float64}) =
    @acerust acerust_plan_set_committee(plan::Ptr{Cvoid}, θs::Ptr{Float64}, length(θs)::Csize_t, size(θs, 2)::Csize_t)
plan_set_threads(plan::Plan, nthreads::Int) = @acerust acerust_plan_set_threads(plan::Ptr{Cvoid}, nthreads::Csize_t)
plan_model(plan::Plan) = Model(out -> @acerust acerust_plan_model(plan::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}}))

# ---- graphs

graph_build(::CCall, numbers, positions, cell, pbc, rcut::Float64, skin::Float64, nthreads::Int) =
    Graph(out -> @acerust acerust_graph_build(
        length(numbers)::Csize_t, numbers::Ptr{Int32}, positions::Ptr{Float64}, cell::Ptr{Float64}, pbc::Ptr{Int32},
        rcut::Float64, skin::Float64, nthreads::Csize_t, out::Ptr{Ptr{Cvoid}}
    ))
graph_from_edges(::CCall, numbers, first, neighbour, r) = Graph(out -> @acerust acerust_graph_from_edges(
    (length(first) - 1)::Csize_t, length(numbers)::Csize_t, numbers::Ptr{Int32}, first::Ptr{UInt32}, size(r, 2)::Csize_t,
    neighbour::Ptr{UInt32}, r::Ptr{Float64}, out::Ptr{Ptr{Cvoid}}
))
graph_update(graph::Graph, numbers, positions, cell, pbc) = 0 != number(
    rebuilt -> @acerust(acerust_graph_update(
        graph::Ptr{Cvoid}, length(numbers)::Csize_t, numbers::Ptr{Int32}, positions::Ptr{Float64}, cell::Ptr{Float64},
        pbc::Ptr{Int32}, rebuilt::Ptr{Int32}
    )), Int32
)
graph_n_edges(graph::Graph) = tally(out -> @acerust acerust_graph_n_edges(graph::Ptr{Cvoid}, out::Ptr{Csize_t}))
graph_edges!(graph::Graph, first, neighbour, shift, r) = @acerust acerust_graph_edges(
    graph::Ptr{Cvoid}, wanted(first)::Ptr{UInt32}, length(first)::Csize_t, wanted(neighbour)::Ptr{UInt32},
    length(neighbour)::Csize_t, wanted(shift)::Ptr{Int32}, length(shift)::Csize_t, wanted(r)::Ptr{Float64}, length(r)::Csize_t
)

# ---- evaluation

function energy_forces_virial!(plan::Plan, graph::Graph, forces::Matrix{Float64}, virial::Matrix{Float64})
    energy = Ref(0.0)
    @acerust acerust_graph_energy_forces_virial(
        plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, energy::Ptr{Float64}, C_NULL::Ptr{Float64}, 0::Csize_t,
        wanted(forces)::Ptr{Float64}, length(forces)::Csize_t, wanted(virial)::Ptr{Float64}
    )
    return energy[]
end
committee_energy_forces_virial!(plan::Plan, graph::Graph, energies, forces, virials) =
    @acerust acerust_graph_committee_energy_forces_virial(
        plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, wanted(energies)::Ptr{Float64}, length(energies)::Csize_t, C_NULL::Ptr{Float64},
        0::Csize_t, wanted(forces)::Ptr{Float64}, length(forces)::Csize_t, wanted(virials)::Ptr{Float64}, length(virials)::Csize_t
    )
site_energies!(plan::Plan, graph::Graph, energies) =
    @acerust acerust_graph_site_energies(plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, energies::Ptr{Float64}, length(energies)::Csize_t)
site_grads!(plan::Plan, graph::Graph, gradients) = @acerust acerust_graph_site_grads(
    plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, C_NULL::Ptr{Float64}, 0::Csize_t, wanted(gradients)::Ptr{Float64}, length(gradients)::Csize_t
)
site_basis!(plan::Plan, graph::Graph, basis) =
    @acerust acerust_graph_site_basis(plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, basis::Ptr{Float64}, length(basis)::Csize_t)
site_basis_jacobian!(plan::Plan, graph::Graph, basis, jacobian) = @acerust acerust_graph_site_basis_jacobian(
    plan::Ptr{Cvoid}, graph::Ptr{Cvoid}, wanted(basis)::Ptr{Float64}, length(basis)::Csize_t, wanted(jacobian)::Ptr{Float64},
    length(jacobian)::Csize_t
)

# ---- lists

list_new(plan::Plan, skin::Float64) = List(out -> @acerust acerust_list_new(plan::Ptr{Cvoid}, skin::Float64, out::Ptr{Ptr{Cvoid}}))
function list_energy_forces_virial!(list::List, plan::Plan, numbers, positions, cell, pbc, forces, virial)
    energy = Ref(0.0)
    @acerust acerust_list_energy_forces_virial(
        list::Ptr{Cvoid}, plan::Ptr{Cvoid}, length(numbers)::Csize_t, numbers::Ptr{Int32}, positions::Ptr{Float64},
        cell::Ptr{Float64}, pbc::Ptr{Int32}, energy::Ptr{Float64}, C_NULL::Ptr{Float64}, 0::Csize_t, wanted(forces)::Ptr{Float64},
        length(forces)::Csize_t, wanted(virial)::Ptr{Float64}
    )
    return energy[]
end
function list_device_energy_forces_virial!(
    list::List, plan::Plan, numbers, cell, pbc, positions::UInt, forces::UInt, stream::UInt, virial
)
    energy = Ref(0.0)
    @acerust acerust_list_device_energy_forces_virial(
        list::Ptr{Cvoid}, plan::Ptr{Cvoid}, length(numbers)::Csize_t, numbers::Ptr{Int32}, Ptr{Cvoid}(positions)::Ptr{Float64},
        cell::Ptr{Float64}, pbc::Ptr{Int32}, Ptr{Cvoid}(stream)::Ptr{Cvoid}, energy::Ptr{Float64}, C_NULL::Ptr{Float64},
        Ptr{Cvoid}(forces)::Ptr{Float64}, wanted(virial)::Ptr{Float64}
    )
    return energy[]
end

# ---- design rows

struct Rows   # acerust_rows
    size::Csize_t
    energy::Ptr{Float64}
    n_energy::Csize_t
    ld_energy::Csize_t
    forces::Ptr{Float64}
    n_forces::Csize_t
    ld_forces::Csize_t
    virial::Ptr{Float64}
    n_virial::Csize_t
    ld_virial::Csize_t
    n_virial_rows::Int32
    order::Int32
end

const COLUMN_MAJOR = Int32(1)

function assemble!(plan::Plan, numbers, positions, cell, pbc, energy, forces, virial, layout::Vector{Int})
    place(x, start, ld) = isempty(x) ? (C_NULL, 0, 0) : (pointer(x, start + 1), length(x) - start, ld)
    GC.@preserve energy forces virial begin
        e, f, v = place(energy, layout[2], layout[3]), place(forces, layout[5], layout[6]), place(virial, layout[8], layout[9])
        rows = Ref(Rows(sizeof(Rows), e..., f..., v..., layout[7], COLUMN_MAJOR))
        @acerust acerust_assemble(
            plan::Ptr{Cvoid}, length(numbers)::Csize_t, numbers::Ptr{Int32}, positions::Ptr{Float64}, cell::Ptr{Float64},
            pbc::Ptr{Int32}, rows::Ptr{Rows}
        )
    end
    return nothing
end
