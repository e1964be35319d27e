# The site level: what belongs to one centre and its edges.

"""
    site_energies(model, G, ps = nothing, st = nothing) -> Vector{Float64}

The energies of the centres of a graph, eV. `ps` is `nothing` or empty for the model's own linear parameters, else `(linear = θ,)`. The
state `st` plays no part; `model(G, ps, st)` returns it with the energies.
"""
function site_energies(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    energies = Vector{Float64}(undef, n_centres(G))
    site_energies!(site_plan(model, ps), G.handle, energies)
    return energies
end

(model::ACERustModel)(G::InteractionGraph, ps = nothing, st = nothing) = (site_energies(model, G, ps, st), st)

"""
    site_grads(model, G, ps = nothing, st = nothing) -> Vector{SVector{3,Float64}}

`∂E_i/∂r_ij` for every edge, (n_edges), eV/Å; only the centre's own energy.
"""
function site_grads(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    gradients = Matrix{Float64}(undef, 3, n_edges(G))
    site_grads!(site_plan(model, ps), G.handle, gradients)
    return collect(columns(gradients))
end

"""
    site_basis(model, G, ps = nothing, st = nothing) -> Matrix{Float64}

The basis of every centre, (n_centres, n_basis).
"""
function site_basis(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    site_basis!(site_plan(model, nothing), G.handle, basis)
    return permutedims(basis)
end

"""
    site_basis_jacobian(model, G, ps = nothing, st = nothing) -> (Matrix{Float64}, Matrix{SVector{3,Float64}})

The basis, (n_centres, n_basis), and `∂B_b/∂r_ij`, (n_edges, n_basis), 1/Å.
"""
function site_basis_jacobian(model::ACERustModel, G::InteractionGraph, ps = nothing, st = nothing)
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    jacobian = Array{Float64}(undef, 3, n_basis(model), n_edges(G))
    site_basis_jacobian!(site_plan(model, nothing), G.handle, basis, jacobian)
    return permutedims(basis), permutedims(columns(jacobian))
end

"The model's own plan, with radial functions as in the file; another one for other parameters."
function site_plan(model::ACERustModel, ps)
    θ = linear(ps)
    if θ !== nothing
        plan = make_plan(model; radial = :exact)
        plan_set_linear_parameters(plan, θ)
        return plan
    end
    isopen(model) || throw(closed(:model))
    return @lock model.lock begin
        own = model.plan[]
        own === nothing ? (model.plan[] = make_plan(model; radial = :exact)) : own
    end
end

linear(::Nothing) = nothing
linear(ps::NamedTuple) = haskey(ps, :linear) ? convert(Vector{Float64}, ps.linear) : isempty(ps) ? nothing :
    throw(ArgumentError("ps has $(keys(ps)), expected (linear = θ,) with the model's linear parameters"))
