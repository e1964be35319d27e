# Neighbour graphs: for the site level with edges to look at, for calculators as lists that follow moving atoms.

function build_graph(s::Structure, cutoff, skin, nthreads)
    cell, pbc = Ref(s.cell), Ref(s.pbc)
    return Handle{:graph}(out -> @acerust acerust_graph_build(
        length(s)::Csize_t, s.numbers::Ptr{Int32}, s.positions::Ptr{Cvoid}, cell::Ptr{Cvoid}, pbc::Ptr{Cvoid},
        cutoff::Float64, skin::Float64, nthreads::Csize_t, out::Ptr{Ptr{Cvoid}}
    ))
end

"Takes over new positions or another structure; true where the edges are others than before."
function update_graph!(graph::Handle{:graph}, s::Structure)
    cell, pbc, rebuilt = Ref(s.cell), Ref(s.pbc), Ref(Int32(0))
    @acerust acerust_graph_update(
        graph::Ptr{Cvoid}, length(s)::Csize_t, s.numbers::Ptr{Int32}, s.positions::Ptr{Cvoid}, cell::Ptr{Cvoid}, pbc::Ptr{Cvoid},
        rebuilt::Ptr{Int32}
    )
    return rebuilt[] != 0
end

"""
    InteractionGraph

Atoms and their neighbours, as [`interaction_graph`](@ref) makes it. Edge `e` goes from centre `ii[e]` to neighbour `jj[e]`; the edges
of centre `i` are `first[i]:(first[i+1] - 1)`.

- `ii`, `jj`: (n_edges), indices from 1
- `first`: (n_centres + 1)
- `shift`: (n_edges), in cell vectors: `r = x_j + shift · cell − x_i`; empty for graphs made from edges
- `r`: (n_edges), Å
- `numbers`: (n_atoms), atomic numbers
- `rcut`: Å
"""
struct InteractionGraph
    handle::Handle{:graph}
    ii::Vector{Int}
    jj::Vector{Int}
    first::Vector{Int}
    shift::Vector{SVector{3,Int32}}
    r::Vector{SVector{3,Float64}}
    numbers::Vector{Int32}
    rcut::Float64
end

n_centres(G::InteractionGraph) = length(G.first) - 1
n_edges(G::InteractionGraph) = length(G.ii)
Base.cconvert(::Type{Ptr{Cvoid}}, G::InteractionGraph) = G.handle
Base.close(G::InteractionGraph) = close(G.handle)
Base.show(io::IO, G::InteractionGraph) = print(io, "InteractionGraph(", n_centres(G), " centres, ", n_edges(G), " edges within ", G.rcut, " Å)")

"""
    interaction_graph(sys, rcut) -> InteractionGraph

All directed edges with `0 < r ≤ rcut` of a system, those to periodic images included; `rcut` in Å or with a unit.
"""
function interaction_graph(sys::AbstractSystem, rcut)
    s = Structure(sys)
    cutoff = in_ångström(rcut)
    handle = build_graph(s, cutoff, 0.0, 0)
    n = tally(out -> @acerust acerust_graph_n_edges(handle::Ptr{Cvoid}, out::Ptr{Csize_t}))
    first = Vector{UInt32}(undef, length(s) + 1)
    neighbour = Vector{UInt32}(undef, n)
    shift = Vector{SVector{3,Int32}}(undef, n)
    r = Vector{SVector{3,Float64}}(undef, n)
    @acerust acerust_graph_edges(
        handle::Ptr{Cvoid}, first::Ptr{UInt32}, length(first)::Csize_t, neighbour::Ptr{UInt32}, n::Csize_t,
        shift::Ptr{Cvoid}, (3n)::Csize_t, r::Ptr{Cvoid}, (3n)::Csize_t
    )
    return InteractionGraph(handle, centres(first), Int.(neighbour) .+ 1, Int.(first) .+ 1, shift, r, s.numbers, cutoff)
end

"""
    graph_from_edges(numbers, first, jj, r; rcut = Inf) -> InteractionGraph

A graph of the caller's edges: `first` and `jj` as in [`InteractionGraph`](@ref), `r` in Å. Atoms beyond `length(first) − 1` are ghosts.
"""
function graph_from_edges(numbers, first, jj, r; rcut = Inf)
    z, offsets, neighbour = Int32.(numbers), UInt32.(first .- 1), UInt32.(jj .- 1)
    edges = Vector{SVector{3,Float64}}(r)
    length(edges) == length(neighbour) == Int(last(offsets)) ||
        throw(ArgumentError("$(length(neighbour)) neighbours and $(length(edges)) vectors for $(Int(last(offsets))) edges"))
    handle = Handle{:graph}(out -> @acerust acerust_graph_from_edges(
        (length(offsets) - 1)::Csize_t, length(z)::Csize_t, z::Ptr{Int32}, offsets::Ptr{UInt32}, length(edges)::Csize_t,
        neighbour::Ptr{UInt32}, edges::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}}
    ))
    return InteractionGraph(handle, centres(offsets), Int.(jj), Int.(first), SVector{3,Int32}[], edges, z, rcut)
end

centres(first) = [i for i in 1:(length(first) - 1) for _ in 1:(first[i + 1] - first[i])]
in_ångström(rcut::Real) = Float64(rcut)
in_ångström(rcut) = Float64(ustrip(u"Å", rcut))
