# What the extension takes of CUDA.jl, with arrays in the memory of the host: its code runs where there is no device.
module CUDA

struct CuArray{T,N} <: DenseArray{T,N}
    held::Array{T,N}
    CuArray{T,N}(held::Array{T,N}) where {T,N} = new(held)
end
const CuMatrix{T} = CuArray{T,2}
const AnyCuArray{T,N} = Union{CuArray{T,N},SubArray{T,N,<:CuArray}}
CuArray{T}(::UndefInitializer, size::Dims{N}) where {T,N} = CuArray{T,N}(Array{T,N}(undef, size))
CuArray{T}(x::AbstractArray{<:Any,N}) where {T,N} = CuArray{T,N}(Array{T,N}(collect(x)))
CuArray(x::AbstractArray) = CuArray{eltype(x)}(x)

Base.size(x::CuArray) = size(x.held)
Base.getindex(x::CuArray, k::Int...) = x.held[k...]
Base.pointer(x::CuArray) = pointer(x.held)
Base.Array(x::CuArray) = copy(x.held)

device() = 0
deviceid(device) = device
stream() = (handle = C_NULL,)

end
