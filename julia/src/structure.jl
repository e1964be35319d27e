# AtomsBase systems as the library takes them.

"Atoms of a system: numbers (n), positions (3, n) in Å, a cell vector a column, periodicity."
struct Structure
    numbers::Vector{Int32}
    positions::Matrix{Float64}
    cell::Matrix{Float64}
    pbc::Vector{Int32}
end

atoms(s::Structure) = (s.numbers, s.positions, s.cell, s.pbc)

Base.length(s::Structure) = length(s.numbers)

int32(numbers) = Vector{Int32}(numbers)
ångström(x::SVector{3}) = SVector{3,Float64}(ustrip.(u"Å", x))
ångström(x) = ångström(SVector{3}(x))

function matrix(positions)
    X = Matrix{Float64}(undef, 3, length(positions))
    columns(X) .= ångström.(positions)
    return X
end

function Structure(sys::AbstractSystem)
    # Whole columns: atom by atom, systems of mixed properties are slow. Functions of their own know the columns' types.
    cell, pbc = box(sys)
    return Structure(int32(atomic_number(sys, :)), matrix(position(sys, :)), cell, pbc)
end

"Cell and periodicity of a system, as a `Structure` has them."
function box(sys::AbstractSystem{D}) where {D}
    D == 3 || throw(ArgumentError("ACERust needs a system of 3 dimensions, this one has $D"))
    pbc = SVector{3,Bool}(periodicity(sys))
    # Vectors of directions without periodicity may be infinite; they are of no account.
    vectors = any(pbc) ? cell_vectors(sys) : ntuple(_ -> zero(SVector{3,Float64}) * u"Å", 3)
    cell = Matrix(hcat((pbc[k] ? ångström(vectors[k]) : zero(SVector{3,Float64}) for k in 1:3)...))
    return cell, Vector{Int32}(pbc)
end

"""
    set_memory_limit!(bytes)

The most memory that one call may take, as estimated before it takes it; for this process. `nothing`, as at the start, is half of what is
free at the time of the call.
"""
function set_memory_limit!(bytes::Union{Nothing,Real})
    bytes === nothing || isinteger(bytes) && bytes > 0 || throw(ArgumentError("a limit of memory is above 0, and whole, not $bytes"))
    foreach(b -> set_memory_limit(b, bytes === nothing ? 0 : Int(min(bytes, typemax(Int)))), values(BINDINGS))   # each may have a library of its own
    return bytes
end

"Throws where arrays of so many bytes are more than the limit."
expect_memory(bytes, what) = check_memory(binding(), Float64(bytes), what)
