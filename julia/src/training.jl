# Training of MACE models: energies, forces and virials as functions of the parameters. Over the C interface, whatever the binding; rules of
# differentiation are in the extension on ChainRulesCore.

"A tensor of a model: its name and shape as the training program has them (row-major), and where its numbers are among all."
struct Parameter
    name::String
    shape::Tuple{Vararg{Int}}
    range::UnitRange{Int}
end

"A training of the library, and what it has been told last."
mutable struct Trainee
    const handle::Address{:training}
    values::Vector{Float64}
    loss_scale::Float64
end

"""
    Training(model; precision = Float64, device = :cpu, nthreads = 0, head = nothing)
    Training(calc; …)

A MACE model whose parameters change: all that the training program trains, by its names, as one vector of numbers. [`ACERust.energy`](@ref),
[`ACERust.forces`](@ref), [`ACERust.virial`](@ref) and, in one pass, [`ACERust.energy_forces_virial`](@ref) of a system are functions of that vector, which
ChainRulesCore's rules differentiate; optimizers are whatever takes a gradient.

```julia
t = Training(load_model("my.model"))
θ = values(t)
loss(θ) = sum(systems) do sys
    (; energy, forces) = ACERust.energy_forces_virial(t, sys, θ)
    abs2(energy - E[sys]) + sum(abs2, forces - F[sys])
end
θ -= 1e-3 * only(Zygote.gradient(loss, θ))
calc = WrappedSiteCalculator(ACERust.model(t, θ))
```

- `precision`: of weights and intermediates, `Float64`, `Float32`, `Float16` or `:bf16`; parameters and results are `Float64`. 16 bits want a
  [`LossScale`](@ref).
- `device`: as of [`WrappedSiteCalculator`](@ref).
- `nthreads`: 0 for all of the machine.
- `head`: as in [`WrappedSiteCalculator`](@ref); a system's own `:head`, `:total_charge` and `:total_spin` count as there.

It runs by the equivariant operations: slower than calculators, and with all intermediates in memory until the gradient is there.
Several tasks may use one training at once, with parameters of their own.
"""
mutable struct Training
    const source::Model
    const precision::Precision
    const device::Union{Symbol,Int}
    const nthreads::Int
    const head::Union{Nothing,String}
    const parameters::Vector{Parameter}
    const lock::ReentrantLock
    const idle::Vector{Trainee}
    values::Vector{Float64}
    loss_scale::Float64
end

function Training(model::ACERustModel; precision = Float64, device = :cpu, nthreads = 0, head = nothing)
    training_option(precision)   # for its error
    source = model.handle isa Model ? model.handle : model_from_json(CCall(), model_to_json(model))
    training = Training(
        source, precision, kept_device(device), nthreads_option(nthreads), head_option(head), Parameter[], ReentrantLock(), Trainee[], Float64[], 1.0
    )
    trainee = new_trainee(training)
    append!(training.parameters, parameters(trainee))
    append!(training.values, trainee.values)
    push!(training.idle, trainee)
    return training
end
function Training(calc::WrappedSiteCalculator; options...)
    (; nthreads, device, head) = calc.settings
    return Training(calc.model; nthreads, device, head, options...)
end

Training(other; options...) =
    throw(ArgumentError("a training is of a MACE model or of a WrappedSiteCalculator of one, not of a $(nameof(typeof(other)))"))

training_option(precision) =
    precision === Float64 ? 0 :
    precision === Float32 ? 1 :
    precision === Float16 ? 16 :
    precision === :bf16 ? 17 : throw(ArgumentError("precision is Float64, Float32, Float16 or :bf16, not $(repr(precision))"))

function new_trainee(t::Training)
    source, precision, nthreads = t.source, training_option(t.precision), t.nthreads
    index = device_option(t.device)
    handle = Address{:training}(out -> @acerust acerust_training_new(
        source::Ptr{Cvoid}, (index >= 0)::Int32, max(index, 0)::Int32, precision::Int32, nthreads::Csize_t, out::Ptr{Ptr{Cvoid}}
    ))
    values = Vector{Float64}(undef, tally(out -> @acerust acerust_training_n_parameters(handle::Ptr{Cvoid}, out::Ptr{Csize_t})))
    @acerust acerust_training_parameters(handle::Ptr{Cvoid}, values::Ptr{Float64}, length(values)::Csize_t)
    return Trainee(handle, values, 1.0)
end

function parameters(trainee::Trainee)
    handle = trainee.handle
    list = JSON.parse(text((b, n, needed) -> @acerust acerust_training_tensors(
        handle::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
    )))
    return [Parameter(p["name"], Tuple(Int.(p["shape"])), range(p["start"] + 1; length = p["length"])) for p in list]
end

"""
    parameters(training) -> Vector{ACERust.Parameter}

The tensors that are trained, in the order of their numbers: each has a `name`, a `shape` as the training program has it, and the `range` of its numbers
among all. `reshape(θ[p.range], reverse(p.shape))` has a row of the training program's as a column.
"""
parameters(t::Training) = copy(t.parameters)

"The numbers of all parameters."
Base.values(t::Training) = copy(t.values)

"""
    set_values!(training, θ) -> training

Replaces the numbers of all parameters; those that are given with a call change nothing.
"""
function set_values!(t::Training, θ::AbstractVector{<:Real})
    with_trainee(_ -> nothing, t, θ)   # the library looks at them
    t.values = collect(Float64, θ)
    return t
end

"""
    set_loss_scale!(training, scale) -> training

Multiplies gradients by a number or by that of a [`LossScale`](@ref) while they are computed, so that those of 16 bits do not vanish; results have it
divided out again.
"""
function set_loss_scale!(t::Training, scale::Real)
    0 < scale < Inf || throw(ArgumentError("a loss scale is finite and above 0, not $scale"))
    t.loss_scale = scale
    return t
end

"Calls `f` with a training of the library that has these parameters, and which nobody else uses meanwhile."
function with_trainee(f, t::Training, θ::AbstractVector{<:Real})
    trainee = @something (@lock t.lock isempty(t.idle) ? nothing : pop!(t.idle)) new_trainee(t)
    handle, scale = trainee.handle, t.loss_scale
    try
        if trainee.values != θ
            values = collect(Float64, θ)
            @acerust acerust_training_set_parameters(handle::Ptr{Cvoid}, values::Ptr{Float64}, length(values)::Csize_t)
            trainee.values = values
        end
        if trainee.loss_scale != scale
            @acerust acerust_training_set_loss_scale(handle::Ptr{Cvoid}, scale::Float64)
            trainee.loss_scale = scale
        end
        return f(trainee)
    finally
        @lock t.lock push!(t.idle, trainee)
    end
end

"""
    model(training, θ = values(training)) -> ACERustModel

The model with these parameters, for a calculator or a file.
"""
model(t::Training, θ::AbstractVector{<:Real} = t.values) = with_trainee(t, θ) do trainee
    handle = trainee.handle
    adopted(Model(out -> @acerust acerust_training_model(handle::Ptr{Cvoid}, out::Ptr{Ptr{Cvoid}})))
end

# Trainings of the library change with their parameters: a copy has its own.
function Base.deepcopy_internal(t::Training, seen::IdDict)
    return get!(seen, t) do
        Training(t.source, t.precision, t.device, t.nthreads, t.head, t.parameters, ReentrantLock(), Trainee[], copy(t.values), t.loss_scale)
    end::Training
end

"Frees what the library keeps for a training; calls after that make it again."
function Base.close(t::Training)
    @lock t.lock foreach(trainee -> close(trainee.handle), splice!(t.idle, eachindex(t.idle)))
    return nothing
end

function Base.show(io::IO, t::Training)
    return print(io, "Training(", repr(model_name(t.source)), ", ", length(t.values), " parameters, ", t.precision, ")")
end

"What a training says of a system: see [`ACERust.evaluate`](@ref)."
struct Evaluation
    energy::Float64
    site_energies::Vector{Float64}
    forces::Matrix{Float64}
    virial::Matrix{Float64}
    n_parameters::Int
    of::Address{:training}
    handle::Address{:evaluation}
end
Base.isopen(run::Evaluation) = isopen(run.handle)
Base.close(run::Evaluation) = close(run.handle)
Base.show(io::IO, run::Evaluation) = print(io, "Evaluation(", length(run.site_energies), " atoms, ", run.energy, " eV)")

"""
    evaluate(training, sys, θ = values(training); keep = true) -> ACERust.Evaluation

What the model says of a system: `energy`, eV; `site_energies` (n_atoms), eV; `forces` (3, n_atoms), eV/Å; `virial` (3, 3), eV. [`ACERust.gradient`](@ref)
differentiates it, if it is to `keep` the intermediates that this takes. They are memory that garbage collection does not see: `close(evaluation)` frees it.
"""
function evaluate(t::Training, sys::AbstractSystem, θ::AbstractVector{<:Real} = t.values; keep::Bool = true)
    s, told = Structure(sys), conditions(sys, t.head)
    n, energy, virial = length(s), [0.0], Matrix{Float64}(undef, 3, 3)
    site_energies, forces = Vector{Float64}(undef, n), Matrix{Float64}(undef, 3, n)
    of, handle = with_trainee(t, θ) do trainee
        training = trainee.handle
        run = under(told...) do conditions
            GC.@preserve s energy site_energies forces virial begin
                input = Ref(structure(C_NULL, s.numbers, pointer(s.positions), s.cell, s.pbc))
                outputs = Ref(Outputs(energy; site_energies, forces, virial))
                kept = Ref{Ptr{Cvoid}}(C_NULL)
                out = keep ? kept : C_NULL
                @acerust acerust_training_evaluate(
                    training::Ptr{Cvoid}, input::Ptr{Input}, conditions::Ptr{Conditions}, outputs::Ptr{Outputs}, out::Ptr{Ptr{Cvoid}}
                )
                Address{:evaluation}(kept[])
            end
        end
        training, run
    end
    return Evaluation(energy[1], site_energies, forces, permutedims(virial), length(t.values), of, handle)   # row by row in memory
end

struct Cotangent   # acerust_cotangent
    size::Csize_t
    energy::Float64
    site_energies::Ptr{Float64}
    forces::Ptr{Float64}
    virial::Ptr{Float64}
end

"""
    gradient(evaluation; energy = 0, site_energies, forces, virial) -> Vector{Float64}
    gradient!(to, evaluation; …) -> to

The gradient of a loss by all parameters, which `gradient!` adds to `to`, at the parameters of the evaluation. The keywords are the derivatives of the loss
by the results of these names, in their shapes.
"""
gradient(run::Evaluation; cotangents...) = gradient!(zeros(run.n_parameters), run; cotangents...)

"See [`ACERust.gradient`](@ref)."
function gradient!(
    to::Vector{Float64}, run::Evaluation; energy::Real = 0, site_energies = nothing, forces = nothing, virial = nothing
)
    a, f = numbers_like(run.site_energies, site_energies, :site_energies), numbers_like(run.forces, forces, :forces)
    v = numbers_like(run.virial, virial, :virial)
    v = isempty(v) ? v : permutedims(v)   # row by row
    place(x) = isempty(x) ? Ptr{Float64}(C_NULL) : pointer(x)
    training, handle = run.of, run.handle
    GC.@preserve a f v begin
        cotangent = Ref(Cotangent(sizeof(Cotangent), energy, place(a), place(f), place(v)))
        @acerust acerust_training_gradient(
            training::Ptr{Cvoid}, handle::Ptr{Cvoid}, cotangent::Ptr{Cotangent}, to::Ptr{Float64}, length(to)::Csize_t
        )
    end
    return to
end

"A cotangent as numbers in the shape of the result; none where there is none."
numbers_like(result, ::Nothing, name) = Float64[]
function numbers_like(result, cotangent, name)
    cotangent isa AbstractArray && all(x -> x isa Real, cotangent) ||
        throw(ArgumentError("the cotangent of $name is a $(typeof(cotangent)), not an array of real numbers"))
    size(cotangent) == size(result) ||
        throw(DimensionMismatch("the cotangent of $name has the size $(size(cotangent)), not $(size(result))"))
    return collect(Float64, cotangent)
end

"""
    energy_forces_virial(training, sys, θ) -> (; energy, forces, virial)

Energy, eV, forces (3, n_atoms), eV/Å, and virial (3, 3), eV, in one pass, at the parameters `θ`. With ChainRulesCore it can be differentiated with
respect to `θ`, as can `energy`, `forces` and `virial` of the same arguments.
"""
energy_forces_virial(t::Training, sys::AbstractSystem, θ::AbstractVector{<:Real} = t.values) =
    results(evaluate(t, sys, θ; keep = false))
results(run::Evaluation) = (; run.energy, run.forces, run.virial)

for name in (:energy, :forces, :virial)
    @eval $name(t::Training, sys::AbstractSystem, θ::AbstractVector{<:Real} = t.values) =
        evaluate(t, sys, θ; keep = false).$name
end

"""
    LossScale()

The scale of a loss for training in 16 bits, found by trying: halved where a number overflows, doubled where none has for a while.

```julia
scale = LossScale()
for _ in 1:1000
    g = ACERust.accept!(() -> only(Zygote.gradient(loss, θ)), scale, t)
    g === nothing || (θ -= 1e-3 * g)
end
```
"""
mutable struct LossScale
    scale::Float64
    steps::UInt32
end
LossScale() = adapt!(LossScale(0.0, 0), true)   # the library's first one

set_loss_scale!(t::Training, scale::LossScale) = set_loss_scale!(t, scale.scale)

"""
    accept!(step, scale::LossScale, training)

What `step()` returns with the scale in the training, or `nothing` where a number overflowed: such a step is to be skipped. Adapts the scale.
"""
function accept!(step, scale::LossScale, t::Training)
    set_loss_scale!(t, scale)
    found = try
        Some(step())
    catch error
        error isa ACERustError && error.status == NOT_FINITE || rethrow()
        nothing
    end
    adapt!(scale, found !== nothing)
    return something(found, Some(nothing))
end

const NOT_FINITE = Int32(10)   # ACERUST_ERROR_NOT_FINITE

function adapt!(scale::LossScale, finite::Bool)
    now, steps = Ref(scale.scale), Ref(scale.steps)
    @acerust acerust_loss_scale(now::Ptr{Float64}, steps::Ptr{UInt32}, finite::Int32)
    scale.scale, scale.steps = now[], steps[]
    return scale
end
