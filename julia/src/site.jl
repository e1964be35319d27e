# The site level: what belongs to one centre and its edges.

"Models are evaluated on the processor, exactly and in double precision; calculators as they say."
const SiteModel = Union{ACERustModel,WrappedSiteCalculator}

"""
    site_energies(model, G, ps = nothing, st = nothing) -> Vector{Float64}

The energies of the centres of a graph, eV. `ps` is `nothing` or empty for the model's own linear parameters, else `(linear = θ,)`. The
state `st` plays no part; `model(G, ps, st)` returns it with the energies. A [`WrappedSiteCalculator`](@ref) in place of the model is
evaluated with its parameters, on its device and in its precision; so it is in all functions of the site level. Of a
[`StackedCalculator`](@ref) they give sums of energies and gradients, and the bases of the members side by side; all members have to be ours.
"""
function site_energies(model::SiteModel, G::InteractionGraph, ps = nothing, st = nothing)
    energies = Vector{Float64}(undef, n_centres(G))
    site_energies!(site_plan(model, ps), G.handle, energies)
    return energies
end

(model::ACERustModel)(G::InteractionGraph, ps = nothing, st = nothing) = (site_energies(model, G, ps, st), st)

"""
    site_grads(model, G, ps = nothing, st = nothing) -> Vector{SVector{3,Float64}}

`∂E_i/∂r_ij` for every edge, (n_edges), eV/Å; only the centre's own energy, but for MACE models, where it is the sum of all energies.
"""
function site_grads(model::SiteModel, G::InteractionGraph, ps = nothing, st = nothing)
    gradients = Matrix{Float64}(undef, 3, n_edges(G))
    site_grads!(site_plan(model, ps), G.handle, gradients)
    return collect(columns(gradients))
end

"""
    site_basis(model, G, ps = nothing, st = nothing) -> Matrix{Float64}

The basis of every centre, (n_centres, n_basis).
"""
function site_basis(model::SiteModel, G::InteractionGraph, ps = nothing, st = nothing)
    passes_messages(model) && throw(ArgumentError("the energy of a MACE model is not linear: there is no site basis"))
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    site_basis!(site_plan(model, nothing), G.handle, basis)
    return permutedims(basis)
end

"""
    site_basis_jacobian(model, G, ps = nothing, st = nothing) -> (Matrix{Float64}, Matrix{SVector{3,Float64}})

The basis, (n_centres, n_basis), and `∂B_b/∂r_ij`, (n_edges, n_basis), 1/Å.
"""
function site_basis_jacobian(model::SiteModel, G::InteractionGraph, ps = nothing, st = nothing)
    expect_memory(48 * n_basis(model) * n_edges(G), "the Jacobian of $(n_basis(model)) basis functions on $(n_edges(G)) edges")   # with its copy
    basis = Matrix{Float64}(undef, n_basis(model), n_centres(G))
    jacobian = Array{Float64}(undef, 3, n_basis(model), n_edges(G))
    site_basis_jacobian!(site_plan(model, nothing), G.handle, basis, jacobian)
    return permutedims(basis), permutedims(columns(jacobian))
end

"The plan that is kept, for the present parameters; another one for others."
function site_plan(model::SiteModel, ps)
    θ = linear(ps)
    (θ === nothing || isempty(θ) && length_basis(model) == 0) && return own_plan(model)
    made = new_plan(model)
    plan_set_linear_parameters(made, θ)
    return made
end

own_plan(calc::WrappedSiteCalculator) = plan(calc)
function own_plan(model::ACERustModel)
    isopen(model) || throw(closed(:model))
    return @lock model.lock begin
        own = model.plan[]
        own === nothing ? (model.plan[] = new_plan(model)) : own
    end
end
new_plan(model::ACERustModel) = make_plan(model; radial = :exact)

linear(::Nothing) = nothing
linear(ps::NamedTuple) = haskey(ps, :linear) ? reals("linear parameter", ps.linear) : isempty(ps) ? nothing :
    throw(ArgumentError("ps has $(keys(ps)), expected (linear = θ,) with the model's linear parameters"))
linear(ps) = throw(ArgumentError("ps is a $(typeof(ps)), expected (linear = θ,) with the model's linear parameters"))
