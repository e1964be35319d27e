# Writes the model files of this folder that README.md lists as generated:
#   julia benchmark/models/generate.jl [NAME...]
# Needs ACEpotentials 0.10.1 and ACERust, which converts and writes them. The weights are random: only their shape matters.
using ACEpotentials, ACERust, LuxCore, Random
const Models = ACEpotentials.Models

const BENCHMARKS = [
    # name, element, order, total degree, largest l, cutoff in Å
    ("si_2_8", :Si, 2, 8, 6, 5.5),
    ("si_2_10", :Si, 2, 10, 6, 5.5),
    ("si_3_10", :Si, 3, 10, 6, 5.5),
    ("si_4_10", :Si, 4, 10, 6, 5.5),
    ("si_3_14", :Si, 3, 14, 6, 5.5),
    ("si_3_16", :Si, 3, 16, 6, 5.5),
    ("cu_4_14", :Cu, 4, 14, 6, 7.4),
]

function generate(name, element, order, degree, maxl, rcut)
    rng = MersenneTwister(degree)
    elements = (element,)
    cutoffs = (x -> (rin = x.rin, r0 = x.r0, rcut = rcut)).(Models._default_rin0cuts(elements))
    model = Models.ace_model(;
        elements, order, Ytype = :solid, level = Models.TotalDegree(), max_level = degree, maxl, pair_maxn = degree,
        rin0cuts = cutoffs, init_WB = :glorot_normal, init_Wpair = :glorot_normal, pair_learnable = true,
        E0s = Dict(element => 0.0), rng,
    )
    calc = ACERust.convert2et_full(model, LuxCore.setup(rng, model)...)
    path = joinpath(@__DIR__, "$name.json")
    save_model(path, calc)
    # A stack has no name and source of its own.
    text = replace(read(path, String), r"\"name\":\"[^\"]*\"(,\"source\":\"[^\"]*\")?" =>
        "\"name\":\"$name\",\"source\":\"ACEpotentials.jl $(pkgversion(ACEpotentials)), Julia $VERSION\""; count = 1)
    write(path, text)
    println(name, ": ", ACERust.length_basis(calc), " parameters, ", filesize(path) ÷ 1000, " kB")
end

foreach(b -> isempty(ARGS) || b[1] in ARGS ? generate(b...) : nothing, BENCHMARKS)
