# The site level of stacks, and descriptors of atoms.

"Calls `f(calc, ps, members)` with calculators that make up a stack, their parameters among `ps`, and which members they are."
function each_member(f, stack::StackedCalculator, ps)
    θ, columns = given(stack, ps), blocks(stack)
    of(range) = θ === nothing ? nothing : (linear = θ[range],)
    for fused in stack.fused
        f(present(fused, stack), of(reduce(vcat, columns[fused.members])), fused.members)
    end
    for (k, calc) in enumerate(stack.calcs)
        calc isa WrappedSiteCalculator && continue
        calc isa Calculator || throw(ArgumentError("a calculator $(nameof(typeof(calc))) has no site energies"))
        f(calc, of(columns[k]), [k])
    end
end

n_basis(stack::StackedCalculator) = sum(n_basis, ours(stack); init = 0)

"The columns of the basis that belong to each member of a stack."
function basis_columns(stack)
    sizes = [calc isa Calculator ? n_basis(calc) : 0 for calc in stack.calcs]
    return [(last - size + 1):last for (size, last) in zip(sizes, cumsum(sizes))]
end

function site_energies(stack::StackedCalculator, G::InteractionGraph, ps = nothing, st = nothing)
    energies = zeros(n_centres(G))
    each_member((calc, ps, _) -> energies .+= site_energies(calc, G, ps), stack, ps)
    return energies
end

function site_grads(stack::StackedCalculator, G::InteractionGraph, ps = nothing, st = nothing)
    gradients = zeros(SVector{3,Float64}, n_edges(G))
    each_member((calc, ps, _) -> gradients .+= site_grads(calc, G, ps), stack, ps)
    return gradients
end

function site_basis(stack::StackedCalculator, G::InteractionGraph, ps = nothing, st = nothing)
    columns, basis = basis_columns(stack), Matrix{Float64}(undef, n_centres(G), n_basis(stack))
    each_member(stack, nothing) do calc, _, members
        basis[:, reduce(vcat, columns[members])] = site_basis(calc, G)
    end
    return basis
end

function site_basis_jacobian(stack::StackedCalculator, G::InteractionGraph, ps = nothing, st = nothing)
    columns, basis = basis_columns(stack), Matrix{Float64}(undef, n_centres(G), n_basis(stack))
    jacobian = Matrix{SVector{3,Float64}}(undef, n_edges(G), n_basis(stack))
    each_member(stack, nothing) do calc, _, members
        range = reduce(vcat, columns[members])
        basis[:, range], jacobian[:, range] = site_basis_jacobian(calc, G)
    end
    return basis, jacobian
end

# ---- descriptors

"""
    site_descriptors(sys, calc; domain = 1:length(sys)) -> Vector{Vector{Float64}}

What the energy of each atom of `domain` is linear in, (length_basis) each: `dot(descriptor, get_linear_parameters(calc))` is its energy
without one-body energies. Zeros where parameters belong to other species.
"""
function site_descriptors(sys::AbstractSystem, calc::Calculator; domain = 1:length(sys))
    checkbounds(Bool, 1:length(sys), domain) || throw(ArgumentError("the domain is not in 1:$(length(sys)), the atoms of the system"))
    D = descriptors(calc, interaction_graph(sys, reach(calc)))
    return [D[:, i] for i in domain]
end

reach(calc::WrappedSiteCalculator) = rcut(calc.model)
model_of(calc::WrappedSiteCalculator) = calc.model
model_of(model::ACERustModel) = model
reach(stack::StackedCalculator) = maximum(reach, ours(stack); init = 0.0)

descriptors(stack::StackedCalculator, G) = reduce(vcat, [descriptors(calc, G) for calc in ours(stack)]; init = zeros(0, n_centres(G)))

function descriptors(calc::SiteModel, G)
    basis, known = site_basis(calc, G), species(model_of(calc))
    D = zeros(length_basis(calc), n_centres(G))
    column, row = 0, 0
    for part in model_parts(model_of(calc))
        n = n_basis(part)
        for i in axes(D, 2)
            s = something(findfirst(==(G.numbers[i]), known))   # the basis has been evaluated: it is there
            D[row + (s - 1) * n .+ (1:n), i] = basis[i, column .+ (1:n)]
        end
        column, row = column + n, row + n * length(known)
        close(part)
    end
    return D
end
