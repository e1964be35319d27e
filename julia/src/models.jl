# Models: validated, never changing; and plans, models made ready for the processor.

"""
    ACERustModel{Kind}

A model of the library: `Kind` is `:onebody`, `:pair` or `:ace` for a model of that one part, `:stack` for all others. Made by
[`load_model`](@ref), [`convert_reference`](@ref) and the conversions from ACEpotentials. It never changes; `close(model)` frees it at
once, else it is freed as garbage.

`model(G, ps, st)` gives the site energies on an [`interaction_graph`](@ref) `G`: see [`site_energies`](@ref).
"""
struct ACERustModel{Kind}
    handle::Handle{:model}
    plan::Base.RefValue{Union{Nothing,Handle{:plan}}}   # for the site level, made when needed
    lock::ReentrantLock
end

const ETACE = ACERustModel{:ace}
const ETPairModel = ACERustModel{:pair}
const ETOneBody = ACERustModel{:onebody}

function ACERustModel(handle::Handle{:model})
    n_parts = tally(out -> @acerust acerust_model_n_parts(handle::Ptr{Cvoid}, out::Ptr{Csize_t}))
    kind = n_parts == 1 ? Symbol(part_kind(handle, 1)) : :stack
    return ACERustModel{kind}(handle, Ref{Union{Nothing,Handle{:plan}}}(nothing), ReentrantLock())
end

Base.unsafe_convert(::Type{Ptr{Cvoid}}, model::ACERustModel) = Base.unsafe_convert(Ptr{Cvoid}, model.handle)
Base.cconvert(::Type{Ptr{Cvoid}}, model::ACERustModel) = model.handle
Base.isopen(model::ACERustModel) = isopen(model.handle)
function Base.close(model::ACERustModel)
    close(model.handle)
    @lock model.lock (model.plan[] === nothing || close(model.plan[]))
    return nothing
end

function part_kind(handle, part)
    return text((b, n, needed) -> @acerust acerust_model_part_kind(
        handle::Ptr{Cvoid}, (part - 1)::Csize_t, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
    ))
end

"""
    load_model(path) -> ACERustModel

Reads a model file (`acerust-model/1`).
"""
load_model(path::AbstractString) =
    ACERustModel(Handle{:model}(out -> @acerust acerust_model_load(path::Cstring, out::Ptr{Ptr{Cvoid}})))

"The model of the text of a model file."
model_from_json(json::AbstractString) = ACERustModel(
    Handle{:model}(out -> @acerust acerust_model_from_json(json::Cstring, sizeof(json)::Csize_t, out::Ptr{Ptr{Cvoid}})),
)

"The text of the model file."
model_to_json(model::ACERustModel) = text((b, n, needed) -> @acerust acerust_model_to_json(
    model::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
))

"""
    save_model(path, model)
    save_model(path, calculator)

Writes the model file, of a calculator with its present linear parameters; a file of that name is replaced as a whole or not at all.
Returns `path`.
"""
function save_model(path::AbstractString, model::ACERustModel)
    @acerust acerust_model_save(model::Ptr{Cvoid}, path::Cstring)
    return path
end

"""
    convert_reference(path) -> ACERustModel
    convert_reference(path, out) -> ACERustModel

The model in a reference file (`acerust-reference/1`), also written to the model file `out`.
"""
function convert_reference(path::AbstractString)
    json = read(path, String)
    return ACERustModel(Handle{:model}(out -> @acerust acerust_model_from_reference_json(
        json::Cstring, sizeof(json)::Csize_t, out::Ptr{Ptr{Cvoid}}
    )))
end
function convert_reference(path::AbstractString, out::AbstractString)
    model = convert_reference(path)
    save_model(out, model)
    return model
end

"""
    onebody_model(E0; name = "onebody") -> ETOneBody

The model `E_i = E0[z_i]`: `E0` maps elements (atomic numbers, symbols or `ChemicalSpecies`) to energies, in eV where they have no
unit; a dictionary, or pairs in the order that the species are to have.
"""
function onebody_model(E0; name = "onebody")
    entries = E0 isa AbstractDict ? sort!([element(z) => e for (z, e) in E0]; by = first) : [element(z) => e for (z, e) in E0]
    return single_part(name, first.(entries), (type = "onebody", E0 = [electronvolt(e) for (_, e) in entries]))
end

element(z::Integer) = Int(z)
element(z) = Int(atomic_number(z))
element(z::Symbol) = Int(atomic_number(ChemicalSpecies(z)))
electronvolt(e::Real) = Float64(e)
electronvolt(e) = Float64(ustrip(u"eV", e))

"A model of one part, as the model file has it."
single_part(name, species, part; source = "") =
    model_from_json(json((format = "acerust-model/1", name, source, species, parts = [part])))

"""
    stack_models(models) -> ACERustModel

The parts of models of the same species, one after another in one model.
"""
function stack_models(models)
    # Model files end with their parts. Quotes inside strings are escaped, so that the key is found where it is.
    texts = model_to_json.(models)
    key = "\"parts\":["
    head = texts[1][1:last(findfirst(key, texts[1]))]
    parts = [chop(t; head = last(findfirst(key, t)), tail = 2) for t in texts]
    return model_from_json(head * join(parts, ',') * "]}")
end

"Atomic numbers of the species, in the order of the blocks of linear parameters."
function species(model::ACERustModel)
    n = tally(out -> @acerust acerust_model_n_species(model::Ptr{Cvoid}, out::Ptr{Csize_t}))
    numbers = Vector{Int32}(undef, n)
    @acerust acerust_model_species(model::Ptr{Cvoid}, numbers::Ptr{Int32}, n::Csize_t)
    return numbers
end

"The largest cutoff of the parts, Å; 0 where no part has neighbours."
rcut(model::ACERustModel) = number(out -> @acerust(acerust_model_rcut(model::Ptr{Cvoid}, out::Ptr{Float64})), Float64)

n_parts(model::ACERustModel) = tally(out -> @acerust acerust_model_n_parts(model::Ptr{Cvoid}, out::Ptr{Csize_t}))
n_basis(model::ACERustModel) = tally(out -> @acerust acerust_model_n_basis(model::Ptr{Cvoid}, out::Ptr{Csize_t}))

"""
    length_basis(model) -> Int

The number of linear parameters.
"""
length_basis(model::ACERustModel) = tally(out -> @acerust acerust_model_length_basis(model::Ptr{Cvoid}, out::Ptr{Csize_t}))

"""
    get_linear_parameters(model) -> Vector{Float64}

The readout weights, eV, species-major within a part, the parts one after another.
"""
function get_linear_parameters(model::ACERustModel)
    θ = Vector{Float64}(undef, length_basis(model))
    @acerust acerust_model_linear_parameters(model::Ptr{Cvoid}, θ::Ptr{Float64}, length(θ)::Csize_t)
    return θ
end

"""
    model_parts(model) -> Vector{ACERustModel}

The parts of a model, each as a model of its own.
"""
model_parts(model::ACERustModel) = [extract(model, part) for part in 1:n_parts(model)]

extract(model, part) = ACERustModel(Handle{:model}(out -> @acerust acerust_model_extract(
    model::Ptr{Cvoid}, Csize_t[part - 1]::Ptr{Csize_t}, 1::Csize_t, out::Ptr{Ptr{Cvoid}}
)))

summary_text(model::ACERustModel) = text((b, n, needed) -> @acerust acerust_model_summary(
    model::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
))
model_name(model::ACERustModel) = text((b, n, needed) -> @acerust acerust_model_name(
    model::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
))

function Base.show(io::IO, model::ACERustModel{Kind}) where {Kind}
    print(io, "ACERustModel{:", Kind, "}(")
    isopen(model) ? show(io, model_name(model)) : print(io, "closed")
    return print(io, ')')
end
function Base.show(io::IO, ::MIME"text/plain", model::ACERustModel)
    return isopen(model) ? print(io, model, '\n', chomp(summary_text(model))) : show(io, model)
end

# ---- plans

struct Options   # acerust_options
    size::Csize_t
    n_threads::Csize_t
    tolerance::Float64
    radial::Int32
    instruction_set::Int32
end

# ACERUST_RADIAL_…
radial_option(radial::Symbol) =
    radial === :default ? (Int32(0), 0.0) :
    radial === :exact ? (Int32(1), 0.0) :
    throw(ArgumentError("radial is :default, :exact or a tolerance, not $(repr(radial))"))
radial_option(tolerance::Real) = (Int32(2), Float64(tolerance))

precision_option(::Type{Float64}) = Int32(0)
precision_option(::Type{Float32}) = Int32(1)
precision_option(T) = throw(ArgumentError("precision is Float64 or Float32, not $T"))

"Makes a model ready for the processor."
function make_plan(model::ACERustModel; nthreads = 0, precision = Float64, radial = :default)
    kind, tolerance = radial_option(radial)
    options = Ref(Options(sizeof(Options), nthreads, tolerance, kind, 0))
    return Handle{:plan}(out -> @acerust acerust_plan_new(
        model::Ptr{Cvoid}, 0::Int32, 0::Int32, precision_option(precision)::Int32, options::Ptr{Options}, out::Ptr{Ptr{Cvoid}}
    ))
end

set_parameters!(plan::Handle{:plan}, θ::Vector{Float64}) =
    @acerust acerust_plan_set_linear_parameters(plan::Ptr{Cvoid}, θ::Ptr{Float64}, length(θ)::Csize_t)

# A column of (n_params, n_members) is a row of the library's matrix.
set_members!(plan::Handle{:plan}, θs::Matrix{Float64}) =
    @acerust acerust_plan_set_committee(plan::Ptr{Cvoid}, θs::Ptr{Float64}, length(θs)::Csize_t, size(θs, 2)::Csize_t)

plan_model(plan::Handle{:plan}) =
    ACERustModel(Handle{:model}(out -> @acerust acerust_plan_model(plan::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})))

"A copy of a model with other linear parameters."
function with_parameters(model::ACERustModel, θ::AbstractVector)
    plan = make_plan(model)
    set_parameters!(plan, convert(Vector{Float64}, θ))
    return plan_model(plan)
end
