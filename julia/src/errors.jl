# How far predictions are from observations, and the fit that brings them near.

"Errors of one quantity each: energy in eV an atom, force components in eV/Å, virial components in eV an atom. `NaN` without observations."
const Deviation = @NamedTuple{E::Float64, F::Float64, V::Float64}

const ErrorRow = @NamedTuple{frames::Int, atoms::Int, rmse::Deviation, mae::Deviation}
const CountRow = @NamedTuple{frames::Int, atoms::Int, energies::Int, forces::Int, virials::Int, stresses::Int}

"What is known of data by group, and of all; shown as a table."
struct ByGroup{Row}
    groups::Vector{String}
    rows::Vector{Row}
end

Base.keys(table::ByGroup) = table.groups
function Base.getindex(table::ByGroup, group::AbstractString)
    k = findfirst(==(group), table.groups)
    k === nothing && throw(KeyError(group))
    return table.rows[k]
end

"""
    Errors

Errors of predictions, by group, as [`compute_errors`](@ref) finds them; shown as a table. `errors["all"]` and `errors[group]` have
`frames`, `atoms`, `rmse` and `mae`, the last two as `(; E, F, V)`: energy in eV an atom, force components in eV/Å, virial components
in eV an atom; `NaN` where there was nothing to compare with.
"""
const Errors = ByGroup{ErrorRow}

"""
    Observations

How much there is to fit to, by group, as [`observations`](@ref) counts it; shown as a table. `counts["all"]` and `counts[group]` have `frames`,
`atoms`, and how many `energies`, `forces` (an atom each), `virials` and `stresses`.
"""
const Observations = ByGroup{CountRow}

"""
    observations(data) -> Observations

Counts the observations of [`AtomsData`](@ref), by group, in the order of the data, and over all.
"""
function observations(data::AbstractVector{<:AtomsData})
    function tally_of(some)
        of(f) = count(f, some)
        return CountRow((
            length(some), sum(d -> length(d.system), some; init = 0), of(d -> d.energy !== nothing),
            sum(d -> d.forces === nothing ? 0 : length(d.forces), some; init = 0),
            of(d -> d.virial !== nothing && !d.is_stress), of(d -> d.is_stress),
        ))
    end
    names = unique(d.group for d in data)
    rows = [tally_of(filter(d -> d.group == name, data)) for name in names]
    return Observations([names; "all"], [rows; tally_of(data)])
end

"""
    compute_errors(data, calc; nthreads, precision) -> Errors
    compute_errors(
        systems, calc; energy = :energy, forces = :forces, virial = :virial, stress = :stress, group = :config_type, …
    )

Compares what a calculator predicts with what was observed: by group, in the order of the data, and over all. The whole prediction is
compared, with whatever reference energies the calculator contains.
"""
function compute_errors(data::AbstractVector{<:AtomsData}, calc; options...)
    expect_options(options)
    names = unique(d.group for d in data)
    # Differences of E, F and V, group by group.
    differences = Dict(name => (Float64[], Float64[], Float64[]) for name in names)
    for d in data
        append!.(differences[d.group], residuals(d, calc; options...))
    end
    members(name) = filter(d -> d.group == name, data)
    rows = [summarise(members(name), differences[name]) for name in names]
    together = Tuple(reduce(vcat, (differences[name][k] for name in names); init = Float64[]) for k in 1:3)
    return Errors([names; "all"], [rows; summarise(data, together)])
end

function compute_errors(
    systems, calc; energy = :energy, forces = :forces, virial = :virial, stress = :stress, group = :config_type, options...
)
    return compute_errors(atoms_data(systems, calc; energy, forces, virial, stress, group, reference = nothing), calc; options...)
end

function residuals(d::AtomsData, calc; options...)
    E, F, V = Ref(0.0), no_forces(d.system), no_virial()
    e, f, v = observed(d)
    evaluate!(e ? E : nothing, f ? F : nothing, v ? V : nothing, d.system, calc; options...)
    (; energy, forces, virial) = d
    n = length(d.system)
    return (
        energy === nothing ? Float64[] : [(E[] - energy) / n],
        forces === nothing ? Float64[] : reinterpret(Float64, F - forces),
        virial === nothing ? Float64[] : (V[] - virial)[VOIGT] / n,
    )
end

function summarise(data, differences)
    mean(f, x) = isempty(x) ? NaN : sum(f, x) / length(x)
    return (
        frames = length(data),
        atoms = sum(d -> length(d.system), data; init = 0),
        rmse = Deviation(sqrt(mean(abs2, x)) for x in differences),
        mae = Deviation(mean(abs, x) for x in differences),
    )
end

function Base.show(io::IO, ::MIME"text/plain", counts::Observations)
    width = maximum(textwidth, counts.groups) + 2
    line(name, cells) = print(io, rpad(name, width), join(lpad.(cells, 10)))
    line("group", fieldnames(CountRow))
    for (name, row) in zip(counts.groups, counts.rows)
        println(io)
        line(name, values(row))
    end
end
Base.show(io::IO, counts::Observations) = print(io, "Observations(", join(counts.groups, ", "), ")")

function Base.show(io::IO, ::MIME"text/plain", errors::Errors)
    width = maximum(textwidth, errors.groups) + 2
    virials = any(row -> !isnan(row.rmse.V), errors.rows)
    line(name, cells) = print(io, rpad(name, width), join(lpad.(cells, 9)))
    meV(x) = isnan(x) ? "–" : @sprintf("%.2f", 1000x)
    eV(x) = isnan(x) ? "–" : @sprintf("%.4f", x)
    line("", ["", "", "energy", "meV/atom", "forces", "eV/Å", (virials ? ("virial", "meV/atom") : ())...])
    println(io)
    line("group", ["frames", "atoms", repeat(["RMSE", "MAE"], 2 + virials)...])
    for (name, (; frames, atoms, rmse, mae)) in zip(errors.groups, errors.rows)
        println(io)
        line(name, [frames, atoms, meV(rmse.E), meV(mae.E), eV(rmse.F), eV(mae.F), (virials ? (meV(rmse.V), meV(mae.V)) : ())...])
    end
end
Base.show(io::IO, errors::Errors) = print(io, "Errors(", join(errors.groups, ", "), ")")

"""
    acefit!(
        data, calc; solver, smoothness = 4, prior = smoothness_prior(calc; p = smoothness), validation_set, verbose = true, progress,
        nthreads, precision
    ) -> Errors
    acefit!(
        systems, calc; energy = :energy, forces = :forces, virial = :virial, stress = :stress, weights, group = :config_type, …
    )

Fits the linear parameters of a calculator to [`AtomsData`](@ref), or to systems by the keys of their observations, and gives the errors
of the fit, by group. First it prints how much it fits to ([`observations`](@ref)), where `verbose`; nothing at all is an error. `solver` is one of
ACEfit's, by default `ACEfit.BLR()`; a committee that it finds is set, one that was set before is dropped. `prior` is the matrix `P` of
a regularisation, in the order of the linear parameters: solved for is `P θ`; `I` for none. It is a [`smoothness_prior`](@ref) by default, as
in ACEpotentials. `validation_set`, like the first argument, is for the solvers that take one. Weights by default are `(E = 30, F = 1, V = 1)`. Needs
ACEfit.
"""
function acefit! end
