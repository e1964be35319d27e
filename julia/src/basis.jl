# What the linear parameters belong to, and how smooth a fit is to be.

const BasisLabel = @NamedTuple{species::Symbol, part::Symbol, n::Vector{Int}, l::Vector{Int}}

"""
    basis_labels(model) -> Vector
    basis_labels(calc) -> Vector

What each linear parameter belongs to, (length_basis), in the order of `get_linear_parameters`: `species`, the centre's; `part`, `:pair` or
`:ace`; `n` and `l` of the radial functions that its basis function is a product of, one an order of correlation. A pair function has one
`n`, and `l = 0`.
"""
function basis_labels(model::ACERustModel)
    symbols = [Symbol(ChemicalSpecies(z)) for z in species(model)]
    return reduce(vcat, [part_labels(part, symbols) for part in model_parts(model)]; init = BasisLabel[])
end
basis_labels(calc::WrappedSiteCalculator) = basis_labels(calc.model)
basis_labels(stack::StackedCalculator) = reduce(vcat, [basis_labels(calc) for calc in ours(stack)]; init = BasisLabel[])

function part_labels(part::ACERustModel{Kind}, symbols) where {Kind}
    first, factors = Vector{Int}(undef, n_basis(part) + 1), Matrix{UInt32}(undef, 2, model_n_factors(part.handle))
    model_basis_labels!(part.handle, first, factors)
    close(part)
    label(z, b) = (columns = (first[b] + 1):first[b + 1]; BasisLabel((z, Kind, Int.(factors[1, columns]), Int.(factors[2, columns]))))
    return [label(z, b) for z in symbols for b in 1:(length(first) - 1)]
end

"""
    smoothness_prior(calc, kind = :algebraic; p = 4, wl, wn) -> Diagonal

The diagonal prior `Γ` of a fit, in the order of `get_linear_parameters`: what a regularised fit keeps small is `Γ θ`, so that rough basis
functions get small parameters. By the `n` and `l` of [`basis_labels`](@ref), summed over the factors of a basis function:

- `:algebraic`: `Σ (l / wl)^p + (n / wn)^p`, with `p = 4`, `wl = 2/3`, `wn = 1`
- `:exponential`: `exp Σ (l / wl + n / wn)`, with `wl = 2/3`, `wn = 1`
- `:gaussian`: `exp Σ ((l / wl)² + (n / wn)²)`, with `wl = wn = 1/√2`

The formulas and their defaults are those of ACEpotentials, whose own functions put the parameters of many-body parts before those of pairs.
"""
function smoothness_prior(calc::Union{Calculator,ACERustModel}, kind::Symbol = :algebraic; options...)
    haskey(PRIORS, kind) || throw(ArgumentError("a prior is :algebraic, :exponential or :gaussian, not $(repr(kind))"))
    code, defaults = PRIORS[kind]
    for name in keys(options)
        haskey(defaults, name) || throw(ArgumentError("there is no keyword $name; the $kind prior takes $(join(keys(defaults), ", "))"))
    end
    for (name, x) in pairs(options)
        x isa Real || throw(ArgumentError("$name is $(repr(x)), not a number"))
    end
    (; p, wl, wn) = merge((p = 1.0,), defaults, values(options))
    γ = exp.(log_prior(calc, code, Float64(p), Float64(wl), Float64(wn)))
    k = findfirst(x -> !(0 < x < Inf), γ)
    k === nothing || throw(ArgumentError("the prior of linear parameter $k is $(γ[k]): wl and wn are too small for this basis"))
    return Diagonal(γ)
end

const PRIORS = Dict(
    :algebraic => (0, (p = 4.0, wl = 2 / 3, wn = 1.0)),
    :exponential => (1, (wl = 2 / 3, wn = 1.0)),
    :gaussian => (2, (wl = 1 / sqrt(2), wn = 1 / sqrt(2))),
)

function log_prior(model::ACERustModel, code, p, wl, wn)
    diagonal = Vector{Float64}(undef, length_basis(model))
    model_log_prior!(model.handle, code, p, wl, wn, diagonal)
    return diagonal
end
log_prior(calc::WrappedSiteCalculator, options...) = log_prior(calc.model, options...)
log_prior(stack::StackedCalculator, options...) =
    reduce(vcat, [log_prior(calc, options...) for calc in ours(stack)]; init = Float64[])

"Which of our linear parameters is each of ACEpotentials', whose many-body parameters come before those of pairs."
function upstream_order(calc)
    many_body = [label.part === :ace for label in basis_labels(calc)]
    return [findall(many_body); findall(!, many_body)]
end

"A prior in the order of ACEpotentials, in ours."
function from_upstream(calc, prior::AbstractMatrix)
    expect_prior(calc, prior)
    place = invperm(upstream_order(calc))
    return prior isa Diagonal ? Diagonal(prior.diag[place]) : prior[place, place]
end
from_upstream(calc, prior) = prior

"""
Refuses a prior that does not fit. One that is a function of `n` and `l` in the order of ACEpotentials, but not in ours, is a prior of that
package: a fit would take it without complaint, and regularise the wrong parameters.
"""
function checked_prior(calc, prior::AbstractMatrix)
    expect_prior(calc, prior)
    if prior isa Diagonal && !by_class(calc, prior) && by_class(calc, from_upstream(calc, prior))
        throw(ArgumentError(
            "this prior is in the order of ACEpotentials, many-body parameters first, where pairs come first here: see smoothness_prior"
        ))
    end
    return prior
end
checked_prior(calc, prior::UniformScaling) = prior

function expect_prior(calc, prior)
    p = length_basis(calc)
    size(prior) == (p, p) || throw(DimensionMismatch("a prior of size $(size(prior)) for $p linear parameters"))
    all(isfinite, prior) || throw(ArgumentError("the prior is not finite"))
end

"Is a diagonal prior the same for parameters of the same `n` and `l`?"
function by_class(calc, prior::Diagonal)
    seen = Dict{Vector{Tuple{Int,Int}},Float64}()
    return all(zip(basis_labels(calc), prior.diag)) do (label, γ)
        isapprox(get!(seen, sort!(collect(zip(label.n, label.l))), γ), γ; rtol = 1e-10)
    end
end
