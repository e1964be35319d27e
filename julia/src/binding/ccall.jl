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

"The bytes that `get(buffer, length, needed)` writes."
function bytes(get::Function)
    needed = Ref{Csize_t}(0)
    get(C_NULL, 0, needed)
    bytes = Vector{UInt8}(undef, needed[])
    get(bytes, length(bytes), needed)
    return bytes
end

"The text that `get(buffer, length, needed)` writes."
text(get::Function) = String(bytes(get)[1:(end - 1)])

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

function model_n_factors(model::Model)
    first = Vector{Csize_t}(undef, model_n_basis(model) + 1)
    @acerust acerust_model_basis_labels(
        model::Ptr{Cvoid}, first::Ptr{Csize_t}, length(first)::Csize_t, C_NULL::Ptr{UInt32}, 0::Csize_t
    )
    return Int(last(first))
end
model_basis_labels!(model::Model, first::Vector{Int}, factors::Matrix{UInt32}) = @acerust acerust_model_basis_labels(
    model::Ptr{Cvoid}, first::Ptr{Int}, length(first)::Csize_t, wanted(factors)::Ptr{UInt32}, length(factors)::Csize_t
)
model_log_prior!(model::Model, kind::Int, p::Float64, wl::Float64, wn::Float64, diagonal::Vector{Float64}) =
    @acerust acerust_model_log_prior(
        model::Ptr{Cvoid}, kind::Int32, p::Float64, wl::Float64, wn::Float64, diagonal::Ptr{Float64}, length(diagonal)::Csize_t
    )
model_splinify(model::Model, nodes::Int) =
    Model(out -> @acerust acerust_model_splinify(model::Ptr{Cvoid}, nodes::Csize_t, out::Ptr{Ptr{Cvoid}}))

set_memory_limit(::CCall, bytes::Int) = @acerust acerust_set_memory_limit(bytes::UInt64)
check_memory(::CCall, bytes::Float64, what::String) = @acerust acerust_check_memory(bytes::Float64, what::Cstring)

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
    # ACERUST_CPU, ACERUST_CUDA; ACERUST_F64, ACERUST_F32, …
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

struct Conditions   # acerust_conditions
    size::Csize_t
    head::Ptr{UInt8}
    total_charge::Ptr{Int64}
    total_spin::Ptr{Int64}
end

"Calls `f` with what the library is told of head, charge and spin."
function under(f, head::Vector{UInt8}, charge::Vector{Int}, spin::Vector{Int})
    place(x) = isempty(x) ? Ptr{eltype(x)}(C_NULL) : pointer(x)
    GC.@preserve head charge spin begin
        return f(Ref(Conditions(sizeof(Conditions), place(head), place(charge), place(spin))))
    end
end
plan_at(plan::Plan, told...) = under(told...) do conditions
    Plan(out -> @acerust acerust_plan_at(plan::Ptr{Cvoid}, conditions::Ptr{Conditions}, out::Ptr{Ptr{Cvoid}}))
end

# ---- graphs

graph_build(::CCall, numbers, positions, cell, pbc, rcut::Float64, skin::Float64, nthreads::Int) =
    Graph(out -> @acerust acerust_graph_build(
        length(numbers)::Csize_t, numbers::Ptr{Int32}, positions::Ptr{Float64}, cell::Ptr{Float64}, pbc::Ptr{Int32},
        rcut::Float64, skin::Float64, nthreads::Csize_t, out::Ptr{Ptr{Cvoid}}
    ))
struct Edges   # acerust_edges
    size::Csize_t
    cutoff::Float64
    n_owned::Csize_t
    n_centres::Csize_t
    n_atoms::Csize_t
    numbers::Ptr{Int32}
    first::Ptr{UInt32}
    n_edges::Csize_t
    neighbour::Ptr{UInt32}
    r::Ptr{Float64}
    positions::Ptr{Float64}
end

graph_from_edges(::CCall, numbers, first, neighbour, r, cutoff::Float64) = GC.@preserve numbers first neighbour r begin
    n = length(first) - 1
    edges = Ref(Edges(
        sizeof(Edges), cutoff, n, n, length(numbers), pointer(numbers), pointer(first), size(r, 2), pointer(neighbour), pointer(r), C_NULL
    ))
    Graph(out -> @acerust acerust_graph_from_edges(edges::Ptr{Edges}, out::Ptr{Ptr{Cvoid}}))
end
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

struct Input   # acerust_input
    size::Csize_t
    graph::Ptr{Cvoid}
    list::Ptr{Cvoid}
    n_atoms::Csize_t
    numbers::Ptr{Int32}
    positions::Ptr{Float64}
    cell::Ptr{Float64}
    pbc::Ptr{Int32}
    stream::Ptr{Cvoid}
    on_device::Int32
end
address(handle::Address) = Base.unsafe_convert(Ptr{Cvoid}, handle)
on(graph::Graph) = Input(sizeof(Input), address(graph), C_NULL, 0, C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0)
structure(list, numbers, positions, cell, pbc, stream = C_NULL, on_device = false) = Input(
    sizeof(Input), C_NULL, list, length(numbers), pointer(numbers), positions, pointer(cell), pointer(pbc), stream, on_device
)

struct Outputs   # acerust_outputs
    size::Csize_t
    energy::Ptr{Float64}
    site_energies::Ptr{Float64}
    n_site_energies::Csize_t
    forces::Ptr{Float64}
    n_forces::Csize_t
    virial::Ptr{Float64}
    n_virial::Csize_t
    site_virials::Ptr{Float64}
    n_site_virials::Csize_t
    edge_gradients::Ptr{Float64}
    n_edge_gradients::Csize_t
    committee_energies::Ptr{Float64}
    n_committee_energies::Csize_t
    committee_site_energies::Ptr{Float64}
    n_committee_site_energies::Csize_t
    committee_forces::Ptr{Float64}
    n_committee_forces::Csize_t
    committee_virials::Ptr{Float64}
    n_committee_virials::Csize_t
    grade::Ptr{Float64}
    n_grade::Csize_t
    descriptors::Ptr{Float64}
    n_descriptors::Csize_t
end

"Where the results of these names go, which are wanted where they are not empty; `energy` always is."
function Outputs(
    energy::Vector{Float64}; site_energies = NO_MATRIX, forces = NO_MATRIX, virial = NO_MATRIX, edge_gradients = NO_MATRIX,
    committee_energies = NO_MATRIX, committee_forces = NO_MATRIX, committee_virials = NO_MATRIX, grade = NO_MATRIX,
    descriptors = NO_MATRIX
)
    nowhere = span(NO_MATRIX)
    return Outputs(
        sizeof(Outputs), pointer(energy), span(site_energies)..., span(forces)..., span(virial)..., nowhere..., span(edge_gradients)...,
        span(committee_energies)..., nowhere..., span(committee_forces)..., span(committee_virials)..., span(grade)..., span(descriptors)...
    )
end
span(x::Array{Float64}) = isempty(x) ? (Ptr{Float64}(C_NULL), Csize_t(0)) : (pointer(x), Csize_t(length(x)))
span(memory::Tuple{Ptr{Float64},Csize_t}) = memory

"Evaluates on what `input()` says; arrays and handles live while the call lasts. Returns the energy."
function run!(plan::Plan, input::F, held...; results...) where {F}
    address(plan)   # a plan that has been closed is named before what is evaluated on
    energy = [0.0]
    kept = values(results)
    GC.@preserve energy kept held begin
        from, to = Ref(input()), Ref(Outputs(energy; results...))
        @acerust acerust_evaluate(plan::Ptr{Cvoid}, from::Ptr{Input}, to::Ptr{Outputs})
    end
    return energy[1]
end
run!(plan::Plan, graph::Graph; results...) = run!(plan, () -> on(graph), graph; results...)

energy_forces_virial!(plan::Plan, graph::Graph, forces::Matrix{Float64}, virial::Matrix{Float64}) =
    run!(plan, graph; forces, virial)
function committee_energy_forces_virial!(plan::Plan, graph::Graph, energies, forces, virials)
    run!(plan, graph; committee_energies = energies, committee_forces = forces, committee_virials = virials)
    return nothing
end
site_energies!(plan::Plan, graph::Graph, energies) = (run!(plan, graph; site_energies = energies); nothing)
site_grads!(plan::Plan, graph::Graph, gradients) = (run!(plan, graph; edge_gradients = gradients); nothing)
site_basis!(plan::Plan, graph::Graph, basis) = (run!(plan, graph; descriptors = basis); nothing)
site_basis_jacobian!(plan::Plan, graph::Graph, basis, jacobian) = GC.@preserve graph begin
    input = Ref(on(graph))
    @acerust acerust_site_basis_jacobian(
        plan::Ptr{Cvoid}, input::Ptr{Input}, wanted(basis)::Ptr{Float64}, length(basis)::Csize_t, wanted(jacobian)::Ptr{Float64},
        length(jacobian)::Csize_t
    )
end

# ---- lists

list_new(plan::Plan, skin::Float64) = List(out -> @acerust acerust_list_new(plan::Ptr{Cvoid}, skin::Float64, out::Ptr{Ptr{Cvoid}}))
list_energy_forces_virial!(list::List, plan::Plan, numbers, positions, cell, pbc, forces, virial) = run!(
    plan, () -> structure(address(list), numbers, pointer(positions), cell, pbc), list, numbers, positions, cell, pbc; forces, virial
)
function list_device_energy_forces_virial!(
    list::List, plan::Plan, numbers, cell, pbc, positions::UInt, forces::UInt, stream::UInt, virial
)
    at() = structure(address(list), numbers, Ptr{Float64}(positions), cell, pbc, Ptr{Cvoid}(stream), true)
    there = (Ptr{Float64}(forces), Csize_t(forces == 0 ? 0 : 3 * length(numbers)))
    return run!(plan, at, list, numbers, cell, pbc; forces = there, virial)
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
    GC.@preserve energy forces virial numbers positions cell pbc begin
        e, f, v = place(energy, layout[2], layout[3]), place(forces, layout[5], layout[6]), place(virial, layout[8], layout[9])
        rows = Ref(Rows(sizeof(Rows), e..., f..., v..., layout[7], COLUMN_MAJOR))
        input = Ref(structure(C_NULL, numbers, pointer(positions), cell, pbc))
        @acerust acerust_assemble(plan::Ptr{Cvoid}, input::Ptr{Input}, rows::Ptr{Rows})
    end
    return nothing
end
