# The golden files of the repository, through every function that they have numbers for.
include("common.jl")

function system(d)
    atoms = [Atom(Int(z), SVector{3,Float64}(x) * u"Å") for (z, x) in zip(d["numbers"], d["positions"])]
    box = Tuple(SVector{3,Float64}(v) * u"Å" for v in d["cell"])
    return FlexibleSystem(atoms; cell_vectors = box, periodicity = Tuple(Bool.(d["pbc"])))
end

vectors(rows) = [SVector{3,Float64}(x) for x in rows]
matrix(rows) = Float64.(reduce(vcat, permutedims.(rows)))
kinds(results) = filter(k -> haskey(results, k), ["onebody", "pair", "ace"])

@testset "golden: $name" for name in ("si_o3", "sio_o2", "sio_o3", "tial_o3", "sio_spl", "si_fit", "si_bench", "hea_bench")
    path = joinpath(GOLDEN, name * ".json")
    golden = parse_json(read(path, String))
    model = convert_reference(path)
    parts = ACERust.model_parts(model)
    for structure in golden["structures"]
        sys = system(structure)
        G = interaction_graph(sys, golden["rcut"])
        @test ACERust.n_edges(G) == structure["n_edges"]
        results = structure["results"]
        total = sum(Float64(results[k]["energy"]) for k in kinds(results))
        @test bare(AtomsCalculators.potential_energy(sys, WrappedSiteCalculator(model))) ≈ total rtol = 1e-10
        for (kind, part) in zip(kinds(results), parts)
            expected = results[kind]
            calc = WrappedSiteCalculator(part; radial = :exact)
            (; energy, forces, virial) = AtomsCalculators.energy_forces_virial(sys, calc)
            site = Float64.(reduce(vcat, expected["site_energies"]))
            @test difference(site_energies(part, G), site) < 1e-11
            @test abs(bare(energy) - expected["energy"]) < 1e-11 * sum(abs, site)
            @test difference(bare.(forces), vectors(expected["forces"])) < 1e-10
            @test difference(bare(virial), matrix(expected["virial"])) < 1e-10
            haskey(expected, "energy_row") || continue
            rows = energy_forces_virial_basis(sys, calc)
            @test difference(bare.(rows.energy), Float64.(expected["energy_row"])) < 1e-11
            @test rows.energy == potential_energy_basis(sys, calc)
            n, p = size(rows.forces)
            found = [bare(rows.forces[i, k][a]) for a in 1:3, i in 1:n, k in 1:p]
            @test difference(reshape(found, 3n, p), matrix(expected["force_rows"])) < 1e-10
            found = [bare(V[a, b]) for b in 1:3, a in 1:3, V in rows.virial]
            @test difference(reshape(found, 9, p), matrix(expected["virial_rows"])) < 1e-10
            @test difference(site_basis(part, G), matrix(expected["basis"])) < 1e-11
            @test length(site_grads(part, G)) == structure["n_edges"]
            # The edges of the file may come in another order.
            key(i, j, shift) = (Int(i), Int(j), Int.(shift)...)
            edges = structure["edges"]
            place = Dict(key(edges["i"][e] + 1, edges["j"][e] + 1, edges["shift"][e]) => e for e in eachindex(edges["i"]))
            order = [place[key(G.ii[e], G.jj[e], G.shift[e])] for e in eachindex(G.ii)]
            @test difference(G.r, vectors(edges["r"])[order]) < 1e-12
            @test difference(site_grads(part, G), vectors(expected["edge_grads"])[order]) < 1e-10
        end
    end
end

@testset "PACE potentials, as they are: $name" for name in ("cho-chebpow", "cuzr-zbl", "si-rank4")
    golden = parse_json(read(joinpath(GOLDEN, "pace", name * ".json"), String))
    calc = WrappedSiteCalculator(load_model(joinpath(GOLDEN, "pace", name * ".yace")); radial = :exact)
    for s in golden["structures"]
        atoms = [Symbol(z) => SVector{3,Float64}(x) * u"Å" for (z, x) in zip(s["symbols"], s["positions"])]
        sys = s["pbc"] ? periodic_system(atoms, Tuple(Vector{Float64}(v) * u"Å" for v in s["cell"])) : isolated_system(atoms)
        (; energy, forces) = AtomsCalculators.energy_forces_virial(sys, calc)
        expected = s["exact"]
        @test abs(bare(energy) - sum(Float64, expected["energies"])) < 1e-9
        @test maximum(norm, bare.(forces) .- vectors(expected["forces"])) < 1e-9
    end
end
