# Design rows from other processes, over each binding, and over one here and another there.
include("common.jl")
using Distributed

@testset "two workers" begin
    truth = StackedCalculator(sio_o2())
    data = ACERust.atoms_data(labelled(truth), truth)
    referred(calc) = [ACERust.AtomsData(d.system; energy = 1.0, reference = calc.calcs[1]) for d in data]
    here = ACERust.assemble(data, truth), ACERust.assemble(referred(truth), truth; nthreads = 2)
    processes = addprocs(2; exeflags = ["--project=$(Base.active_project())", "--startup-file=no", "-O1"])
    present, names = ACERust.PRESENT[], sort!(collect(keys(ACERust.BINDINGS)))
    try
        @test_throws "has not loaded ACERust: @everywhere using ACERust" ACERust.assemble(data, truth)
        @everywhere processes begin
            using ACERust, AtomsBase, Unitful
            if $(:jlrs in names)
                import JlrsCore
            end
            const FOUND = copy(ACERust.BINDINGS)
            use_only(name) = (empty!(ACERust.BINDINGS)[name] = FOUND[name]; ACERust.PRESENT[] = name)
        end
        @testset "$one here, $other there" for one in names, other in names
            ACERust.PRESENT[] = one
            @everywhere processes use_only($(QuoteNode(other)))
            calc = StackedCalculator(sio_o2())
            there = ACERust.assemble(data, calc), ACERust.assemble(referred(calc), calc)
            @test there == here
            @test remotecall_fetch(AtomsCalculators.potential_energy, processes[1], data[1].system, calc) ==
                AtomsCalculators.potential_energy(data[1].system, calc)
            set_linear_parameters!(calc, 2 * get_linear_parameters(calc))
            @test remotecall_fetch(get_linear_parameters, processes[2], calc) == get_linear_parameters(calc)
            @test_throws "atom 1 is H" ACERust.assemble([ACERust.AtomsData(isolated_system([:H => zeros(3)u"Å"]); energy = 0.0)], calc)
        end
    finally
        ACERust.PRESENT[] = present
        rmprocs(processes)
    end
end
