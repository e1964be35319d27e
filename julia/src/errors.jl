# How far predictions are from observations, and the fit that brings them near.

"Errors of one quantity each: energy in eV an atom, force components in eV/Å, virial components in eV an atom. `NaN` without observations."
const Deviation = @NamedTuple{E::Float64, F::Float64, V::Float64}

"""
    Errors

Errors of predictions, by group, as [`compute_errors`](@ref) finds them; shown as a table. `errors["all"]` and `errors[group]` have
`frames`, `atoms`, `rmse` and `mae`, the last two as `(; E, F, V)`: energy in eV an atom, force components in eV/Å, virial components
in eV an atom; `NaN` where there was nothing to compare with.
"""
struct Errors
    groups::Vector{String}
    rows::Vector{@NamedTuple{frames::Int, atoms::Int, rmse::Deviation, mae::Deviation}}
end

Base.keys(errors::Errors) = errors.groups
function Base.getindex(errors::Errors, group::AbstractString)
    k = findfirst(==(group), errors.groups)
    k === nothing && throw(KeyError(group))
    return errors.rows[k]
end

"""
    compute_errors(data, calc; nthreads, precision) -> Errors
    compute_errors(systems, calc; energy = :energy, forces = :forces, virial = :virial, group = :config_type, …)

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

function compute_errors(systems, calc; energy = :energy, forces = :forces, virial = :virial, group = :config_type, options...)
    return compute_errors(atoms_data(systems, calc; energy, forces, virial, group, reference = nothing), calc; options...)
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
    acefit!(data, calc; solver, prior = I, progress, nthreads, precision) -> Errors
    acefit!(systems, calc; energy = :energy, forces = :forces, virial = :virial, weights, group = :config_type, …)

Fits the linear parameters of a calculator to [`AtomsData`](@ref), or to systems by the keys of their observations, and gives the errors
of the fit, by group. `solver` is one of ACEfit's, by default `ACEfit.BLR()`; a committee that it finds is set, one that was set before
is dropped. `prior` is the matrix `P` of a regularisation: solved for is `P θ`. Weights by default are `(E = 30, F = 1, V = 1)`.
Needs ACEfit.
"""
function acefit! end
