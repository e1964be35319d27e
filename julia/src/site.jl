# The site level: what belongs to one centre and its edges.

"""
    site_energies(model, G, ps = nothing, st = nothing) -> Vector{Float64}

The energies of the centres of a graph, eV. `ps` is `nothing` or empty for the model's own linear parameters, else `(linear = θ,)`. The
state `st` plays no part; `model(G, ps, st)` returns it with the energies.
"""
function site_energies(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    energies = Vector{Float64}(undef, n_centres(G))
    plan = site_plan(model, ps)
    @acerust acerust_graph_site_energies(plan::Ptr{Cvoid}, G::Ptr{Cvoid}, energies::Ptr{Float64}, length(energies)::Csize_t)
    return energies
end

(model::ACERustModel)(G::InteractionGraph, ps = nothing, st = nothing) = (site_energies(model, G, ps, st), st)

"""
    site_grads(model, G, ps = nothing, st = nothing) -> Vector{SVector{3,Float64}}

`∂E_i/∂r_ij` for every edge, (n_edges), eV/Å; only the centre's own energy.
"""
function site_grads(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    gradients = Vector{SVector{3,Float64}}(undef, n_edges(G))
    plan = site_plan(model, ps)
    @acerust acerust_graph_site_grads(
        plan::Ptr{Cvoid}, G::Ptr{Cvoid}, C_NULL::Ptr{Float64}, 0::Csize_t, gradients::Ptr{Cvoid}, numbers_in(gradients)::Csize_t
    )
    return gradients
end

"""
    site_basis(model, G, ps = nothing, st = nothing) -> Matrix{Float64}

The basis of every centre, (n_centres, n_basis).
"""
function site_basis(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    plan = site_plan(model, nothing)
    @acerust acerust_graph_site_basis(plan::Ptr{Cvoid}, G::Ptr{Cvoid}, basis::Ptr{Float64}, length(basis)::Csize_t)
    return permutedims(basis)
end

"""
    site_basis_jacobian(model, G, ps = nothing, st = nothing) -> (Matrix{Float64}, Matrix{SVector{3,Float64}})

The basis, (n_centres, n_basis), and `∂B_b/∂r_ij`, (n_edges, n_basis), 1/Å.
"""
function site_basis_jacobian(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    jacobian = Matrix{SVector{3,Float64}}(undef, n_basis(model), n_edges(G))
    plan = site_plan(model, nothing)
    @acerust acerust_graph_site_basis_jacobian(
        plan::Ptr{Cvoid}, G::Ptr{Cvoid}, basis::Ptr{Float64}, length(basis)::Csize_t,
        jacobian::Ptr{Cvoid}, numbers_in(jacobian)::Csize_t
    )
    return permutedims(basis), permutedims(jacobian)
end

"The model's own plan, with radial functions as in the file; another one for other parameters."
function site_plan(model::ACERustModel, ps)
    θ = linear(ps)
    if θ !== nothing
        plan = make_plan(model; radial = :exact)
        set_parameters!(plan, θ)
        return plan
    end
    isopen(model) || throw(ArgumentError("this model has been closed"))
    return @lock model.lock begin
        model.plan[] === nothing && (model.plan[] = make_plan(model; radial = :exact))
        model.plan[]
    end
end

linear(::Nothing) = nothing
linear(ps::NamedTuple) = haskey(ps, :linear) ? convert(Vector{Float64}, ps.linear) : isempty(ps) ? nothing :
    throw(ArgumentError("ps has $(keys(ps)), expected (linear = θ,) with the model's linear parameters"))
