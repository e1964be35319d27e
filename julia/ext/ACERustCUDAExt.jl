# Arrays in the memory of a CUDA device, without copies.
module ACERustCUDAExt

using ACERust: ACERust, Ops, WrappedSiteCalculator, box, int32, list_device_energy_forces_virial!, plan, with_device_list
using AtomsBase: AbstractSystem, atomic_number
using CUDA: CUDA, AnyCuArray, CuArray, CuMatrix
using StaticArrays: SMatrix
using Unitful: @u_str

function ACERust.device_energy_forces_virial!(
    forces::CuMatrix{Float64}, positions::CuMatrix{Float64}, sys::AbstractSystem, calc::WrappedSiteCalculator;
    precision = calc.settings.precision
)
    numbers, (cell, pbc) = int32(atomic_number(sys, :)), box(sys)
    size(forces) == size(positions) == (3, length(numbers)) || throw(
        DimensionMismatch("forces of $(size(forces)) and positions of $(size(positions)) for $(length(numbers)) atoms, not (3, $(length(numbers)))"),
    )
    V, handle = zeros(3, 3), plan(calc; precision)
    address(x) = reinterpret(UInt, pointer(x))
    E = GC.@preserve forces positions with_device_list(calc, handle, precision) do list
        stream = reinterpret(UInt, CUDA.stream().handle)
        list_device_energy_forces_virial!(list, handle, numbers, cell, pbc, address(positions), address(forces), stream, V)
    end
    return (energy = E * u"eV", virial = SMatrix{3,3,Float64,9}(V)' * u"eV")   # row by row in memory
end

# ---- operations

Ops.on_device(::AnyCuArray) = true
Ops.dense(::Type{T}, ::Val{true}, x::CuArray{T}) where {T} = x
Ops.dense(::Type{T}, ::Val{true}, x::AbstractArray) where {T} = CuArray{T}(x)
Ops.room(::Type{T}, ::Val{true}, size) where {T} = CuArray{T}(undef, size)
# The task's stream, which has done all that CUDA.jl knows of by then: to take an array's address waits for other streams that use it.
function Ops.stream(::Val{true}, device)
    own = CUDA.deviceid(CUDA.device())
    own == device || throw(ArgumentError("the operation is for CUDA device $device, and this task works on device $own"))
    return Ptr{Cvoid}(reinterpret(UInt, CUDA.stream().handle))
end

end
