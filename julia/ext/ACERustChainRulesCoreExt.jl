# Rules of differentiation. What pullbacks compute has rules itself, so that gradients can be differentiated again. Derivatives with respect to θ
# are exact, twice as well: all is linear in θ but for a constant. Second ones by positions and cell are differences of exact first ones.
module ACERustChainRulesCoreExt

using ACERust: Calculator, InteractionGraph, SiteModel, StackedCalculator, Training
using ACERust: cell_gradient, curvature, descriptors, energy, energy_forces_virial, energy_row, evaluate, forces, gradient, linear, passes_messages
using ACERust: results, rows, site_energies, site_grads, virial
using ACERust.Ops: Operation, backward, double_backward, forward
using AtomsBase: AbstractSystem, periodicity
using ChainRulesCore: ChainRulesCore, AbstractZero, NoTangent, ProjectTo, Tangent, ZeroTangent, unthunk

"The gradient of `energy` with respect to positions and cell."
function slopes(calc, sys, X, cell, θ...)
    F, V = forces(calc, sys, X, cell, θ...), virial(calc, sys, X, cell, θ...)
    return -F, cell_gradient(F, V, X, cell, [periodicity(sys)...])
end

function ChainRulesCore.rrule(::typeof(energy), calc::Calculator, sys::AbstractSystem, X, cell)
    function pullback(ȳ)
        δ, (g, h) = unthunk(ȳ), slopes(calc, sys, X, cell)
        return NoTangent(), NoTangent(), NoTangent(), δ * g, δ * h
    end
    return energy(calc, sys, X, cell), pullback
end

function ChainRulesCore.rrule(::typeof(energy), calc::Calculator, sys::AbstractSystem, X, cell, θ)
    function pullback(ȳ)
        δ, (g, h) = unthunk(ȳ), slopes(calc, sys, X, cell, θ)
        return NoTangent(), NoTangent(), NoTangent(), δ * g, δ * h, δ * energy_row(calc, sys, X, cell)
    end
    return energy(calc, sys, X, cell, θ), pullback
end

# Σ_k r̄_k row_k is the energy of the parameters r̄, without what is not linear.
function ChainRulesCore.rrule(::typeof(energy_row), calc::Calculator, sys::AbstractSystem, X, cell)
    function pullback(r̄)
        r = collect(unthunk(r̄))
        g, h = slopes(calc, sys, X, cell, r)
        g₀, h₀ = slopes(calc, sys, X, cell, zero(r))
        return NoTangent(), NoTangent(), NoTangent(), g - g₀, h - h₀
    end
    return energy_row(calc, sys, X, cell), pullback
end

# The cotangent of forces is a path of the atoms, that of a virial a strain. Zygote asks for every pullback, thunks or not.
const STEP, STRAIN = 0.01, 0.001   # Å, and what moves neighbours at 10 Å as far

function second(calc, sys, X, cell, D, A, step, θ...)
    largest = maximum(abs, D; init = maximum(abs, A; init = 0.0))
    return largest > 0 ? curvature(calc, sys, X, cell, D, A, step / largest, θ...) : (zeros(size(X)), zeros(3, 3))
end

function ChainRulesCore.rrule(::typeof(forces), calc::Calculator, sys::AbstractSystem, X, cell, θ...)
    function pullback(F̄)
        D = numbers(F̄, X)
        x̄ = second(calc, sys, X, cell, D, zeros(3, 3), STEP, θ...)
        return NoTangent(), NoTangent(), NoTangent(), x̄..., map(_ -> rows(2, calc, sys, X, cell)' * vec(D), θ)...
    end
    return forces(calc, sys, X, cell, θ...), pullback
end

function ChainRulesCore.rrule(::typeof(virial), calc::Calculator, sys::AbstractSystem, X, cell, θ...)
    function pullback(V̄)
        A = numbers(V̄, cell)
        x̄ = second(calc, sys, X, cell, zeros(size(X)), A, STRAIN, θ...)
        return NoTangent(), NoTangent(), NoTangent(), x̄..., map(_ -> rows(3, calc, sys, X, cell)' * vec(permutedims(A)), θ)...   # row by row
    end
    return virial(calc, sys, X, cell, θ...), pullback
end

"A cotangent as a matrix of the size of `like`."
function numbers(ȳ, like)
    x = unthunk(ȳ)
    return x isa AbstractZero ? zeros(size(like)) : Matrix{Float64}(x)
end

# ---- training

function ChainRulesCore.rrule(::typeof(energy_forces_virial), t::Training, sys::AbstractSystem, θ)
    run = evaluate(t, sys, θ)
    function pullback(ȳ)
        δ = unthunk(ȳ)
        of(name) = δ isa AbstractZero ? δ : getproperty(δ, name)
        return NoTangent(), NoTangent(), NoTangent(), by_parameters(run, t, sys, θ; energy = of(:energy), forces = of(:forces), virial = of(:virial))
    end
    return results(run), pullback
end

for name in (:energy, :forces, :virial)
    @eval function ChainRulesCore.rrule(::typeof($name), t::Training, sys::AbstractSystem, θ)
        run = evaluate(t, sys, θ)
        pullback(ȳ) = (NoTangent(), NoTangent(), NoTangent(), by_parameters(run, t, sys, θ; $name = ȳ))
        return run.$name, pullback
    end
end

"What cotangents of results pull back to. The intermediates go with the first gradient; who wants more of them pays for another evaluation."
function by_parameters(run, t, sys, θ; cotangents...)
    given = (name => unthunk(ȳ) for (name, ȳ) in pairs(cotangents))
    wanted = (name => ȳ for (name, ȳ) in given if !(ȳ isa AbstractZero))
    isempty(wanted) && return ZeroTangent()
    present = isopen(run) ? run : evaluate(t, sys, θ)
    try
        return ProjectTo(θ)(gradient(present; wanted...))
    finally
        close(present)
    end
end

# ---- the site level

# The energy of a centre depends on its own edges alone, but where models pass messages: their gradients are those of the sum.
function ChainRulesCore.rrule(::typeof(site_energies), model::Union{SiteModel,StackedCalculator}, G::InteractionGraph, ps, st)
    function pullback(Ē)
        w = unthunk(Ē)
        passes_messages(model) && !allequal(w) &&
            throw(ArgumentError("of a model that passes messages, only the sum of the site energies has gradients by edges"))
        Ḡ = Tangent{InteractionGraph}(; r = view(w, G.ii) .* site_grads(model, G, ps, st))
        p̄s = linear(ps) === nothing ? NoTangent() : Tangent{typeof(ps)}(; linear = descriptors(model, G) * w)
        return NoTangent(), NoTangent(), Ḡ, p̄s, NoTangent()
    end
    return site_energies(model, G, ps, st), pullback
end

# ---- operations

function ChainRulesCore.rrule(::typeof(forward), op::Operation, xs...; indices...)
    pullback(ȳ) = (NoTangent(), NoTangent(), backward(op, unthunk(ȳ), xs...; indices...)...)
    return forward(op, xs...; indices...), pullback
end
function ChainRulesCore.rrule(op::Operation, xs...; indices...)
    pullback(ȳ) = (NoTangent(), backward(op, unthunk(ȳ), xs...; indices...)...)
    return op(xs...; indices...), pullback
end

function ChainRulesCore.rrule(::typeof(backward), op::Operation, cotangent, xs...; indices...)
    function pullback(ḡ)
        directions = map(unthunk, ntuple(k -> unthunk(ḡ)[k], length(xs)))
        given = map(d -> d isa AbstractArray ? d : nothing, directions)   # else it is zero
        of_cotangent, seconds = double_backward(op, cotangent, given, xs...; indices...)
        return NoTangent(), NoTangent(), of_cotangent, seconds...
    end
    return backward(op, cotangent, xs...; indices...), pullback
end

end
