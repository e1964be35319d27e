# Equivariant operations: values by hand, derivatives by differences, rules twice.
include("common.jl")
using ACERust.Ops

"The derivative of `f` along `d` at `x`, to eighth order in the step."
function slope(f, x, d; h = 0.01)
    weights = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    return sum(w / h * (f(x + k * h * d) - f(x - k * h * d)) for (k, w) in enumerate(weights))
end
wave(n...; by = 1.0) = reshape([sin(by * k + 0.3) for k in 1:prod(n)], n...)

"Operations, with how many columns their inputs have by name, and their indices."
const OPERATIONS = (
    (Operation(:linear; irreps_in = "3x0e+2x1o", irreps_out = "2x0e+4x1o"), (; rows = 5), (;)),
    (Operation(:linear; irreps_in = "2x0e+2x1o", irreps_out = "3x0e+1x1o", species = 3, layout = "mul_ir"), (; rows = 4), (; species = [3, 1, 1, 2])),
    (Operation(:harmonics; lmax = 3), (; rows = 4), (;)),
    (Operation(:channelwise; irreps_in1 = "2x0e+2x1o", irreps_in2 = "1x0e+1x1o", targets = "0e+1o"), (; rows = 3), (;)),
    (Operation(:mlp; widths = [3, 4, 2], activation = "silu"), (; rows = 3), (;)),
    (
        Operation(:channelwise; irreps_in1 = "2x0e+2x1o", irreps_in2 = "1x0e+1x1o", targets = "0e+1o", convolution = true),
        (; rows = 6, nodes = 4), (; sender = [1, 2, 3, 4, 1, 2], receiver = [2, 1, 4, 4, 3, 1])
    ),
)

@testset "operations" begin
    op = Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e")
    x, w = [1.0 3.0; 2.0 4.0], [5.0, 6.0]
    @test inputs(op) == ["x", "w"] && isempty(indices(op)) && op(x, w) ≈ [17 39] / sqrt(2)
    @test forward!(zeros(2), op, x, w) == vec(op(x, w)) && op(view(x, :, 1:2), w) == op(x, w)
    @test backward(op, [1.0 2.0], x, w)[2] ≈ [7, 10] / sqrt(2)
    single = Operation(:linear; irreps_in = "2x0e", irreps_out = "1x0e", storage = Float32)
    @test single(x, w) isa Matrix{Float32} && isapprox(single(x, w), op(x, w); rtol = 1e-6)
    @test size(op(zeros(2, 0), w)) == (1, 0)

    for (op, counts, given) in OPERATIONS
        shape(port) = (port.width, port.rows isa Int ? port.rows : counts[port.rows])
        xs = Tuple(wave(shape(port)...; by = k + 0.7) for (k, port) in enumerate(op.inputs))
        y = op(xs...; given...)
        @test size(y) == shape(op.output)
        ȳ = wave(size(y)...; by = 3.1)
        g = backward(op, ȳ, xs...; given...)
        ds = map(x -> wave(size(x)...; by = 5.3), xs)
        with(k, x) = ntuple(i -> i == k ? x : xs[i], length(xs))
        second = double_backward(op, ȳ, ds, xs...; given...)
        @test dot(second[1], ȳ) ≈ sum(dot.(g, ds))      # linear in the cotangent
        for k in eachindex(xs)
            @test dot(g[k], ds[k]) ≈ slope(x -> dot(ȳ, op(with(k, x)...; given...)), xs[k], ds[k]) rtol = 1e-7
            e = wave(size(xs[k])...; by = 0.9)
            @test dot(second[2][k], e) ≈ slope(x -> sum(dot.(backward(op, ȳ, with(k, x)...; given...), ds)), xs[k], e) rtol = 1e-6
        end
        tasks = [Threads.@spawn(op(xs...; given...)) for _ in 1:4]
        @test all(t -> fetch(t) == y, tasks)
    end

    by_species = OPERATIONS[2][1]
    xs = Tuple(wave(port.width, port.rows isa Int ? port.rows : 4) for port in by_species.inputs)
    @test sprint(show, by_species) == "Operation linear: x (8, rows), w (8, 3); species → (6, rows)"
    @test_throws "species: 4 at 2, expected 1 to 3" by_species(xs...; species = [1, 4, 1, 1])
    @test_throws "the index species is missing" by_species(xs...)
    @test_throws "spezies is no index" by_species(xs...; spezies = [1])
    @test_throws "x: 3 numbers are no columns of 2" op([1.0, 2.0, 3.0], w)
    @test_throws "1 inputs for Operation linear: x (2, rows), w" op(x)
    @test_throws "w: NaN at 2, expected a finite number" op(x, [1.0, NaN])
    @test_throws "irreps `2x0z`" Operation(:linear; irreps_in = "2x0z", irreps_out = "1x0e")
    @test_throws "unknown variant" Operation(:lineal)
    @test_throws "CUDA" Operation(:harmonics; lmax = 1, device = 97)
    @test_throws "device is :cpu, :cuda or the index" Operation(:harmonics; lmax = 1, device = :gpu)
    @test_throws "arithmetic: tf32 is for CUDA devices" Operation(:linear; irreps_in = "1x0e", irreps_out = "1x0e", storage = Float32, arithmetic = "tf32")
    @test_throws "storage is Float64, Float32 or Float16" Operation(:linear; irreps_in = "1x0e", irreps_out = "1x0e", storage = Int)
    close(op)
    @test !isopen(op)
    @test_throws "this op has been closed" op(x, w)
end

if all(loadable, ("ChainRulesCore", "Zygote"))
    import Zygote
    @testset "a layer trained by Zygote on its forces" begin
        # Energies of edges: harmonics, a product with features, a linear map; forces are gradients, and the loss differentiates them.
        harmonics = Operation(:harmonics; lmax = 1)
        product = Operation(:linear; irreps_in = "1x0e+1x1o", irreps_out = "1x0e+1x1o")
        r, w = wave(3, 6), wave(product.inputs[2].width, 1; by = 1.9)
        mask = wave(4, 6; by = 0.6)
        energy(r, w) = sum(mask .* abs2.(product(harmonics(r), w)))
        force(r, w) = -only(Zygote.gradient(r -> energy(r, w), r))
        d = wave(3, 6; by = 2.2)
        @test -dot(force(r, w), d) ≈ slope(r -> energy(r, w), r, d) rtol = 1e-8
        wanted = force(r, 1.3w)
        loss(w) = sum(abs2, force(r, w) - wanted)
        e = wave(size(w)...; by = 0.4)
        @test dot(only(Zygote.gradient(loss, w)), e) ≈ slope(loss, w, e) rtol = 1e-7
        losses = [loss(w)]
        for _ in 1:5
            g = only(Zygote.gradient(loss, w))
            w = w - 0.1 * losses[end] / sum(abs2, g) * g
            push!(losses, loss(w))
        end
        @test issorted(losses; rev = true) && losses[end] < losses[1]
    end
else
    skipped("operations trained by Zygote", "they need ChainRulesCore and Zygote")
end

# The extension for CUDA.jl as it is, on a module of that name whose arrays are on the host, with operations of the processor that say they are on a device.
if loadable("CUDA")
    skipped("operations on a stand-in for CUDA.jl", "there is CUDA.jl itself, see gpu.jl")
else
    "An expression where the package CUDA is the module beside."
    beside(x) = x
    beside(x::Expr) =
        x.head == :(:) && x.args[1] == Expr(:., :CUDA) ? Expr(:(:), Expr(:., :., :., :CUDA), x.args[2:end]...) : Expr(x.head, map(beside, x.args)...)
    include("cuda.jl")
    Base.include(beside, @__MODULE__, joinpath(pkgdir(ACERust), "ext", "ACERustCUDAExt.jl"))
    pretend(op::Operation{T}) where {T} = Operation{T}(op.handle, op.kind, 0, op.inputs, op.indices, op.output)

    "The same results in arrays of CUDA.jl as in those of the host, and refusals."
    function arrays_of_stand_in(CUDA)
        there(x) = CUDA.CuArray(x)
        for (op, counts, given) in OPERATIONS
            shape(port) = (port.width, port.rows isa Int ? port.rows : counts[port.rows])
            xs = Tuple(wave(shape(port)...; by = k + 0.7) for (k, port) in enumerate(op.inputs))
            far = pretend(op)
            y, ȳ = op(xs...; given...), wave(shape(op.output)...; by = 3.1)
            ds = map(x -> wave(size(x)...; by = 5.3), xs)
            found = far(there.(xs)...; map(there, given)...)
            @test found isa CUDA.CuMatrix{Float64} && found.held == y
            @test forward!(there(zero(y)), far, there.(xs)...; given...).held == y
            g = backward(far, ȳ, there.(xs)...; given...)   # a cotangent from the host
            @test all(x -> x isa CUDA.CuArray, g) && map(x -> x.held, g) == backward(op, ȳ, xs...; given...)
            s, expected = double_backward(far, there(ȳ), there.(ds), there.(xs)...; given...), double_backward(op, ȳ, ds, xs...; given...)
            @test s[1].held == expected[1] && map(x -> x.held, s[2]) == expected[2]
            @test wait(far) === nothing
            @test_throws "expected memory of a CUDA device" far(xs...; given...)
            @test_throws "expected memory of the processor" op(there.(xs)...; given...)
            @test_throws "out: $(typeof(y)), expected" forward!(y, far, there.(xs)...; given...)
        end
        op = OPERATIONS[2][1]
        xs = Tuple(there(wave(port.width, port.rows isa Int ? port.rows : 4)) for port in op.inputs)
        @test_throws "species: 4 at 2, expected 1 to 3" pretend(op)(xs...; species = there([1, 4, 1, 1]))
        elsewhere = Operation{Float64}(op.handle, op.kind, 1, op.inputs, op.indices, op.output)
        @test_throws "is for CUDA device 1, and this task works on device 0" elsewhere(xs...; species = [1, 2, 3, 1])
    end
    @testset "operations on a stand-in for CUDA.jl" begin
        Base.invokelatest(arrays_of_stand_in, CUDA)
    end
end
