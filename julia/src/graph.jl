# Neighbour graphs: for the site level with edges to look at, for calculators as lists that follow moving atoms.

build_graph(s::Structure, cutoff, skin, nthreads) = graph_build(binding(), atoms(s)..., Float64(cutoff), Float64(skin), nthreads_option(nthreads))

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
    handle::GraphHandle
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
Base.close(G::InteractionGraph) = close(G.handle)
Base.show(io::IO, G::InteractionGraph) = print(io, "InteractionGraph(", n_centres(G), " centres, ", n_edges(G), " edges within ", G.rcut, " Å)")

"""
    interaction_graph(sys, rcut) -> InteractionGraph

All directed edges with `0 < r ≤ rcut` of a system, those to periodic images included; `rcut` in Å or with a unit. Throws where they would take
more memory than [`ACERust.set_memory_limit!`](@ref) allows.

```jldoctest
julia> water = isolated_system([:O => [0.0, 0.0, 0.0]u"Å", :H => [0.96, 0.0, 0.0]u"Å", :H => [-0.24, 0.93, 0.0]u"Å"]);

julia> interaction_graph(water, 1.2u"Å")
InteractionGraph(3 centres, 4 edges within 1.2 Å)
```
"""
function interaction_graph(sys::AbstractSystem, rcut)
    s = Structure(sys)
    cutoff = in_ångström(rcut)
    handle = build_graph(s, cutoff, 0.0, 0)
    n = graph_n_edges(handle)
    expect_memory(92n, "an interaction_graph of $n edges")   # bytes of the arrays below, copies included
    first = Vector{UInt32}(undef, length(s) + 1)
    neighbour = Vector{UInt32}(undef, n)
    shift = Matrix{Int32}(undef, 3, n)
    r = Matrix{Float64}(undef, 3, n)
    graph_edges!(handle, first, neighbour, shift, r)
    return InteractionGraph(handle, centres(first), Int.(neighbour) .+ 1, Int.(first) .+ 1, collect(columns(shift)), collect(columns(r)), s.numbers, cutoff)
end

"""
    graph_from_edges(numbers, first, jj, r; rcut = Inf) -> InteractionGraph

A graph of the caller's edges: `first` and `jj` as in [`InteractionGraph`](@ref), `r` in Å. Atoms beyond `length(first) − 1` are ghosts.
"""
function graph_from_edges(numbers, first, jj, r; rcut = Inf)
    indices(name, x) = UInt32[whole("$name[$k]", i; least = 1, most = typemax(UInt32)) - 1 for (k, i) in enumerate(x)]
    z = Int32[whole("numbers[$k]", i; least = 1, most = typemax(Int32)) for (k, i) in enumerate(numbers)]
    offsets, neighbour = indices("first", first), indices("jj", jj)
    isempty(offsets) && throw(ArgumentError("first is empty: it has an entry more than there are centres"))
    edges = [length(x) == 3 ? SVector{3,Float64}(x) : throw(DimensionMismatch("r[$k] has $(length(x)) components")) for (k, x) in enumerate(r)]
    length(edges) == length(neighbour) == Int(last(offsets)) ||
        throw(ArgumentError("$(length(neighbour)) neighbours and $(length(edges)) vectors for $(Int(last(offsets))) edges"))
    # No model has a longer cutoff than 100 Å.
    reach = in_ångström(rcut)
    cutoff = reach == Inf ? 100.0 : reach
    handle = graph_from_edges(binding(), z, offsets, neighbour, collect(reinterpret(reshape, Float64, edges)), cutoff)
    return InteractionGraph(handle, centres(offsets), Int.(jj), Int.(first), SVector{3,Int32}[], edges, z, reach)
end

centres(first) = [i for i in 1:(length(first) - 1) for _ in 1:(first[i + 1] - first[i])]
