# Energies, forces and virials as functions of arrays, for automatic differentiation: their rules are in the extension on ChainRulesCore.

"""
    variables(sys, calc) -> (; positions, cell, linear)

What [`energy`](@ref ACERust.energy), [`forces`](@ref ACERust.forces) and [`virial`](@ref ACERust.virial) are functions of: positions (3, n_atoms)
and cell (3, 3) with a vector a column, Å; linear parameters (length_basis), eV.
"""
variables(sys::AbstractSystem, calc::Calculator) =
    (positions = Structure(sys).positions, cell = first(box(sys)), linear = get_linear_parameters(calc))

"The system with its atoms at other places, in another cell."
function moved(sys::AbstractSystem, X, cell)
    size(X) == (3, length(sys)) || throw(DimensionMismatch("positions of size $(size(X)) for $(length(sys)) atoms, not (3, $(length(sys)))"))
    size(cell) == (3, 3) || throw(DimensionMismatch("a cell of size $(size(cell)), not (3, 3)"))
    vectors = Tuple(SVector{3,Float64}(c) * u"Å" for c in eachcol(cell))
    positions = [SVector{3,Float64}(x) * u"Å" for x in eachcol(X)]
    return FastSystem(vectors, Tuple(periodicity(sys)), positions, species_of(sys, :), mass(sys, :))
end

"""
    energy(calc, sys, X, cell, θ) -> Float64
    energy(calc, sys, X, cell)

The energy, eV, of a system with its atoms at `X` (3, n_atoms) in the cell `cell` (3, 3), with the linear parameters `θ` or those of `calc`.
With ChainRulesCore it can be differentiated with respect to all of them, and its gradient once more, as losses of forces need it. The gradient
with respect to the cell is that at fixed positions.

```julia
(; positions, cell, linear) = ACERust.variables(sys, calc)
Zygote.gradient(θ -> sum(abs2, ACERust.forces(calc, sys, positions, cell, θ) - F), linear)
```
"""
energy(calc::Calculator, sys::AbstractSystem, X, cell, θ...) = of_arrays(AtomsCalculators.Energy(), calc, sys, X, cell, θ...).energy / u"eV"

"""
    forces(calc, sys, X, cell, θ) -> Matrix{Float64}
    forces(calc, sys, X, cell)

The forces, (3, n_atoms), eV/Å; as [`energy`](@ref ACERust.energy). Their derivatives with respect to `θ` are exact; those with respect to positions
and cell are differences of exact gradients, of eighth order in steps of 0.01 Å: ten digits in double precision, where the model is smooth.
"""
function forces(calc::Calculator, sys::AbstractSystem, X, cell, θ...)
    F = of_arrays(AtomsCalculators.Forces(), calc, sys, X, cell, θ...).forces
    return collect(reinterpret(reshape, Float64, F))
end

"""
    virial(calc, sys, X, cell, θ) -> Matrix{Float64}
    virial(calc, sys, X, cell)

The virial, (3, 3), eV; as [`forces`](@ref ACERust.forces).
"""
virial(calc::Calculator, sys::AbstractSystem, X, cell, θ...) =
    Matrix(of_arrays(AtomsCalculators.Virial(), calc, sys, X, cell, θ...).virial / u"eV")

of_arrays(what, calc, sys, X, cell) = AtomsCalculators.calculate(what, moved(sys, X, cell), calc)
of_arrays(what, calc, sys, X, cell, θ) = AtomsCalculators.calculate(what, moved(sys, X, cell), calc, (linear = θ,))

"The gradients of the energy with respect to positions and cell, in one call."
function gradients(calc, sys, X, cell, θ...)
    at = moved(sys, X, cell)
    F, V = no_forces(at), no_virial()
    evaluate!(nothing, F, V, at, calc, map(θ -> given(calc, (linear = θ,)), θ)...)
    F = collect(reinterpret(reshape, Float64, F))
    return -F, cell_gradient(F, V[], X, cell, [periodicity(sys)...])
end

"""
`−d/dt` of the energy's gradients with respect to positions and cell where they go to `(M (X + t D), M cell)`, `M = 1 + t A`. Along a cotangent `D` of
forces, or `A` of a virial, it is what they pull back to: `Σ D F = −dE/dt`, `Σ A V = −dE/dt`. By differences of eighth order over steps of `h`.
"""
function curvature(calc, sys, X, cell, D, A, h, θ...)
    X̄, L̄ = zeros(size(X)), zeros(3, 3)
    for (k, weight) in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280)), t in (k * h, -k * h)
        M = I + t * A
        g, c = gradients(calc, sys, M * (X + t * D), M * cell, θ...)
        X̄ .-= sign(t) * weight / h .* (M' * g)
        L̄ .-= sign(t) * weight / h .* (M' * c)
    end
    return X̄, L̄
end

"""
    layer(model)
    layer(operation; init = randn)

A layer for Lux and whatever takes such, as [`LuxCore`](https://lux.csail.mit.edu) has them: `layer(x, ps, st)` returns the result and `st`. Needs LuxCore.

- Of a model, `x` is an [`interaction_graph`](@ref) and the result its site energies, with `ps.linear` for linear parameters. `LuxCore.setup(rng, model)`
  is there as well.
- Of an [`Operation`](@ref ACERust.Ops.Operation), `x` is its input, or a tuple of its inputs and, last, its indices as a named tuple. Weights, which are
  the inputs of a fixed number of rows, are in `ps` by their names: at first numbers of `init(rng, T, width, rows)`, biases and shifts 0, scales 1.

With ChainRulesCore they can be differentiated.
"""
function layer end

"The design row of the energy, (length_basis), as a function of positions and cell."
energy_row(calc::Calculator, sys::AbstractSystem, X, cell) = vec(rows(1, calc, sys, X, cell))

"Design rows: of the energy (1), of the forces (2), or of the virial (3), row by row, as matrices."
function rows(which, calc, sys, X, cell)
    made = Matrix{Float64}(undef, (1, 3 * length(sys), 9)[which], length_basis(calc))
    design_rows!(ntuple(k -> k == which ? made : nothing, 3)..., moved(sys, X, cell), calc)
    return made
end

"""
The gradient of an energy with respect to the cell, (3, 3), at fixed positions. With `r = x_j − x_i + L n` and `V = −Σ g rᵀ`, `Σ F xᵀ − V = G Lᵀ`,
where `G = Σ g nᵀ` is the gradient, whose columns are zero where there is no periodicity.
"""
function cell_gradient(F, V, X, cell, pbc)
    periodic = cell .* pbc'
    return (F * X' - V) * pinv(periodic)'
end
