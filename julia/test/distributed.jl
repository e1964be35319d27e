# Design rows from other processes.
include("common.jl")
using Distributed

@testset "two workers" begin
    truth = StackedCalculator(sio_o2())
    data = ACERust.atoms_data(labelled(truth), truth)
    own = [ACERust.AtomsData(d.system; energy = 1.0, reference = truth.calcs[1]) for d in data]
    here = ACERust.assemble(data, truth), ACERust.assemble(own, truth; nthreads = 2)
    processes = addprocs(2; exeflags = ["--project=$(Base.active_project())", "--startup-file=no", "-O1"])
    try
        @everywhere processes using ACERust, AtomsBase, Unitful
        there = ACERust.assemble(data, truth), ACERust.assemble(own, truth)
        @test there == here
        @test remotecall_fetch(calc -> AtomsCalculators.potential_energy(data[1].system, calc), processes[1], truth) ==
            AtomsCalculators.potential_energy(data[1].system, truth)
        set_linear_parameters!(truth, 2 * get_linear_parameters(truth))
        @test remotecall_fetch(get_linear_parameters, processes[2], truth) == get_linear_parameters(truth)
        @test_throws "atom 0 is H" ACERust.assemble([ACERust.AtomsData(isolated_system([:H => zeros(3)u"Å"]); energy = 0.0)], truth)
    finally
        rmprocs(processes)
    end
end
