# Models and operations as layers of Lux.
include("common.jl")
import ChainRulesCore, LuxCore, Random, Zygote
using ACERust.Ops: Operation

"The derivative of `f` along `d` at `x`."
difference_along(f, x, d; h = 1e-3) = sum(w / h * (f(x + k * h * d) - f(x - k * h * d)) for (k, w) in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280)))

@testset "layers" begin
    rng = Random.MersenneTwister(1)
    model, G = sio_o2(), interaction_graph(silica(), 5.5)
    layer = ACERust.layer(model)
    ps, st = LuxCore.setup(rng, layer)
    @test (ps, st) == LuxCore.setup(rng, model) == ((linear = get_linear_parameters(model),), (;))
    @test LuxCore.parameterlength(layer) == length_basis(model) && LuxCore.statelength(layer) == 0
    E, state = LuxCore.apply(layer, G, ps, st)
    @test E == site_energies(model, G) && state === st && LuxCore.stateless_apply(layer, G, ps) == E
    by_edges, by_parameters = Zygote.gradient((G, ps) -> sum(first(layer(G, ps, st))), G, ps)
    @test by_edges.r ≈ site_grads(model, G)
    d = cos.(1:length_basis(model))
    @test dot(by_parameters.linear, d) ≈ sum(site_energies(model, G, (linear = ps.linear + d,)) - E) rtol = 1e-9

    linear = ACERust.layer(Operation(:linear; irreps_in = "2x0e+1x1o", irreps_out = "1x0e+2x1o", species = 3))
    ps, st = LuxCore.setup(rng, linear)
    @test keys(ps) == (:w,) && size(ps.w) == (4, 3) && st == (;) && LuxCore.parameterlength(linear) == 12
    @test LuxCore.setup(Random.MersenneTwister(1), linear) == LuxCore.setup(Random.MersenneTwister(1), linear)
    x, species = sin.(reshape(1:20, 5, 4)), [1, 3, 2, 1]
    y, _ = linear((x, (; species)), ps, st)
    @test y == linear.operation(x, ps.w; species)
    mlp = ACERust.layer(Operation(:mlp; widths = [7, 4, 2], activation = "silu"); init = (rng, T, size...) -> fill(T(0.5), size))
    pm, sm = LuxCore.setup(rng, mlp)
    @test all(w -> all(==(0.5), w), pm)
    z, _ = mlp(y, pm, sm)
    @test size(z) == (2, 4)
    product = ACERust.layer(Operation(:channelwise; irreps_in1 = "2x0e", irreps_in2 = "1x0e", targets = "0e"))
    pp, _ = LuxCore.setup(rng, product)
    @test isempty(pp)   # weights of each edge are inputs
    a, b, w = ones(2, 4), ones(1, 4), ones(product.operation.inputs[3].width, 4)
    @test product((a, b, w), pp, (;))[1] == product.operation(a, b, w)
    @test_throws "2 inputs for a layer of Operation channelwise" product((a, b), pp, (;))

    # One loss through both, by weights and inputs.
    loss(x, ps, pm) = sum(abs2, first(mlp(first(linear((x, (; species)), ps, st)), pm, sm)))
    x̄, p̄s, p̄m = Zygote.gradient(loss, x, ps, pm)
    for (found, at, f) in ((x̄, x, x -> loss(x, ps, pm)), (p̄s.w, ps.w, w -> loss(x, (; w), pm)), (p̄m.w1, pm.w1, w1 -> loss(x, ps, merge(pm, (; w1)))))
        d = reshape(cos.(2 .* (1:length(at))), size(at))
        @test dot(found, d) ≈ difference_along(f, at, d) rtol = 1e-7
    end
end
