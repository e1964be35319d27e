# Calculators on a CUDA device, against the processor, over every binding: julia --project=… test/gpu.jl, or with the other tests where
# ACERUST_GPU=1 says that there is a device. Arrays of CUDA.jl where it is in the environment.
include("common.jl")
using Serialization

const LEVELS = ((Float64, 1e-10), (Float32, 2e-5), (:mixed, 2e-5))

"Keeps the largest difference of each kind of result, and tests it."
struct Comparison
    tolerance::Float64
    worst::Dict{String,Float64}
end
function (c::Comparison)(what, found, expected)
    δ = found isa Number ? abs(found - expected) / abs(expected) : difference(found, expected)
    c.worst[what] = max(get(c.worst, what, 0.0), δ)
    @test δ <= c.tolerance
end

efv(sys, calc; options...) = map(bare, AtomsCalculators.energy_forces_virial(sys, calc; options...))

"Two parts, so that a stack has something to fuse; a crystal with atoms off their places; nothing periodic; one direction periodic."
function structures()
    crystal = supercell(silica(), 4)
    wire = FlexibleSystem(collect(supercell(silica(), 2)); cell_vectors = cell_vectors(supercell(silica(), 2)), periodicity = (false, true, false))
    return (silica(), crystal, molecule(), wire)
end

function compare_calculators(check, model, sys, cpu, gpu)
    expected = efv(sys, cpu)
    for found in (efv(sys, gpu), efv(FastSystem(sys), gpu), efv(sys, StackedCalculator(model; device = :cuda, gpu.settings.precision)))
        foreach(k -> check(String(k), found[k], expected[k]), keys(expected))
    end
    check("energy alone", bare(AtomsCalculators.potential_energy(sys, gpu)), expected.energy)
    check("forces alone", bare.(AtomsCalculators.forces(sys, gpu)), expected.forces)
    check("virial alone", bare(AtomsCalculators.virial(sys, gpu)), expected.virial)
    bits = efv(sys, gpu)
    @test efv(sys, gpu) == bits && efv(sys, gpu; nthreads = 1) == bits
end

function compare_sites(check, model, sys, gpu)
    G = interaction_graph(sys, 5.5)
    check("site energies", site_energies(gpu, G), site_energies(model, G))
    check("site gradients", site_grads(gpu, G), site_grads(model, G))
    B, J = site_basis_jacobian(model, G)
    found = site_basis_jacobian(gpu, G)
    check("site basis", site_basis(gpu, G), B)
    check("site basis", first(found), B)
    check("Jacobian", last(found), J)
    θ = 2 * get_linear_parameters(model)
    check("site energies", site_energies(gpu, G, (linear = θ,)), site_energies(model, G, (linear = θ,)))
end

function compare_fitting(check, cpu, gpu)
    sys = silica()
    expected, found = map(c -> map(x -> bare.(x), energy_forces_virial_basis(sys, c)), (cpu, gpu))
    foreach(k -> check("design rows", found[k], expected[k]), keys(expected))
    check("design rows", bare.(potential_energy_basis(sys, gpu)), expected.energy)
    data = ACERust.atoms_data(labelled(cpu), cpu)
    (A, Y, W), (A2, Y2, W2) = ACERust.assemble(data, cpu; progress = false), ACERust.assemble(data, gpu; progress = false)
    check("assembly", A2, A)
    @test Y2 == Y && W2 == W
end

function compare_committees(check, cpu, gpu)
    θ = get_linear_parameters(cpu)
    members = [θ, 1.5 * θ, -θ .+ 1e-3]
    foreach(c -> set_committee!(c, members), (cpu, gpu))
    for sys in structures()
        expected, found = committee_energy_forces_virial(sys, cpu), committee_energy_forces_virial(sys, gpu)
        foreach(k -> check("committee", bare.(found[k]), bare.(expected[k])), keys(expected))
    end
    expected, found = committee_mean_std(silica(), cpu), committee_mean_std(silica(), gpu)
    check("spread of a committee", bare.(found.std.forces), bare.(expected.std.forces))
    foreach(c -> set_committee!(c, nothing), (cpu, gpu))
end

function compare_on(device_calc, check)
    model = sio_o2()
    cpu, gpu = WrappedSiteCalculator(model; radial = :exact), device_calc(model)
    foreach(sys -> compare_calculators(check, model, sys, cpu, gpu), structures())
    foreach(sys -> compare_sites(check, model, sys, gpu), structures())
    compare_fitting(check, cpu, gpu)
    compare_committees(check, cpu, gpu)

    # A structure that moves and strains, with the list that was kept.
    for step in 0:5
        sys = supercell(silica(; scale = 1 + 0.002 * step), 3)
        expected, found = efv(sys, cpu), efv(sys, gpu)
        foreach(k -> check("moving: $k", found[k], expected[k]), keys(expected))
    end
    @test length(only(values(gpu.device_lists))) == 1

    # Other parameters; copies, which keep their device and precision; several tasks.
    θ = 1.5 * get_linear_parameters(cpu)
    foreach(c -> set_linear_parameters!(c, θ), (cpu, gpu))
    io = IOBuffer()
    serialize(io, gpu)
    expected = efv(silica(), cpu)
    for copied in (gpu, deepcopy(gpu), deserialize(seekstart(io)))
        @test copied.settings == gpu.settings
        check("other parameters", efv(silica(), copied).forces, expected.forces)
    end
    tasks = [Threads.@spawn efv(silica(; scale = 1 + 0.01k), gpu) for k in 1:8]
    for (k, task) in enumerate(tasks)
        check("several tasks", fetch(task).forces, efv(silica(; scale = 1 + 0.01k), cpu).forces)
    end
    close(gpu)
    @test_throws "closed" efv(silica(), gpu)
    return nothing
end

function arrays_of_cuda(CUDA, precision)
    model, sys = sio_o2(), supercell(silica(), 5)
    calc = WrappedSiteCalculator(model; device = :cuda, precision)
    evaluate!(F, X; options...) = ACERust.device_energy_forces_virial!(F, X, sys, calc; options...)
    n, host = length(sys), ACERust.Structure(sys).positions
    moved = host .+ 0.01 .* sin.(1:n)'
    places(x) = FlexibleSystem([Atom(species(sys, i), SVector{3}(x[:, i])u"Å") for i in 1:n]; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys))
    expected, expected_moved = efv(places(host), calc), efv(places(moved), calc)
    matches(found, F, expected) =
        bare(found.energy) == expected.energy && bare(found.virial) == expected.virial && Array(F) == reduce(hcat, expected.forces)

    X, F = CUDA.CuMatrix(host), CUDA.CuMatrix{Float64}(undef, 3, n)
    for _ in 1:4   # built, kept, captured, replayed
        @test matches(evaluate!(F, X), F, expected)
    end
    @test Array(X) == host

    # Positions that the stream has yet to write when the call is made: of this task, of another one, and one that the default stream does
    # not wait for.
    Y = CUDA.CuMatrix(moved)
    a, b = CUDA.CuVector{UInt8}(undef, 1 << 30), CUDA.CuVector{UInt8}(undef, 1 << 30)
    function late()
        copyto!(X, CUDA.CuMatrix(host))
        CUDA.synchronize()
        foreach(_ -> copyto!(b, a), 1:200)
        copyto!(X, Y)
        busy = !CUDA.isdone(CUDA.stream())
        return busy, CUDA.stream().handle, evaluate!(F, X)
    end
    alone() = CUDA.stream!(late, CUDA.CuStream(; flags = CUDA.STREAM_NON_BLOCKING))
    handles = map((late, () -> fetch(Threads.@spawn late()), alone)) do run
        busy, handle, found = run()
        @test busy && matches(found, F, expected_moved)
        handle
    end
    @test allunique(handles)
    # Written by a kernel, read by one.
    X .= CUDA.CuMatrix(host)
    @test matches(evaluate!(F, X), F, expected)
    @test sum(F; dims = 2) |> Array ≈ zeros(3, 1) atol = 1e-3

    @test_throws DimensionMismatch evaluate!(CUDA.CuMatrix{Float64}(undef, 3, n - 1), X)
    @test_throws MethodError evaluate!(Matrix{Float64}(undef, 3, n), X)
    @test_throws MethodError evaluate!(CUDA.CuMatrix{Float32}(undef, 3, n), X)
    processor = WrappedSiteCalculator(model)
    @test_throws "CUDA" ACERust.device_energy_forces_virial!(F, X, sys, processor)
    @test matches(evaluate!(F, X; precision), F, expected)
    return nothing
end

"Operations on arrays of CUDA.jl, against the processor; results that are not finite."
function operations_of_cuda(CUDA)
    wave(n...; by) = reshape([sin(by * k + 0.3) for k in 1:prod(n)], n...)
    options = (; irreps_in1 = "8x0e+8x1o", irreps_in2 = "1x0e+1x1o", targets = "0e+1o", convolution = true)
    given = (; sender = [1, 2, 3, 4, 1, 2], receiver = [2, 1, 4, 4, 3, 1])
    for storage in (Float64, Float32)
        op, far = ACERust.Ops.Operation(:channelwise; storage, options...), ACERust.Ops.Operation(:channelwise; storage, device = :cuda, options...)
        counts = (; rows = 6, nodes = 4)
        xs = Tuple(storage.(wave(p.width, p.rows isa Int ? p.rows : counts[p.rows]; by = 0.3 + k)) for (k, p) in enumerate(op.inputs))
        there, close(a, b) = CUDA.CuArray.(xs), isapprox(Array(a), b; rtol = 20eps(storage))
        y = op(xs...; given...)
        @test close(far(there...; given...), y)
        @test close(far(there...; map(CUDA.CuArray, given)...), y)
        ȳ = storage.(wave(size(y)...; by = 0.7))
        @test all(close.(ACERust.Ops.backward(far, CUDA.CuArray(ȳ), there...; given...), ACERust.Ops.backward(op, ȳ, xs...; given...)))
        found, expected = ACERust.Ops.double_backward(far, CUDA.CuArray(ȳ), there, there...; given...), ACERust.Ops.double_backward(op, ȳ, xs, xs...; given...)
        @test close(found[1], expected[1]) && all(close.(found[2], expected[2]))
        wait(far)
        far(there[1], there[2], CUDA.CuArray(fill(storage(NaN), size(xs[3]))); given...)
        @test_throws "w: NaN at 0" wait(far)
        wait(far)
        @test_throws "expected memory of a CUDA device" far(xs...; given...)
        @test fetch(Threads.@spawn Array(far(there...; given...))) == Array(far(there...; given...))
    end
end

@testset verbose = true "on a CUDA device, by $name" for name in sort!(collect(keys(ACERust.BINDINGS)))
    present, ACERust.PRESENT[] = ACERust.PRESENT[], name
    @testset "$precision" for (precision, tolerance) in LEVELS
        check = Comparison(tolerance, Dict())
        compare_on(model -> WrappedSiteCalculator(model; device = :cuda, precision), check)
        println("$name, $precision, largest differences: ", join(("$k $(round(δ; sigdigits = 2))" for (k, δ) in sort!(collect(check.worst))), ", "))
    end

    @testset "faults" begin
        model = sio_o2()
        @test_throws "there is no device 97" efv(silica(), WrappedSiteCalculator(model; device = 97))
        gpu = WrappedSiteCalculator(model; device = 0)
        good = efv(silica(), gpu)
        twice = isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :O => [0.0, 0.0, 0.0]u"Å"])
        @test_throws "is at the same place" efv(twice, gpu)
        @test_throws "atom 2" efv(isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :Fe => [2.0, 0.0, 0.0]u"Å"]), gpu)
        @test efv(silica(), gpu) == good
    end

    if loadable("CUDA")
        CUDA = Base.require(Main, :CUDA)
        @testset "arrays of CUDA.jl, $precision" for (precision, _) in LEVELS
            Base.invokelatest(arrays_of_cuda, CUDA, precision)
        end
        @testset "operations on arrays of CUDA.jl" begin
            Base.invokelatest(operations_of_cuda, CUDA)
        end
    else
        skipped("arrays of CUDA.jl", "they need CUDA")
    end
    ACERust.PRESENT[] = present
end
