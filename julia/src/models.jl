# Models: validated, never changing; and plans, models made ready for the processor.

"""
    ACERustModel{Kind}

A model of the library: `Kind` is `:onebody`, `:pair` or `:ace` for a model of that one part, `:mace` for one of MACE, `:stack` for all others.
Made by [`load_model`](@ref), [`convert_reference`](@ref) and the conversions from ACEpotentials. It never changes; `close(model)` frees it at
once, else it is freed as garbage.

`model(G, ps, st)` gives the site energies on an [`interaction_graph`](@ref) `G`: see [`site_energies`](@ref).
"""
struct ACERustModel{Kind}
    handle::ModelHandle
    plan::Base.RefValue{Union{Nothing,PlanHandle}}   # for the site level, made when needed
    lock::ReentrantLock
end

const ETACE = ACERustModel{:ace}
const ETPairModel = ACERustModel{:pair}
const ETOneBody = ACERustModel{:onebody}
const MACEModel = ACERustModel{:mace}

function ACERustModel(handle::ModelHandle)
    n = model_n_parts(handle)
    kind = n == 0 ? :mace : n == 1 ? Symbol(model_part_kind(handle, 0)) : :stack
    return ACERustModel{kind}(handle, Ref{Union{Nothing,PlanHandle}}(nothing), ReentrantLock())
end

Base.isopen(model::ACERustModel) = isopen(model.handle)
function Base.close(model::ACERustModel)
    close(model.handle)
    plan = @lock model.lock model.plan[]
    plan === nothing || close(plan)
    return nothing
end

"""
    load_model(path) -> ACERustModel

Reads a model file (`acerust-model/1`), a potential of pacemaker (`.yace`, `.yaml`), or a checkpoint of MACE (`.model`, `.safetensors`), of which
nothing is executed.
"""
load_model(path::AbstractString) = ACERustModel(model_load(binding(), String(path)))

"The model of the text of a model file."
model_from_json(json::AbstractString) = ACERustModel(model_from_json(binding(), String(json)))

"The text of the model file."
model_to_json(model::ACERustModel) = model_to_json(model.handle)

"""
    save_model(path, model)
    save_model(path, calculator)

Writes the model file, of a calculator with its present linear parameters; a file of that name is replaced as a whole or not at all.
Returns `path`.
"""
function save_model(path::AbstractString, model::ACERustModel)
    model_save(model.handle, String(path))
    return path
end

"""
    convert_reference(path) -> ACERustModel
    convert_reference(path, out) -> ACERustModel

The model in a reference file (`acerust-reference/1`), also written to the model file `out`.
"""
convert_reference(path::AbstractString) = ACERustModel(model_from_reference_json(binding(), read(path, String)))
function convert_reference(path::AbstractString, out::AbstractString)
    model = convert_reference(path)
    save_model(out, model)
    return model
end

"""
    onebody_model(E0; name = "onebody") -> ETOneBody

The model `E_i = E0[z_i]`: `E0` maps elements (atomic numbers, symbols or `ChemicalSpecies`) to energies, in eV where they have no
unit; a dictionary, or pairs in the order that the species are to have.

```jldoctest
julia> calc = WrappedSiteCalculator(onebody_model([:Si => -0.846, :O => -1.5]));

julia> silicon = isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :Si => [2.2, 0.0, 0.0]u"Å"]);

julia> AtomsCalculators.potential_energy(silicon, calc)
-1.692 eV
```
"""
function onebody_model(E0; name = "onebody")
    are_pairs(E0) || throw(ArgumentError("one-body energies are pairs of elements and energies, or a dictionary, not a $(typeof(E0))"))
    entries = E0 isa AbstractDict ? sort!([element(z) => e for (z, e) in E0]; by = first) : [element(z) => e for (z, e) in E0]
    return single_part(name, first.(entries), (type = "onebody", E0 = [electronvolt(e) for (_, e) in entries]))
end

"""
    one_body(D, catfun = x -> x.z) -> ETOneBody

One-body energies by category, as ETModels makes them: an atom with state `x` has the energy `D[catfun(x)]`. Here the category is the element:
`catfun` gives the keys of `D` for atoms of these elements. See [`onebody_model`](@ref).
"""
function one_body(D::AbstractDict, catfun = x -> x.z)
    for z in keys(D)
        found = catfun((z = ChemicalSpecies(element(z)),))
        found == z || found == ChemicalSpecies(element(z)) ||
            throw(ArgumentError("the category of $(repr(z)) is $(repr(found)): categories other than elements are not known here"))
    end
    return onebody_model(D)
end

are_pairs(x) = Base.isiterable(typeof(x)) && all(entry -> entry isa Pair, x)

element(z::Integer) = Int(z)
element(z) = applicable(atomic_number, z) ? Int(atomic_number(z)) : throw(ArgumentError("$(repr(z)) is no element: 14, :Si and ChemicalSpecies(:Si) are"))
element(z::Symbol) = Int(atomic_number(ChemicalSpecies(z)))

"A model of one part, as the model file has it."
single_part(name, species, part; source = "") =
    model_from_json(json((format = "acerust-model/1", name, source, species, parts = [part])))

"""
    stack_models(models) -> ACERustModel

The parts of models of the same species, one after another in one model.
"""
function stack_models(models)
    # Model files end with their parts. Quotes inside strings are escaped, so that the key is found where it is.
    texts = String[model_to_json(model) for model in models]
    key = "\"parts\":["
    head = texts[1][1:last(findfirst(key, texts[1]))]
    parts = [chop(t; head = last(findfirst(key, t)), tail = 2) for t in texts]
    return model_from_json(sprint(print, head, join(parts, ','), "]}"))
end

"Atomic numbers of the species, in the order of the blocks of linear parameters."
function species(model::ACERustModel)
    numbers = Vector{Int32}(undef, model_n_species(model.handle))
    model_species!(model.handle, numbers)
    return numbers
end

"The largest cutoff of the parts, Å; 0 where no part has neighbours."
rcut(model::ACERustModel) = model_rcut(model.handle)

"Does the energy of an atom look farther than its neighbours?"
passes_messages(model::ACERustModel) = model isa MACEModel

n_parts(model::ACERustModel) = model_n_parts(model.handle)
n_basis(model::ACERustModel) = model_n_basis(model.handle)

"""
    length_basis(model) -> Int

The number of linear parameters.
"""
length_basis(model::ACERustModel) = model_length_basis(model.handle)

"""
    get_linear_parameters(model) -> Vector{Float64}

The readout weights, eV, species-major within a part, the parts one after another.
"""
function get_linear_parameters(model::ACERustModel)
    θ = Vector{Float64}(undef, length_basis(model))
    model_linear_parameters!(model.handle, θ)
    return θ
end

"""
    model_parts(model) -> Vector{ACERustModel}

The parts of a model, each as a model of its own.
"""
model_parts(model::ACERustModel) = [ACERustModel(model_extract(model.handle, part)) for part in 0:(n_parts(model) - 1)]

"""
    splinify(model, ps = nothing, st = nothing; Nspl) -> model
    splinify(calc; Nspl)

With natural cubic splines through `Nspl` nodes in place of polynomials in the radial functions, as `splinify` of ETModels; by default through
30 nodes for a pair model and 50 for others. A copy of the model with its present parameters, or with those of `ps`; splines stay as they
are. `radial` of [`WrappedSiteCalculator`](@ref) has tables of a known tolerance.
"""
function splinify(model::ACERustModel{Kind}, ps = nothing, st = nothing; Nspl = Kind === :pair ? 30 : 50) where {Kind}
    passes_messages(model) && throw(ArgumentError("a MACE model has no polynomials to splinify"))
    θ = linear(ps)
    return ACERustModel(model_splinify((θ === nothing ? model : with_parameters(model, θ)).handle, whole("Nspl", Nspl; least = 0)))
end

function Base.show(io::IO, model::ACERustModel{Kind}) where {Kind}
    print(io, "ACERustModel{:", Kind, "}(")
    isopen(model) ? show(io, model_name(model.handle)) : print(io, "closed")
    return print(io, ')')
end
function Base.show(io::IO, ::MIME"text/plain", model::ACERustModel)
    return isopen(model) ? print(io, model, '\n', chomp(model_summary(model.handle))) : show(io, model)
end

# ---- plans

"Makes a model ready for a device."
make_plan(model::ACERustModel; nthreads = 0, precision = Float64, radial = :default, device = :cpu) =
    plan_new(model.handle, device_option(device), precision_option(precision), radial_option(radial), nthreads_option(nthreads))

"A copy of a model with other linear parameters."
function with_parameters(model::ACERustModel, θ::AbstractVector)
    plan = make_plan(model)
    plan_set_linear_parameters(plan, convert(Vector{Float64}, θ))
    return ACERustModel(plan_model(plan))
end
