# What a binding has to keep, whichever it is.
include("common.jl")

@testset "garbage is collected during long calls" begin
    if Threads.nthreads() == 1 || (ACERust.PRESENT[] == :ccall && VERSION < v"1.12")
        println("SKIPPED: garbage collection during long calls, which needs two threads and, with ccall, Julia 1.12")
    else
        # One call that is as long as the committee is large.
        calc, sys = WrappedSiteCalculator(sio_o2()), silica()
        θ = get_linear_parameters(calc)
        work() = @elapsed committee_energies(sys, calc; nthreads = 1)
        members = 500
        set_committee!(calc, repeat(θ, 1, members))
        work()
        GC.gc()
        pause = @elapsed GC.gc()
        while members < 200_000 && work() < 6 * pause + 0.2
            members *= 2
            set_committee!(calc, repeat(θ, 1, members))
        end
        started, taken = Threads.Atomic{Bool}(false), Ref(0.0)
        task = Threads.@spawn begin
            started[] = true
            taken[] = work()
        end
        while !started[]
            GC.safepoint()   # and no yield, so that the task runs on the other thread
        end
        pauses = Float64[]
        while !istaskdone(task)
            push!(pauses, @elapsed GC.gc())
            Libc.systemsleep(1e-3)   # else the other thread, back from the call, may wait for one collection after the other
        end
        wait(task)
        # A collection that had to wait for the call would take about as long.
        @test length(pauses) >= 3 && maximum(pauses) < 0.6 * taken[]
    end
end

@testset "handles" begin
    model = sio_o2()
    handle = ACERust.make_plan(model)
    graph = interaction_graph(silica(), 5.5).handle
    F, V = zeros(3, 4), zeros(3, 3)
    E = ACERust.energy_forces_virial!(handle, graph, F, V)
    @test isfinite(E) && !iszero(F) && ACERust.energy_forces_virial!(handle, graph, ACERust.NO_MATRIX, ACERust.NO_MATRIX) ≈ E
    @test_throws "forces: expected a length of 12, got 9" ACERust.energy_forces_virial!(handle, graph, zeros(3, 3), V)
    GC.@preserve F begin
        part = unsafe_wrap(Array, pointer(F), (3, 3))
        @test_throws "virial overlaps forces in memory" ACERust.energy_forces_virial!(handle, graph, F, part)
    end
    @test_throws "n_threads: 5000 is more than" ACERust.plan_set_threads(handle, 5000)
    @test_throws "part 7" ACERust.model_extract(model.handle, 7)
    for h in (graph, handle, model.handle)
        @test isopen(h)
        close(h)
        close(h)
        @test !isopen(h)
    end
    @test_throws "this plan has been closed" ACERust.energy_forces_virial!(handle, graph, F, V)
    @test_throws "this graph has been closed" ACERust.graph_n_edges(graph)
end

@testset "lists" begin
    handle = ACERust.make_plan(sio_o2())
    list = ACERust.list_new(handle, 0.5)
    for k in 0:3
        s = ACERust.Structure(silica(; scale = 1 + 0.005k))
        F, V, F2, V2 = zeros(3, 4), zeros(3, 3), zeros(3, 4), zeros(3, 3)
        E = ACERust.list_energy_forces_virial!(list, handle, ACERust.atoms(s)..., F, V)
        graph = ACERust.build_graph(s, 5.5, 0.0, 1)
        @test E ≈ ACERust.energy_forces_virial!(handle, graph, F2, V2)
        @test difference(F, F2) < 1e-11 && difference(V, V2) < 1e-11
    end
    s = ACERust.Structure(silica())
    at(plan) = ACERust.list_device_energy_forces_virial!(list, plan, s.numbers, s.cell, s.pbc, UInt(0), UInt(0), UInt(0), zeros(0, 0))
    @test_throws "CUDA" at(handle)
    close(list)
    @test !isopen(list)
    @test_throws "this list has been closed" at(handle)
end

@testset "devices" begin
    model, sys = sio_o2(), silica()
    calc = WrappedSiteCalculator(model; device = :cuda)
    E, F = AtomsCalculators.energy_forces(sys, WrappedSiteCalculator(model))
    found = try
        AtomsCalculators.energy_forces(sys, calc)
    catch error
        error
    end
    if found isa Exception   # no such device, said in a sentence; the processor goes on
        @test found isa ACERust.ACERustError && found.status == 6 && occursin("CUDA", found.message)
        @test_throws ACERust.ACERustError AtomsCalculators.energy_forces(sys, deepcopy(StackedCalculator((calc,))))
    else
        @test found.energy ≈ E rtol = 1e-10
        @test difference(bare.(found.forces), bare.(F)) < 1e-9
    end
    @test AtomsCalculators.energy_forces(sys, WrappedSiteCalculator(model)).energy ≈ E
    @test_throws "device is :cpu, :cuda or" WrappedSiteCalculator(model; device = :tpu)
    @test_throws "0 or more" WrappedSiteCalculator(model; device = -1)
end

if Sys.islinux()
    resident() = parse(Int, split(read("/proc/self/statm", String))[2]) * 4096

    @testset "memory comes back: $how" for how in ("close", "garbage")
        model = sio_o2()
        members = repeat(get_linear_parameters(model), 1, 400)
        function round(n)
            for _ in 1:n
                handle = ACERust.make_plan(model; radial = :exact)
                ACERust.plan_set_committee(handle, members)
                how == "close" && close(handle)
            end
            how == "garbage" && GC.gc()
        end
        round(20)
        before = resident()
        foreach(_ -> round(20), 1:10)
        @test resident() - before < 32 << 20
    end
end
