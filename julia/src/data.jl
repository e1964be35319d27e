# Observations to fit to, without any other package. With ACEfit, its own functions work on them too.

"""
    AtomsData(sys; energy, forces, virial, weights = (E = 1, F = 1, V = 1), reference = nothing)

A system and what was observed of it; what is left out is not fitted. `energy`, `forces` (one vector an atom) and `virial` (3 × 3) are
values, in eV and Å where they have no unit, or keys of the system (`Symbol`s). Rows are weighted by `E/√n`, `F` and `V/√n` for n
atoms. The results of the calculator `reference`, such as one-body energies, are subtracted.
"""
struct AtomsData{S<:AbstractSystem}
    system::S
    energy::Union{Nothing,Float64}
    forces::Union{Nothing,Vector{SVector{3,Float64}}}
    virial::Union{Nothing,SMatrix{3,3,Float64,9}}
    weights::@NamedTuple{E::Float64, F::Float64, V::Float64}
    reference::Any
end

function AtomsData(sys::AbstractSystem; energy = nothing, forces = nothing, virial = nothing, weights = (E = 1, F = 1, V = 1), reference = nothing)
    E, V = look_up(sys, energy), look_up(sys, virial)
    F = forces isa Symbol ? sys[:, forces] : forces
    F === nothing || length(F) == length(sys) ||
        throw(DimensionMismatch("$(length(F)) forces for $(length(sys)) atoms"))
    strip(unit, x) = x isa Unitful.Quantity ? ustrip(unit, x) : x
    return AtomsData(
        sys,
        E === nothing ? nothing : Float64(strip(u"eV", E)),
        F === nothing ? nothing : [SVector{3,Float64}(strip.(u"eV/Å", f)) for f in F],
        V === nothing ? nothing : SMatrix{3,3,Float64}(strip.(u"eV", V isa AbstractMatrix ? V : reduce(hcat, V))),
        (E = Float64(weights.E), F = Float64(weights.F), V = Float64(weights.V)),
        reference,
    )
end

look_up(sys, value) = value isa Symbol ? sys[value] : value

const VOIGT = SVector(1, 5, 9, 8, 7, 4)   # xx, yy, zz, yz, xz, xy of a 3 × 3 matrix

count_observations(d::AtomsData) = (d.energy !== nothing) + 3 * length(d.system) * (d.forces !== nothing) + 6 * (d.virial !== nothing)

"Rows of energy, forces and virial among the observations; empty where there is none."
function observation_rows(n_atoms, energy::Bool, forces::Bool, virial::Bool)
    e = 1:Int(energy)
    f = (last(e) + 1):(last(e) + 3n_atoms * forces)
    return e, f, (last(f) + 1):(last(f) + 6virial)
end
observation_rows(d::AtomsData) = observation_rows(length(d.system), d.energy !== nothing, d.forces !== nothing, d.virial !== nothing)

"""
    feature_matrix(data, calc; nthreads, precision) -> Matrix{Float64}

(count_observations, length_basis): the energy row, the force rows, the virial rows in the order xx, yy, zz, yz, xz, xy.
"""
function feature_matrix(d::AtomsData, calc::Calculator; options...)
    A = Matrix{Float64}(undef, count_observations(d), length_basis(calc))
    fill_features!(A, d.system, calc, observation_rows(d); options...)
    return A
end

function fill_features!(A, sys, calc, (e, f, v); options...)
    p = size(A, 2)
    # Interleaved in one matrix, they would overlap in memory: forces, by far the most, are written in place, the others copied.
    E = isempty(e) ? nothing : Matrix{Float64}(undef, 1, p)
    V = isempty(v) ? nothing : Matrix{Float64}(undef, 6, p)
    design_rows!(E, isempty(f) ? nothing : view(A, f, :), V, sys, calc; options...)
    E === nothing || (A[e, :] .= E)
    V === nothing || (A[v, :] .= V)
    return A
end

function target_vector(d::AtomsData; ignored...)
    E, F, V = Ref(0.0), no_forces(d.system), no_virial()
    d.reference === nothing || evaluate!(
        d.energy === nothing ? nothing : E, d.forces === nothing ? nothing : F, d.virial === nothing ? nothing : V, d.system, d.reference
    )
    y = Float64[]
    d.energy === nothing || push!(y, d.energy - E[])
    d.forces === nothing || append!(y, reinterpret(Float64, d.forces - F))
    d.virial === nothing || append!(y, (d.virial - V[])[VOIGT])
    return y
end

function weight_vector(d::AtomsData; ignored...)
    w = Vector{Float64}(undef, count_observations(d))
    e, f, v = observation_rows(d)
    n = length(d.system)
    w[e] .= d.weights.E / sqrt(n)
    w[f] .= d.weights.F
    w[v] .= d.weights.V / sqrt(n)
    return w
end

"""
    assemble(data, calc; nthreads, precision) -> (A, Y, W)

The linear problem of many [`AtomsData`](@ref): features, targets, weights, in the order of the data.
"""
function assemble(data::AbstractVector{<:AtomsData}, calc::Calculator; options...)
    ends = cumsum(count_observations.(data))
    A = Matrix{Float64}(undef, isempty(ends) ? 0 : last(ends), length_basis(calc))
    for (d, stop) in zip(data, ends)
        offset = stop - count_observations(d)
        fill_features!(A, d.system, calc, map(rows -> rows .+ offset, observation_rows(d)); options...)
    end
    return A, reduce(vcat, target_vector.(data); init = Float64[]), reduce(vcat, weight_vector.(data); init = Float64[])
end
