# AtomsBase systems as the library takes them.

"Atoms of a system: numbers, positions in Å, cell vectors one after another, periodicity."
struct Structure
    numbers::Vector{Int32}
    positions::Vector{SVector{3,Float64}}
    cell::SMatrix{3,3,Float64,9}   # a column per cell vector: in memory, the rows that the library wants
    pbc::SVector{3,Int32}
end

Base.length(s::Structure) = length(s.numbers)

ångström(x::SVector{3}) = SVector{3,Float64}(ustrip.(u"Å", x))
ångström(x) = ångström(SVector{3}(x))

function Structure(sys::AbstractSystem{D}) where {D}
    D == 3 || throw(ArgumentError("ACERust needs a system of 3 dimensions, this one has $D"))
    n = length(sys)
    numbers = Vector{Int32}(undef, n)
    positions = Vector{SVector{3,Float64}}(undef, n)
    for i in 1:n
        numbers[i] = atomic_number(sys, i)
        positions[i] = ångström(position(sys, i))
    end
    pbc = SVector{3,Bool}(periodicity(sys))
    # Vectors of directions without periodicity may be infinite; they are of no account.
    vectors = any(pbc) ? cell_vectors(sys) : ntuple(_ -> zero(SVector{3,Float64}) * u"Å", 3)
    cell = hcat((pbc[k] ? ångström(vectors[k]) : zero(SVector{3,Float64}) for k in 1:3)...)
    return Structure(numbers, positions, SMatrix{3,3,Float64,9}(cell), pbc)
end
