using ACERust, AtomsBase, AtomsCalculators, LinearAlgebra, StaticArrays, Test, Unitful

loadable(name) = Base.find_package(name) !== nothing
if loadable("JlrsCore")
    import JlrsCore   # with it the binding by jlrs, whichever is preferred
end
skipped(what, why) = (printstyled("SKIPPED: ", what, ": ", why, '\n'; color = :yellow); nothing)

const GOLDEN = ACERust.repository("test", "golden")
const MODELS = joinpath(GOLDEN, "mace", "models")
const TINY = ACERust.repository("test", "mace")

parse_json(text) = ACERust.JSON.parse(text)

"The largest difference relative to the largest entry."
function difference(found, expected)
    size(found) == size(expected) || throw(DimensionMismatch("$(size(found)) found, $(size(expected)) expected"))
    scale = maximum(norm, collect(expected); init = 0.0)
    return maximum(norm, collect(found) .- collect(expected); init = 0.0) / (scale == 0 ? 1.0 : scale)
end
bare(x) = ustrip.(x)

"A structure of a golden file, with more keys."
function golden_structure(s; extra...)
    atoms = [Atom(Int(z), SVector{3,Float64}(x) * u"Å") for (z, x) in zip(s["numbers"], s["positions"])]
    cell = Tuple(SVector{3,Float64}(v) * u"Å" for v in s["cell"])
    return FlexibleSystem(atoms; cell_vectors = cell, periodicity = Tuple(Bool.(s["pbc"])), extra...)
end

"Silicon and oxygen: periodic, rattled by hand."
silica(; scale = 1.0) = periodic_system(
    [:Si => scale * [0.0, 0.1, 0.0]u"Å", :O => scale * [1.35, 1.3, 1.45]u"Å", :Si => scale * [2.7, 0.1, 2.6]u"Å", :O => scale * [4.1, 1.4, 3.9]u"Å"],
    (scale * [5.4, 0.0, 0.0]u"Å", scale * [0.0, 5.4, 0.3]u"Å", scale * [0.2, 0.0, 5.4]u"Å"),
)
function supercell(sys, k)
    box = cell_vectors(sys)
    atoms = [Atom(species(sys, i), position(sys, i) + sum(n .* box)) for n in Iterators.product(0:(k - 1), 0:(k - 1), 0:(k - 1)) for i in 1:length(sys)]
    return FlexibleSystem(atoms; cell_vectors = k .* box, periodicity = periodicity(sys))
end
molecule() = isolated_system([:Si => [0.0, 0.0, 0.0]u"Å", :O => [1.6, 0.1, 0.0]u"Å", :O => [-1.5, 0.3, 0.4]u"Å"])
sio_o2() = convert_reference(joinpath(GOLDEN, "sio_o2.json"))

"Structures with what a model says of them, as keys; the even ones without virial."
function labelled(truth; groups = ("bulk", "strained"))
    return map(0:9) do k
        s = silica(; scale = 0.95 + 0.013k)
        (; energy, forces, virial) = AtomsCalculators.energy_forces_virial(s, truth)
        atoms = [Atom(atom; forces = bare(f)) for (atom, f) in zip(s, forces)]
        extra = iseven(k) ? (;) : (; virial = Matrix(bare(virial)))
        FlexibleSystem(atoms; cell_vectors = cell_vectors(s), periodicity = periodicity(s), energy = bare(energy), config_type = groups[1 + k % 2], extra...)
    end
end
