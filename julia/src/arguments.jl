# What callers give, as the library takes it: what it cannot take is one error that names the culprit.

"An integer of the library, from the whole number that a caller gives."
function whole(name, x; least = typemin(Int), most = typemax(Int))
    x isa Real && isinteger(x) && least <= x <= most && return Int(x)
    range = (least, most) == (typemin(Int), typemax(Int)) ? "of 64 bits" : "from $least to $most"
    throw(ArgumentError("$name is $(repr(x)), not a whole number $range"))
end

"Finite numbers of a vector in double precision; `name` is that of one of them."
function reals(name, x::AbstractVector)
    k = findfirst(number -> !(number isa Real && isfinite(number)), x)
    k === nothing && return convert(Vector{Float64}, x)
    throw(ArgumentError("$name $k is " * (x[k] isa Real ? "not finite" : "$(repr(x[k])), not a real number")))
end
reals(name, x) = throw(ArgumentError("a vector with each $name was expected, not a $(typeof(x))"))

"A number without its unit, or as it is where it has none."
in_unit(unit, name, x::Real) = Float64(x)
function in_unit(unit, name, x)
    x isa Unitful.Quantity{<:Real} && Unitful.dimension(x) == Unitful.dimension(unit) && return Float64(ustrip(unit, x))
    throw(ArgumentError("$name is $(repr(x)), not a number, nor one with a unit like $unit"))
end
in_ångström(x) = in_unit(u"Å", "the cutoff", x)
electronvolt(e) = in_unit(u"eV", "an energy", e)

"Throws where there are keywords that nobody takes; `known` says in words what is taken."
expect_none(keywords, known) =
    isempty(keywords) || throw(ArgumentError("there is no keyword $(first(keys(keywords))); $known"))

"Systems in a row, which one alone is not: it is a row of atoms."
function expect_systems(systems)
    systems isa AbstractSystem && throw(ArgumentError("a vector of systems was expected, not one system: [system]"))
    for (k, system) in enumerate(systems)
        system isa AbstractSystem || throw(ArgumentError("system $k is a $(typeof(system)), not a system of AtomsBase"))
    end
end

# ---- settings

nthreads_option(nthreads::Integer) =
    0 <= nthreads <= typemax(Int) ? Int(nthreads) : throw(ArgumentError("nthreads is 0 (all) or more, not $nthreads"))
nthreads_option(nthreads) = throw(ArgumentError("nthreads is a whole number, not $(repr(nthreads))"))

# What the library takes for a tolerance of radial tables.
radial_option(tolerance::Real) =
    0 < tolerance < Inf ? Float64(tolerance) : throw(ArgumentError("the tolerance of radial tables is above 0 and finite, not $tolerance"))
radial_option(radial) =
    radial === :default ? NaN :
    radial === :exact ? 0.0 :
    throw(ArgumentError("radial is :default, :exact or a tolerance, not $(repr(radial))"))

const Precision = Union{DataType,Symbol}
precision_option(precision) =
    precision === Float64 ? 0 :
    precision === Float32 ? 1 :
    precision === :mixed ? 2 :
    precision === :f24_radial ? 3 :
    throw(ArgumentError("precision is Float64, Float32, :mixed or :f24_radial, not $(repr(precision))"))

# −1 for the processor, the index of a CUDA device else.
device_option(index::Integer) =
    index < 0 ? throw(ArgumentError("the index of a CUDA device is 0 or more, not $index")) :
    index > typemax(Int32) ? throw(ArgumentError("there is no CUDA device $index")) : Int(index)
device_option(device) =
    device === :cpu ? -1 :
    device === :cuda ? 0 : throw(ArgumentError("device is :cpu, :cuda or the index of a CUDA device, not $(repr(device))"))

"A device as settings keep it."
kept_device(device) = (index = device_option(device); device isa Symbol ? device : index)

function skin_option(skin)
    width = in_unit(u"Å", "the skin", skin)
    return 0 <= width < Inf ? width : throw(ArgumentError("the skin is 0 or more and finite, not $skin"))
end

head_option(::Nothing) = nothing
function head_option(head)
    head isa AbstractString || throw(ArgumentError("a head is a string, not $(repr(head))"))
    '\0' in head && throw(ArgumentError("a NUL in the head $(repr(head))"))
    return String(head)
end
