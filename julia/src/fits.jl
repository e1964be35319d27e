# Fits by the library itself: rows go straight into triangular factors, whose size the data do not matter for.

"""
    FitReport

What a fit has to say: shown as the text that `acerust fit` prints. `report["errors"]["all"]` and others have the numbers; `keys(report)` are
`frames`, `used`, `rows`, `parameters`, `effective`, `noise`, `log_evidence`, `remarks` (frames that were left out, by reason), `absent` (groups with weights but no frames), `closest`
(neighbours, Å), `errors` (of the rows, by group: `energy` in eV an atom, `force` in eV/Å, `virial` in eV by the root of the number of atoms),
`left_out` (of each group under a fit to all others), `training` and `test` (of evaluated frames, by group and of `all`), `text`.
"""
struct FitReport
    content::Dict{String,Any}
end
Base.keys(report::FitReport) = keys(report.content)
Base.getindex(report::FitReport, key) = report.content[key]
Base.show(io::IO, ::MIME"text/plain", report::FitReport) = print(io, chomp(report["text"]))
Base.show(io::IO, report::FitReport) = print(io, "FitReport(", report["used"], " frames, ", report["parameters"], " parameters)")

"""
    build_model(recipe) -> ACERustModel

The model of a recipe, whose linear parameters are zero. A recipe is the name of a file, its text (TOML or JSON, of more than one line), or a
dictionary or named tuple, as `(elements = [:Si], order = 3, degree = 12, rcut = 5.5)`: see `docs/fit.md`.
"""
function build_model(recipe)
    text = recipe_text(recipe)
    return adopted(Model(out -> @acerust acerust_model_build(text::Cstring, sizeof(text)::Csize_t, out::Ptr{Ptr{Cvoid}})))
end

recipe_text(recipe::AbstractString) =
    startswith(lstrip(recipe), '{') || '\n' in recipe ? String(recipe) : read(recipe, String)
recipe_text(recipe::Union{AbstractDict,NamedTuple}) = json(recipe)
recipe_text(recipe) = throw(ArgumentError("a recipe is the name of a file, its text, a dictionary or a named tuple, not a $(typeof(recipe))"))

"A model of the C interface as one of the present binding."
adopted(model::Model) = binding() isa CCall ? ACERustModel(model) : model_from_json(model_to_json(model))

"""
    fit(
        recipe, data; settings, test = [], leave_one_out = false, factors, nthreads, device = :cpu, shares, progress,
        energy = :energy, forces = :forces, virial = :virial, stress = :stress, group = :config_type, weight = :weight
    ) -> (; calc, report)

Builds the model of a recipe (as in [`build_model`](@ref)) and fits it, as the command `acerust fit` does: `calc` is a
[`StackedCalculator`](@ref), with a committee where the settings ask for one, `report` a [`FitReport`](@ref).

`data` are names of files in extended XYZ, gzip or not, read as a stream; or systems, whose observations are found under the keys that follow,
as in [`atoms_data`](@ref). `settings`, the section `fit` of a recipe, are taken in place of the recipe's: `(solver = (type = "blr",), committee = 8)`. The
report has errors of the files of `data` and `test`; those of systems, [`compute_errors`](@ref) finds. `factors` is a file to write the factors
to, from which [`refit`](@ref) solves again. `device`, as of [`WrappedSiteCalculator`](@ref): where design rows are computed and factorised.

Where there are worker processes of `Distributed` that have loaded ACERust, each makes the factors of a share of the frames and sends nothing but
these; the share of a worker that ends is done again by another. `shares` are as many as there are workers; the result is the same to rounding.
"""
function fit(
    recipe, data; settings = nothing, test = String[], leave_one_out = false, factors = nothing, nthreads = 0,
    device = :cpu, shares = nworkers(), progress = stderr isa Base.TTY, keys...
)
    text, source = recipe_text(recipe), fit_data(data; keys...)
    expect_settings(settings, leave_one_out)
    factors isa Union{Nothing,AbstractString} || throw(ArgumentError("factors is the name of a file, not $(repr(factors))"))
    of = nprocs() == 1 ? 1 : whole("shares", shares; least = 1)
    fit = new_fit(text, nthreads, of == 1 ? device : :cpu)
    bar = Progress(of == 1 ? length(source) : of; desc = "Fitting ", enabled = progress)
    try
        if nprocs() == 1
            feed!(fit, source; each = () -> next!(bar))
        else
            for bytes in gather((number) -> (text, share(source, number, of), number, of, device), of, bar)
                @acerust acerust_fit_merge_bytes(fit::Ptr{Cvoid}, bytes::Ptr{UInt8}, length(bytes)::Csize_t)
            end
        end
        factors === nothing || (path = String(factors); @acerust acerust_fit_save(fit::Ptr{Cvoid}, path::Cstring))
        return solve(fit; settings, leave_one_out, training = source isa Vector{String} ? source : String[], test = names_of(test))
    finally
        close(fit)
    end
end

"""
    refit(factors; settings, leave_one_out = false, test = [], nthreads) -> (; calc, report)

Solves again from the file of factors that [`fit`](@ref) or `acerust fit --factors` wrote, without data: with other weights, prior, solver.
`settings` is the section `fit` of a recipe; without it the usual ones.
"""
function refit(factors::AbstractString; settings = nothing, leave_one_out = false, test = String[], nthreads = 0)
    expect_settings(settings, leave_one_out)
    path, threads = String(factors), nthreads_option(nthreads)
    fit = Address{:fit}(out -> @acerust acerust_fit_load(path::Cstring, threads::Csize_t, out::Ptr{Ptr{Cvoid}}))
    try
        return solve(fit; settings, leave_one_out, training = String[], test = names_of(test))
    finally
        close(fit)
    end
end

function expect_settings(settings, leave_one_out)
    settings isa Union{Nothing,AbstractString,AbstractDict,NamedTuple} ||
        throw(ArgumentError("settings are a dictionary, a named tuple or the text of a section, not $(repr(settings))"))
    leave_one_out isa Bool || throw(ArgumentError("leave_one_out is true or false, not $(repr(leave_one_out))"))
end

function new_fit(text::String, nthreads, device = :cpu)
    index, threads = device_option(device), nthreads_option(nthreads)
    return Address{:fit}(out -> @acerust acerust_fit_new(
        text::Ptr{UInt8}, sizeof(text)::Csize_t, (index >= 0)::Int32, max(index, 0)::Int32, threads::Csize_t, out::Ptr{Ptr{Cvoid}}
    ))
end

names_of(path::AbstractString) = [String(path)]
function names_of(paths)
    paths isa AbstractVector && all(path -> path isa AbstractString, paths) || throw(ArgumentError("names of files were expected, not a $(typeof(paths))"))
    return String[path for path in paths]
end

"Observations of a system with the weight that it has itself."
const Weighted = Tuple{AtomsData,Union{Nothing,Float64}}

function fit_data(paths::Union{AbstractString,AbstractVector{<:AbstractString}}; keys...)
    isempty(keys) || throw(ArgumentError("$(first(Base.keys(keys))) is a keyword for systems; in files, keys are what the recipe says"))
    return abspath.(names_of(paths))
end
function fit_data(systems; weight = :weight, keys...)
    known = (:energy, :forces, :virial, :stress, :group)
    for name in Base.keys(keys)
        name in known || throw(ArgumentError("there is no keyword $name; keys of observations are $(join(known, ", ")) and weight"))
    end
    weight isa Union{Nothing,Symbol} || throw(ArgumentError("the key of the weight is a Symbol or nothing, not $(repr(weight))"))
    data = atoms_data(systems, nothing; keys...)
    return Weighted[(d, weight === nothing ? nothing : own_weight(d.system, k, weight)) for (k, d) in enumerate(data)]
end

function own_weight(sys, k, key)
    haskey(sys, key) || return nothing
    x = sys[key]
    return x isa Real ? Float64(x) : throw(ArgumentError("system $k: $key is $(repr(x)), not a number"))
end

"What a share of the data takes from here: of files their names, of systems every `of`-th."
share(paths::Vector{String}, number, of) = paths
share(data::Vector{Weighted}, number, of) = data[number:of:end]

struct Share   # acerust_share
    size::Csize_t
    number::UInt64
    of::UInt64
    checkpoint::Ptr{UInt8}
    every::UInt64
    progress::Ptr{Cvoid}
    context::Ptr{Cvoid}
end

function feed!(fit, paths::Vector{String}; number = 1, of = 1, each = () -> nothing)
    # The frames of all files are counted together: shares are of all of them at once.
    for some in (of == 1 ? [[path] for path in paths] : [paths])
        names = Ref(Share(sizeof(Share), number, of, C_NULL, 0, C_NULL, C_NULL))
        @acerust acerust_fit_read(fit::Ptr{Cvoid}, some::Ptr{Cstring}, length(some)::Csize_t, names::Ptr{Share})
        each()
    end
    return nothing
end

struct Observation   # acerust_observation
    size::Csize_t
    energy::Ptr{Float64}
    forces::Ptr{Float64}
    virial::Ptr{Float64}
    group::Ptr{UInt8}
    weight::Ptr{Float64}
end

function feed!(fit, data::Vector{Weighted}; number = 1, of = 1, each = () -> nothing)
    numbers(::Nothing) = Float64[]
    numbers(x::Real) = Float64[x]
    numbers(forces::Vector) = collect(Iterators.flatten(forces))
    numbers(virial::SMatrix) = vec(Matrix(virial'))   # row by row in memory
    for (d, weight) in data
        s = Structure(d.system)
        held = map(numbers, (d.energy, d.forces, d.virial, weight))
        place(x) = isempty(x) ? Ptr{Float64}(C_NULL) : pointer(x)
        GC.@preserve s held d begin
            group = convert(Ptr{UInt8}, Base.unsafe_convert(Cstring, d.group))
            e, f, v, w = map(place, held)
            input, observation = Ref(structure(C_NULL, s.numbers, pointer(s.positions), s.cell, s.pbc)), Ref(Observation(sizeof(Observation), e, f, v, group, w))
            @acerust acerust_fit_push(fit::Ptr{Cvoid}, input::Ptr{Input}, observation::Ptr{Observation})
        end
        each()
    end
    return nothing
end

"The factors of a share, as bytes; on the process that is to make them."
function share_factors(text, source, number, of, device)
    fit = new_fit(text, 1, device)
    try
        feed!(fit, source; number, of)
        return bytes((b, n, needed) -> @acerust acerust_fit_factors(
            fit::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
        ))
    finally
        close(fit)
    end
end

"The factors of all shares, in their order, from the workers. What a worker does not live to send is asked of another."
function gather(arguments, of, bar)
    results, todo = Vector{Union{Nothing,Vector{UInt8}}}(nothing, of), collect(1:of)
    expect_package.(workers())
    failures = Any[]
    while !isempty(todo) && isempty(failures)
        alive = setdiff(workers(), 1)
        isempty(alive) && error("ACERust: no worker is left for $(length(todo)) of $of shares")
        @sync for worker in alive
            @async while !isempty(todo) && isempty(failures)
                number = popfirst!(todo)
                try
                    results[number] = remotecall_fetch(share_factors, worker, arguments(number)...)
                    next!(bar)
                catch error
                    error isa ProcessExitedException || push!(failures, error)
                    pushfirst!(todo, number)
                    break
                end
            end
        end
    end
    isempty(failures) || throw(first(failures))
    return results
end

struct Solve   # acerust_solve
    size::Csize_t
    settings::Ptr{UInt8}
    leave_one_out::Int32
    training::Ptr{Ptr{UInt8}}
    n_training::Csize_t
    test::Ptr{Ptr{UInt8}}
    n_test::Csize_t
    progress::Ptr{Cvoid}
    context::Ptr{Cvoid}
end

function solve(fit; settings, leave_one_out, training::Vector{String}, test::Vector{String})
    section = settings === nothing ? "" : settings isa AbstractString ? String(settings) : json(settings)
    address(text) = convert(Ptr{UInt8}, Base.unsafe_convert(Cstring, text))
    files = map(paths -> address.(paths), (training, test))
    place(x) = isempty(x) ? Ptr{Ptr{UInt8}}(C_NULL) : pointer(x)
    model = GC.@preserve section training test files begin
        given = settings === nothing ? Ptr{UInt8}(C_NULL) : address(section)
        all = (place(files[1]), length(files[1]), place(files[2]), length(files[2]))
        options = Ref(Solve(sizeof(Solve), given, leave_one_out, all..., C_NULL, C_NULL))
        Model(out -> @acerust acerust_fit_solve(fit::Ptr{Cvoid}, options::Ptr{Solve}, out::Ptr{Ptr{Cvoid}}))
    end
    report = FitReport(JSON.parse(text((b, n, needed) -> @acerust acerust_fit_report(
        fit::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
    )); dicttype = Dict{String,Any}))
    members = Matrix{Float64}(undef, model_length_basis(model), report["committee"])
    @acerust acerust_fit_committee(fit::Ptr{Cvoid}, members::Ptr{Float64}, length(members)::Csize_t)
    calc = StackedCalculator(adopted(model))
    return (; calc = isempty(members) ? calc : set_committee!(calc, members), report)
end

"""
    ace1_recipe(; elements, order, totaldegree, …)

The recipe of the basis that `ace1_model` of ACEpotentials makes of the same keywords: `wL`, `rin`, `r0`, `rcut`, `transform`, `pair_transform`, `pair_degree`,
`pair_envelope`, `variable_cutoffs`, `Eref`, with its defaults. Whatever else a recipe knows may follow, as `core` in place of upstream's `ZBL`, or `fit`.
"""
function ace1_recipe(;
    elements, order, totaldegree, r0 = :bondlen, rcut = (:bondlen, 2.5), transform = (:agnesi, 2, 4), pair_transform = (:agnesi, 1, 3),
    pair_envelope = (:r, 2), pair_degree = :totaldegree, Eref = missing, options...
)
    exponents(t) = t isa Tuple && length(t) == 3 && first(t) === :agnesi ? [t[3], t[2]] : throw(ArgumentError("a transform is (:agnesi, p, q), not $(repr(t))"))
    pair_envelope isa Tuple && length(pair_envelope) == 2 && first(pair_envelope) === :r || throw(ArgumentError("pair_envelope is (:r, p), not $(repr(pair_envelope))"))
    unless(default, name, x) = x == default ? (;) : NamedTuple{(name,)}((x isa Unitful.Quantity ? in_unit(u"Å", name, x) : x,))
    Eref === missing || are_pairs(Eref) || throw(ArgumentError("Eref are pairs of elements and energies, or a dictionary, not $(repr(Eref))"))
    energies = Eref === missing ? (;) : (; E0 = Dict(string(z) => electronvolt(e) for (z, e) in (Eref isa AbstractDict ? pairs(Eref) : Eref)))
    return (;
        preset = "ace1", elements, order, degree = totaldegree, unless(:bondlen, :r0, r0)..., unless((:bondlen, 2.5), :rcut, rcut)...,
        transform = exponents(transform), pair_transform = exponents(pair_transform), pair_envelope = (; ace1 = last(pair_envelope)),
        unless(:totaldegree, :pair_degree, pair_degree)..., energies..., options...
    )
end
