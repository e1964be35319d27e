# Linear parameters, and the design rows of linear fits.

length_basis(calc::WrappedSiteCalculator) = length(calc.linear)
length_basis(stack::StackedCalculator) = sum(length_basis, ours(stack); init = 0)

"""
    get_linear_parameters(calc) -> Vector{Float64}

The readout weights, eV, species-major within a part, the parts one after another; those of a stack's members one after another.
Calculators of other packages have none.
"""
get_linear_parameters(calc::WrappedSiteCalculator) = copy(calc.linear)
get_linear_parameters(stack::StackedCalculator) = reduce(vcat, [get_linear_parameters(calc) for calc in ours(stack)]; init = Float64[])

"""
    set_linear_parameters!(calc, θ) -> calc

Replaces the linear parameters, (length_basis), eV. A committee stays.
"""
function set_linear_parameters!(calc::Calculator, θ::AbstractVector)
    replace_parameters!(calc, checked_parameters(calc, θ))
    return calc
end

"A copy of linear parameters that fit a calculator. All is checked here, before the first member of a stack changes."
function checked_parameters(calc::Calculator, θ::AbstractVector)
    expect_parameters(length(θ), length_basis(calc))
    return copy(reals("linear parameter", θ))
end

function replace_parameters!(calc::WrappedSiteCalculator, θ::Vector{Float64})
    @lock calc.lock begin
        calc.linear = θ
        calc.version += 1
    end
    return nothing
end

function replace_parameters!(stack::StackedCalculator, θ::Vector{Float64})
    for (calc, columns) in zip(stack.calcs, blocks(stack))
        calc isa Calculator && replace_parameters!(calc, θ[columns])
    end
    return nothing
end

expect_parameters(n, expected) =
    n == expected || throw(DimensionMismatch("expected $expected linear parameters, got $n"))

"The columns of each member of a stack; none for calculators of other packages."
function blocks(stack::StackedCalculator)
    sizes = [calc isa Calculator ? length_basis(calc) : 0 for calc in stack.calcs]
    return [(last - size + 1):last for (size, last) in zip(sizes, cumsum(sizes))]
end

"""
    design_rows!(energy, forces, virial, sys, calc; nthreads, precision)

Writes the rows that are wanted, which is each that is not `nothing`: (1, n_params), (3 n_atoms, n_params) with row 3 (atom − 1) + axis,
and (9 or 6, n_params), row by row or in the order xx, yy, zz, yz, xz, xy. Matrices of `Float64`, contiguous in a column.
"""
function design_rows!(energy, forces, virial, @nospecialize(sys::AbstractSystem), calc::WrappedSiteCalculator; options...)
    places = place.((energy, forces, virial))
    layout = [number for (_, numbers...) in places for number in numbers]
    assemble!(plan(calc; options...), atoms(Structure(sys))..., first.(places)..., layout)
    return nothing
end

"The array that a matrix lies in, its number of rows, where it starts, from 0, and how far its columns are apart."
place(::Nothing) = (NO_MATRIX, 0, 0, 0)
place(x::Matrix{Float64}) = (x, size(x, 1), 0, size(x, 1))
function place(x::SubArray{Float64,2,Matrix{Float64}})
    isempty(x) && return (NO_MATRIX, 0, 0, 0)
    whole = parent(x)
    stride(x, 1) == 1 || throw(ArgumentError("the rows of a matrix for design rows have to follow one another"))
    return (whole, size(x, 1), LinearIndices(whole)[map(first, parentindices(x))...] - 1, stride(x, 2))
end

function design_rows!(energy, forces, virial, @nospecialize(sys::AbstractSystem), stack::StackedCalculator; options...)
    columns = blocks(stack)
    some(x, range) = x === nothing ? nothing : view(x, :, range)
    for fused in stack.fused
        calc = present(fused, stack)
        ranges = columns[fused.members]
        if all(last(a) + 1 == first(b) for (a, b) in zip(ranges, ranges[2:end]))
            range = first(ranges[1]):last(ranges[end])
            design_rows!(some(energy, range), some(forces, range), some(virial, range), sys, calc; options...)
        else
            own(x) = x === nothing ? nothing : Matrix{Float64}(undef, size(x, 1), length_basis(calc))
            rows = own.((energy, forces, virial))
            design_rows!(rows..., sys, calc; options...)
            for (x, found) in zip((energy, forces, virial), rows)
                x === nothing || (x[:, reduce(vcat, ranges)] .= found)
            end
        end
    end
    for (calc, range) in zip(stack.calcs, columns)
        calc isa StackedCalculator || continue
        design_rows!(some(energy, range), some(forces, range), some(virial, range), sys, calc; options...)
    end
    return nothing
end

"""
    potential_energy_basis(sys, calc; nthreads, precision) -> Vector

The design row of the energy, (length_basis), eV: `E = row · θ`, one-body energies and calculators of other packages left out.
"""
function potential_energy_basis(sys::AbstractSystem, calc::Calculator; options...)
    expect_options(options)
    E = Matrix{Float64}(undef, 1, length_basis(calc))
    design_rows!(E, nothing, nothing, sys, calc; options...)
    return vec(E) * u"eV"
end

"""
    energy_forces_virial_basis(sys, calc; nthreads, precision) -> (; energy, forces, virial)

The design rows of a system, one-body energies and calculators of other packages left out:

- `energy`: (length_basis), eV; `E = dot(energy, θ)`
- `forces`: (n_atoms, length_basis) of `SVector{3}`, eV/Å; `F = forces * θ`
- `virial`: (length_basis) of `SMatrix{3,3}`, eV; `V = sum(θ .* virial)`
"""
function energy_forces_virial_basis(sys::AbstractSystem, calc::Calculator; options...)
    expect_options(options)
    p, n = length_basis(calc), length(sys)
    E, F, V = Matrix{Float64}(undef, 1, p), Matrix{Float64}(undef, 3n, p), Matrix{Float64}(undef, 9, p)
    design_rows!(E, F, V, sys, calc; options...)
    forces = collect(reshape(reinterpret(SVector{3,FORCE}, vec(F)), n, p))
    virial = [SMatrix{3,3}(view(V, :, k))' * u"eV" for k in 1:p]   # row by row in memory
    return (energy = vec(E) * u"eV", forces = forces, virial = virial)
end
