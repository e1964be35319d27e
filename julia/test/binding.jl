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
