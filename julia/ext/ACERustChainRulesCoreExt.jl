# Rules of differentiation. What pullbacks compute has rules itself, so that gradients can be differentiated again; all but the energies is
# linear in θ. Second derivatives with respect to positions and cell are not there.
module ACERustChainRulesCoreExt

using ACERust: Calculator, cell_gradient, energy, energy_row, forces, rows, virial
using ACERust.Ops: Operation, backward, double_backward, forward
using AtomsBase: AbstractSystem, periodicity
using ChainRulesCore: ChainRulesCore, @not_implemented, @thunk, NoTangent, unthunk

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
        g, h = slopes(calc, sys, X, cell, collect(unthunk(r̄)))
        g₀, h₀ = slopes(calc, sys, X, cell, zero(r̄))
        return NoTangent(), NoTangent(), NoTangent(), g - g₀, h - h₀
    end
    return energy_row(calc, sys, X, cell), pullback
end

const TWICE = "second derivatives with respect to positions and cell"

function ChainRulesCore.rrule(::typeof(forces), calc::Calculator, sys::AbstractSystem, X, cell, θ...)
    function pullback(F̄)
        θ̄ = map(_ -> rows(2, calc, sys, X, cell)' * vec(unthunk(F̄)), θ)
        return NoTangent(), NoTangent(), NoTangent(), @not_implemented(TWICE), @not_implemented(TWICE), θ̄...
    end
    return forces(calc, sys, X, cell, θ...), pullback
end

function ChainRulesCore.rrule(::typeof(virial), calc::Calculator, sys::AbstractSystem, X, cell, θ...)
    function pullback(V̄)
        θ̄ = map(_ -> rows(3, calc, sys, X, cell)' * vec(permutedims(unthunk(V̄))), θ)   # rows run row by row
        return NoTangent(), NoTangent(), NoTangent(), @not_implemented(TWICE), @not_implemented(TWICE), θ̄...
    end
    return virial(calc, sys, X, cell, θ...), pullback
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
