# Observations to fit to, without any other package. With ACEfit, its own functions work on them too.

"""
    AtomsData(sys; energy, forces, virial, stress, weights = (E = 1, F = 1, V = 1), reference = nothing, group = :config_type)

A system and what was observed of it; what is left out is not fitted. `energy`, `forces` (one vector an atom) and `virial` or `stress` (3 × 3,
nine numbers, or six in the order xx, yy, zz, yz, xz, xy) are values, in eV and Å where they have no unit, or keys of the system (`Symbol`s). A
stress counts as the virial `−volume · stress`, and is of no account beside a virial. Rows are weighted by `E/√n`, `F` and `V/√n` for n
atoms. Weights may depend on the group: `Dict("default" => (E = 30, F = 1, V = 1), "surface" => (E = 10, F = 1, V = 1))`. The results of
the calculator `reference`, such as one-body energies, are subtracted from what is to be fitted. `group` is the key of the group's name.
"""
struct AtomsData
    system::AbstractSystem                                # of any type: fits are compiled once for all of them
    energy::Union{Nothing,Float64}
    forces::Union{Nothing,Vector{SVector{3,Float64}}}
    virial::Union{Nothing,SMatrix{3,3,Float64,9}}
    is_stress::Bool                                       # was the virial given as a stress?
    weights::@NamedTuple{E::Float64, F::Float64, V::Float64}
    reference::Any
    group::String
end

function AtomsData(
    @nospecialize(sys::AbstractSystem); energy = nothing, forces = nothing, virial = nothing, stress = nothing, weights = (E = 1, F = 1, V = 1),
    reference = nothing, group = :config_type, others...
)
    expect_none(others, "observations are energy, forces, virial and stress; beside them there are weights, reference and group")
    isempty(sys) && throw(ArgumentError("a system without atoms has no observations"))
    E, F, V, σ = look_up(sys, energy), look_up(sys, forces), look_up(sys, virial), look_up(sys, stress)
    F === nothing || length(F) == length(sys) ||
        throw(DimensionMismatch("$(length(F)) forces for $(length(sys)) atoms"))
    group isa Symbol || throw(ArgumentError("the key of the group's name is a Symbol, not $(repr(group))"))
    name = haskey(sys, group) ? string(sys[group]) : "default"
    is_stress = V === nothing && σ !== nothing
    return AtomsData(
        sys,
        E === nothing ? nothing : finite("the energy", in_unit(u"eV", "the energy", E)),
        F === nothing ? nothing : [force("the force on atom $i", f) for (i, f) in enumerate(F)],
        is_stress ? finite("the stress", -volume(sys) * tensor("stress", u"eV/Å^3", σ)) :
        V === nothing ? nothing : finite("the virial", tensor("virial", u"eV", V)),
        is_stress,
        weights_of(weights, name),
        reference,
        name,
    )
end

finite(name, x) = all(isfinite, x) ? x : throw(ArgumentError("$name is not finite"))

function force(name, f)
    length(f) == 3 || throw(DimensionMismatch("$name has $(length(f)) components"))
    x, y, z = f
    return finite(name, SVector(in_unit(u"eV/Å", name, x), in_unit(u"eV/Å", name, y), in_unit(u"eV/Å", name, z)))
end

"A tensor from a matrix, a vector, or a vector of vectors."
function tensor(name, unit, given)
    given isa Union{AbstractArray,Tuple} || throw(ArgumentError("the $name is $(repr(given)), not a matrix, nor nine numbers or six"))
    rows = all(row -> row isa Union{AbstractArray,Tuple}, given)
    x = [in_unit(unit, "the $name", number) for number in (rows ? Iterators.flatten(given) : given)]
    length(x) == 6 && return SMatrix{3,3,Float64}(x[[1, 6, 5, 6, 2, 4, 5, 4, 3]])
    length(x) == 9 && return SMatrix{3,3,Float64}(x)
    throw(DimensionMismatch("a $name of $(length(x)) numbers, not of nine or six"))
end

"The volume of the cell, Å³."
function volume(sys::AbstractSystem)
    all(periodicity(sys)) || throw(ArgumentError("only systems that are periodic in all directions have a stress"))
    return abs(det(first(box(sys))))
end

look_up(sys, value) = value
function look_up(sys, key::Symbol)
    haskey(sys, key) && return sys[key]
    hasatomkey(sys, key) && return sys[:, key]
    throw(ArgumentError("the system has no $(repr(key)); it has $(known_keys(sys))"))
end
known_keys(sys) = join(repr.((keys(sys)..., atomkeys(sys)...)), ", ")

function weights_of(w::NamedTuple, group)
    return map((E = :E, F = :F, V = :V)) do key
        x = get(w, key, nothing)
        x isa Real && 0 <= x < Inf || throw(ArgumentError("the weight $key of the group $(repr(group)) is $(repr(x)), not a finite number from 0 on"))
        Float64(x)
    end
end
function weights_of(w::AbstractDict, group)
    own = get(() -> get(w, "default", nothing), w, group)
    own === nothing && throw(ArgumentError("there are no weights for the group $(repr(group)), and none for \"default\""))
    # As ACEpotentials has them: a dictionary for each group.
    return weights_of(own isa AbstractDict ? map(key -> get(own, key, nothing), (E = "E", F = "F", V = "V")) : own, group)
end
weights_of(w, group) = throw(ArgumentError("weights are (E = …, F = …, V = …), or a dictionary of such by group, not $(repr(w))"))

"""
    atoms_data(
        systems, calc; energy = :energy, forces = :forces, virial = :virial, stress = :stress, options…
    ) -> Vector{AtomsData}

[`AtomsData`](@ref) of every system, with those of the keys that it has; `nothing` in place of a key leaves its quantity out. What no linear
parameter of `calc` changes is the `reference`. Throws where a system has none of the keys, and where no system has one of them other than
the usual `:energy`, `:force`, `:forces`, `:virial` and `:stress`. A stress is passed over where there is a virial, and where the system is not
periodic in all directions.
"""
function atoms_data(
    systems, calc; energy = :energy, forces = :forces, virial = :virial, stress = :stress, reference = fixed_part(calc), options...
)
    expect_systems(systems)
    isempty(systems) && throw(ArgumentError("there are no systems to take observations from"))
    has(sys, key) = haskey(sys, key) || hasatomkey(sys, key)
    for key in (energy, forces, virial, stress)
        key isa Union{Nothing,Symbol} || throw(ArgumentError("the key of an observation is a Symbol or nothing, not $(repr(key))"))
        key in (nothing, :energy, :force, :forces, :virial, :stress) || any(sys -> has(sys, key), systems) ||
            throw(ArgumentError("no system has $(repr(key)); the first has $(known_keys(first(systems)))"))
    end
    return map(enumerate(systems)) do (k, sys)
        there(key) = key !== nothing && has(sys, key) ? key : nothing
        found = (energy = there(energy), forces = there(forces), virial = there(virial), stress = all(periodicity(sys)) ? there(stress) : nothing)
        all(isnothing, found) && throw(ArgumentError("system $k has none of $energy, $forces, $virial, $stress"))
        try
            AtomsData(sys; found..., reference, options...)
        catch error
            error isa Union{ArgumentError,DimensionMismatch} ? throw(typeof(error)("system $k: " * error.msg)) : rethrow()
        end
    end
end

"A calculator without what its linear parameters contribute: one-body energies and calculators of other packages are left."
fixed_part(::Nothing) = nothing
fixed_part(calc) = set_linear_parameters!(deepcopy(calc), zeros(length_basis(calc)))

const VOIGT = SVector(1, 5, 9, 8, 7, 4)   # xx, yy, zz, yz, xz, xy of a 3 × 3 matrix

"Which of energy, forces and virial were observed."
observed(d::AtomsData) = .!isnothing.((d.energy, d.forces, d.virial))

"Rows of energy, forces and virial among the observations; empty where there is none."
function observation_rows(n_atoms, (energy, forces, virial))
    e = 1:Int(energy)
    f = (last(e) + 1):(last(e) + 3n_atoms * forces)
    return e, f, (last(f) + 1):(last(f) + 6virial)
end
observation_rows(d) = observation_rows(length(d.system), observed(d))
count_observations(d) = sum(length, observation_rows(d))

"""
    feature_matrix(data, calc; nthreads, precision) -> Matrix{Float64}

(count_observations, length_basis): the energy row, the force rows, the virial rows in the order xx, yy, zz, yz, xz, xy.
"""
feature_matrix(d, calc::Calculator; options...) = feature_matrix(d.system, observed(d), calc; options...)

function feature_matrix(@nospecialize(sys::AbstractSystem), observed, calc; options...)
    expect_options(options)
    rows = observation_rows(length(sys), observed)
    A = Matrix{Float64}(undef, sum(length, rows), length_basis(calc))
    fill_features!(A, sys, calc, rows; options...)
    return A
end

function fill_features!(A, @nospecialize(sys), calc, (e, f, v); options...)
    p = size(A, 2)
    # Interleaved in one matrix, they would overlap in memory: forces, by far the most, are written in place, the others copied.
    E = isempty(e) ? nothing : Matrix{Float64}(undef, 1, p)
    V = isempty(v) ? nothing : Matrix{Float64}(undef, 6, p)
    design_rows!(E, isempty(f) ? nothing : view(A, f, :), V, sys, calc; options...)
    E === nothing || (A[e, :] .= E)
    V === nothing || (A[v, :] .= V)
    return A
end

function target_vector(d::AtomsData)
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

function weight_vector(d::AtomsData)
    w = Vector{Float64}(undef, count_observations(d))
    e, f, v = observation_rows(d)
    n = length(d.system)
    w[e] .= d.weights.E / sqrt(n)
    w[f] .= d.weights.F
    w[v] .= d.weights.V / sqrt(n)
    return w
end

"""
    assemble(data, calc; progress, nthreads, precision) -> (A, Y, W)

The linear problem of many [`AtomsData`](@ref): features, targets, weights, in the order of the data. Where there are worker processes
of `Distributed`, which need to have loaded ACERust and the packages of the systems, they share the work. `progress` shows a bar; by
default in a terminal.
"""
function assemble(data::AbstractVector, calc::Calculator; progress = stderr isa Base.TTY, options...)
    expect_options(options)
    ends = cumsum(count_observations.(data))
    A = Matrix{Float64}(undef, isempty(ends) ? 0 : last(ends), length_basis(calc))
    rows(k) = (ends[k] - count_observations(data[k]) + 1):ends[k]
    bar = Progress(length(data); desc = "Assembling ", enabled = progress)
    if nprocs() == 1
        for (k, d) in enumerate(data)
            fill_features!(A, d.system, calc, map(r -> r .+ (first(rows(k)) - 1), observation_rows(d)); options...)
            next!(bar)
        end
    else
        # The calculator travels to each worker once, with `compute`; the workers are the threads, unless the user says otherwise.
        own = (; nthreads = 1, options...)
        compute(sys, observed) = feature_matrix(sys, observed, calc; own...)
        expect_package.(workers())
        pool = CachingPool(workers())
        asyncmap(eachindex(data); ntasks = nworkers()) do k
            A[rows(k), :] = remotecall_fetch(compute, pool, data[k].system, observed(data[k]))
            next!(bar)
        end
        clear!(pool)
    end
    targets(f) = reduce(vcat, f.(data); init = Float64[])
    return A, targets(target_vector), targets(weight_vector)
end

"Throws where a worker process cannot take part, before it says so in words of its own."
function expect_package(worker)
    package = Base.PkgId(@__MODULE__)
    known = remotecall_fetch(Core.eval, worker, Main, :(haskey(Base.loaded_modules, $package)))
    known || throw(ArgumentError("worker $worker has not loaded ACERust: @everywhere using ACERust, and the packages of the systems"))
end
