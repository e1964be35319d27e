# What the package asks of the library, and who answers: `ccall.jl`, over the C interface, or the extension on JlrsCore, over jlrs.
# Nothing else in the package knows of either.
#
# Arrays are dense and first index first, so that a vector of space is a column; an empty array is a result that is not wanted. Indices,
# of parts, atoms and edges, count from 0. `atoms` stands for numbers (n), positions (3, n), cell (3, 3) with a vector a column, and
# pbc (3). All may throw an `ACERustError`.
#
#     model_load(binding, path)                          model_n_species(model)      model_species!(model, numbers)
#     model_from_json(binding, json)                     model_rcut(model)           model_linear_parameters!(model, θ)
#     model_from_reference_json(binding, json)           model_length_basis(model)   model_to_json(model)
#     model_extract(model, part)                         model_n_basis(model)        model_name(model), model_summary(model)
#     model_save(model, path)                            model_n_parts(model)        model_part_kind(model, part)
#     model_n_factors(model)                             model_basis_labels!(model, first, factors)   offsets (n_basis + 1), (2, n_factors)
#     model_splinify(model, nodes)                       model_log_prior!(model, kind, p, wl, wn, diagonal)   kind: 0, 1, 2 as in acerust.h
#
#     set_memory_limit(binding, bytes)                   check_memory(binding, bytes, what)
#
#     plan_new(model, device, precision, tolerance, nthreads)       device: -1 is the processor, else the index of a CUDA device
#     plan_set_linear_parameters(plan, θ)                           precision: the number of a preset of the library
#     plan_set_committee(plan, θs), a member a column               tolerance: of radial tables; 0 for none, NaN for the library's choice
#     plan_set_threads(plan, nthreads)                              nthreads: 0 is all of the machine
#     plan_model(plan)                                              plan_at(plan, head, charge, spin): vectors, empty where not given
#
#     graph_build(binding, atoms..., rcut, skin, nthreads)
#     graph_from_edges(binding, numbers, first, neighbour, r, cutoff)   r: (3, n_edges)
#     graph_update(graph, atoms...) -> are the edges others than before?
#     graph_n_edges(graph)
#     graph_edges!(graph, first, neighbour, shift, r)
#
#     energy_forces_virial!(plan, graph, forces, virial) -> energy  (3, n_atoms), (3, 3) row by row
#     committee_energy_forces_virial!(plan, graph, energies, forces, virials)                                each with members last
#     site_energies!(plan, graph, energies)                         (n_centres)
#     site_grads!(plan, graph, gradients)                           (3, n_edges)
#     site_basis!(plan, graph, basis)                               (n_basis, n_centres)
#     site_basis_jacobian!(plan, graph, basis, jacobian)            (3, n_basis, n_edges)
#     assemble!(plan, atoms..., energy, forces, virial, layout)     layout: of each of the three (n_rows, first entry, distance of columns)
#
#     list_new(plan, skin)                                          a neighbour list on the plan's device, which follows moving atoms
#     list_energy_forces_virial!(list, plan, atoms..., forces, virial) -> energy
#     list_device_energy_forces_virial!(list, plan, numbers, cell, pbc, positions, forces, stream, virial) -> energy   device addresses
#
#     is_open(handle), release(handle): frees at once what garbage collection would free later

"A way into the library; what makes something from nothing takes one as its first argument."
abstract type Binding end

"An object of the library; `Kind` is `:model`, `:plan`, `:graph` or `:list`. Freed by `close` or when it is garbage."
abstract type Handle{Kind} end
const ModelHandle = Handle{:model}
const PlanHandle = Handle{:plan}
const GraphHandle = Handle{:graph}
const ListHandle = Handle{:list}

Base.isopen(handle::Handle) = is_open(handle)
Base.close(handle::Handle) = release(handle)
# Copies share what is not Julia's memory; what changes it, or would close it for others, has copies of its own (`serialization.jl`).
Base.deepcopy_internal(handle::Handle, ::IdDict) = handle

"""
An error of the library: `status` is one of `ACERUST_ERROR_…` of `acerust.h`, `message` names the culprit. Atoms, edges, rows and numbers count from 1
in it, as everywhere in Julia; in the library's own words, which it is made of, from 0.
"""
struct ACERustError <: Exception
    status::Int32
    message::String
    ACERustError(status, message) = new(status, replace(message, COUNTED => one_more))
end

const COUNTED = r"\b(atoms?|centre|edge|neighbour|committee member|row|by parameter|parameters: number) \d+( and \d+)?| at \d+(?=, expected)"
one_more(words) = replace(words, r"\d+" => digits -> string(parse(Int, digits) + 1))

Base.showerror(io::IO, error::ACERustError) = print(io, "ACERust: ", error.message)

"The error of a `kind` of handle that has been closed."
closed(kind) = ACERustError(7, "handle: this $kind has been closed")

# Results that are not wanted.
const NO_MATRIX = Matrix{Float64}(undef, 0, 0)

"The columns of an array as vectors, without a copy."
columns(x::Array{T}) where {T} = reinterpret(reshape, SVector{3,T}, x)
