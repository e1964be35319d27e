# The one door to the C interface: calls with status and message, and handles that are freed once.

"""
An error of the library: `status` is one of `ACERUST_ERROR_…` of `acerust.h`, `message` names the culprit. Atoms count from 0 in it.
"""
struct ACERustError <: Exception
    status::Int32
    message::String
end

const KINDS = ("file", "model", "structure", "graph", "argument", "device", "handle", "internal")

function Base.showerror(io::IO, error::ACERustError)
    kind = get(KINDS, error.status, "unknown")
    return print(io, "ACERust ($kind error): ", error.message)
end

"Throws what the library said last in this thread, unless `status` is 0."
function check(status::Int32)
    status == 0 && return nothing
    f = Libdl.dlsym(library(), :acerust_last_error)
    bytes = Vector{UInt8}(undef, @ccall $f(C_NULL::Ptr{UInt8}, 0::Csize_t)::Csize_t)
    @ccall $f(bytes::Ptr{UInt8}, length(bytes)::Csize_t)::Csize_t
    throw(ACERustError(status, String(bytes[1:(end - 1)])))
end

"""
    @acerust f(x::T, …)

Calls the library's `f` and throws where it does not return 0. Other threads may collect garbage meanwhile where Julia allows it
(1.12 and later). The message belongs to the thread, so that no task switch may come between call and `check`; there is none.
"""
macro acerust(call)
    name, f = QuoteNode(call.args[1]), gensym(call.args[1])
    signature = Expr(:(::), Expr(:call, Expr(:$, f), call.args[2:end]...), :Int32)
    options = VERSION >= v"1.12" ? [:(gc_safe = true)] : []
    invocation = Expr(:macrocall, Symbol("@ccall"), __source__, options..., signature)
    return esc(:(
        let $f = Libdl.dlsym(library(), $name)
            check($invocation)
        end
    ))
end

"A handle of the library; `Kind` is `:model`, `:plan` or `:graph`. Freed by `close` or when it is garbage."
mutable struct Handle{Kind}
    @atomic address::Ptr{Cvoid}
    function Handle{Kind}(address::Ptr{Cvoid}) where {Kind}
        return finalizer(close, new{Kind}(address))
    end
end

Base.isopen(handle::Handle) = (@atomic handle.address) != C_NULL

function Base.close(handle::Handle{Kind}) where {Kind}
    address = @atomicswap handle.address = C_NULL
    address == C_NULL && return nothing
    f = Libdl.dlsym(library(), Symbol(:acerust_, Kind, :_free))
    @ccall $f(address::Ptr{Cvoid})::Int32
    return nothing
end

# `ccall` keeps what `cconvert` returns alive until it is over.
Base.cconvert(::Type{Ptr{Cvoid}}, handle::Handle) = handle
function Base.unsafe_convert(::Type{Ptr{Cvoid}}, handle::Handle{Kind}) where {Kind}
    address = @atomic handle.address
    address == C_NULL && throw(ArgumentError("this $Kind has been closed"))
    return address
end

"The handle that `make(out)` writes to `out`."
function Handle{Kind}(make::Function) where {Kind}
    out = Ref{Ptr{Cvoid}}(C_NULL)
    make(out)
    return Handle{Kind}(out[])
end

"The text that `get(buffer, length, needed)` writes."
function text(get::Function)
    needed = Ref{Csize_t}(0)
    get(C_NULL, 0, needed)
    bytes = Vector{UInt8}(undef, needed[])
    get(bytes, length(bytes), needed)
    return String(bytes[1:(end - 1)])
end

"The number that `get(out)` writes."
function number(get::Function, ::Type{T}) where {T}
    out = Ref{T}(zero(T))
    get(out)
    return out[]
end
tally(get::Function) = Int(number(get, Csize_t))

"Where a wanted result goes; null where it is not wanted."
wanted(result) = result
wanted(::Nothing) = C_NULL
numbers_in(result::AbstractArray{Float64}) = length(result)
numbers_in(result::AbstractArray{<:SVector{3}}) = 3 * length(result)
numbers_in(result::AbstractArray{<:SMatrix{3,3}}) = 9 * length(result)
numbers_in(::Nothing) = 0
