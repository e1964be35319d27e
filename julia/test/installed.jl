# What works without any file: the package and the library that it finds.
using ACERust, AtomsBase, AtomsCalculators, LinearAlgebra, StaticArrays, Test, Unitful
using AtomsCalculators.Testing: test_energy_forces_virial

@testset "the package by itself" begin
    model = ACERust.smallest_model()
    sys = periodic_system([:Si => [0.0, 0.0, 0.0]u"Å", :Si => [1.4, 1.3, 1.4]u"Å"],
                          ([0.0, 2.7, 2.7]u"Å", [2.7, 0.0, 2.7]u"Å", [2.7, 2.7, 0.0]u"Å"))
    single, stack = WrappedSiteCalculator(model), StackedCalculator(model)
    foreach(calc -> test_energy_forces_virial(sys, calc), (single, stack, deepcopy(stack)))
    E(calc) = AtomsCalculators.potential_energy(sys, calc)
    @test E(single) ≈ E(stack) && !(E(stack) ≈ E(stack.calcs[1]))
    rows, θ = energy_forces_virial_basis(sys, stack), get_linear_parameters(stack)
    @test dot(rows.energy, θ) + E(stack.calcs[1]) ≈ E(stack)
    mktempdir(dir -> @test E(WrappedSiteCalculator(load_model(save_model(joinpath(dir, "model.json"), stack)))) ≈ E(stack))
    op = ACERust.Ops.Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e")
    @test op([1.0, 2.0], [5.0, 6.0]) ≈ [17 / sqrt(2);;]
    @test ACERust.workload() === nothing
end
