# Arrays in the memory of a CUDA device, without copies.
module ACERustCUDAExt

using ACERust: ACERust, Structure, WrappedSiteCalculator, list_device_energy_forces_virial!, plan, with_device_list
using AtomsBase: AbstractSystem
using CUDA: CUDA, CuMatrix
using StaticArrays: SMatrix
using Unitful: @u_str

function ACERust.device_energy_forces_virial!(
    forces::CuMatrix{Float64}, positions::CuMatrix{Float64}, sys::AbstractSystem, calc::WrappedSiteCalculator; options...
)
    s = Structure(sys)
    size(forces) == size(positions) == (3, length(s)) || throw(
        DimensionMismatch("forces of $(size(forces)) and positions of $(size(positions)) for $(length(s)) atoms, not (3, $(length(s)))"),
    )
    V, handle = zeros(3, 3), plan(calc; options...)
    address(x) = reinterpret(UInt, pointer(x))
    E = GC.@preserve forces positions with_device_list(calc, handle; options...) do list
        stream = reinterpret(UInt, CUDA.stream().handle)
        list_device_energy_forces_virial!(list, handle, s.numbers, s.cell, s.pbc, address(positions), address(forces), stream, V)
    end
    return (energy = E * u"eV", virial = SMatrix{3,3,Float64,9}(V)' * u"eV")   # row by row in memory
end

end
