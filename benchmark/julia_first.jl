# What a first call of each thing in julia/README.md takes, in new sessions: all of them one after another in one session, as a user would, so
# that each waits for what it alone still has to compile. Shortest of 3 sessions, seconds. ACEfit is optional.
#   julia --project=… benchmark/julia_first.jl
import ACERust

const FIRST_CALLS = raw"""
    path, mace, out = ARGS[1], ARGS[2], stdout
    print("using ACERust\t", @elapsed(@eval using ACERust), '\n')
    using AtomsBase, AtomsCalculators, Unitful
    sys = periodic_system([:Si => [0.0, 0.0, 0.0]u"Å", :Si => [1.36, 1.36, 1.36]u"Å"],
        ([0.0, 2.73, 2.73]u"Å", [2.73, 0.0, 2.73]u"Å", [2.73, 2.73, 0.0]u"Å"))
    labelled = [FlexibleSystem([Atom(a; forces = zeros(3)) for a in sys]; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), energy = -10.0)]
    macro first(name, call)
        :(print(out, $name, '\t', @elapsed($(esc(call))), '\n'))
    end
    @first "load_model" model = load_model(path)
    @first "StackedCalculator" calc = StackedCalculator(model)
    @first "energy_forces_virial" AtomsCalculators.energy_forces_virial(sys, calc)
    @first "deepcopy" deepcopy(calc)
    @first "energy_forces_virial_basis" energy_forces_virial_basis(sys, calc)
    @first "atoms_data" data = ACERust.atoms_data(labelled, calc)
    @first "assemble" ACERust.assemble(data, calc)
    @first "compute_errors" ACERust.compute_errors(data, calc)
    @first "smoothness_prior" smoothness_prior(calc)
    @first "interaction_graph" G = interaction_graph(sys, 5.5u"Å")
    @first "site_energies" site_energies(calc, G)
    @first "site_basis_jacobian" site_basis_jacobian(calc, G)
    @first "site_descriptors" site_descriptors(sys, calc)
    @first "basis_labels" basis_labels(calc)
    @first "splinify" splinify(calc)
    @first "calculate with parameters" AtomsCalculators.calculate(AtomsCalculators.Energy(), sys, calc, (linear = get_linear_parameters(calc),))
    @first "forces of arrays" ACERust.forces(calc, sys, ACERust.variables(sys, calc)...)
    @first "set_committee!" set_committee!(calc, [get_linear_parameters(calc), get_linear_parameters(calc)])
    @first "committee_mean_std" committee_mean_std(sys, calc)
    @first "@committee" @committee AtomsCalculators.forces(sys, calc)
    @first "save_model" save_model(tempname(), calc)
    @first "a MACE model" network = WrappedSiteCalculator(load_model(mace))
    titanium = isolated_system([:Ti => [0.0, 0.0, 0.0]u"Å", :O => [1.7, 0.0, 0.0]u"Å"])
    @first "its energy_forces_virial" AtomsCalculators.energy_forces_virial(titanium, network)
    using ACERust.Ops
    @first "Operation" op = Operation(:linear; irreps_in = "8x0e+8x1o", irreps_out = "4x1o")
    x, w = ones(32, 4), ones(op.inputs[2].width)
    @first "its result" y = op(x, w)
    @first "its gradients" backward(op, y, x, w)
    if Base.find_package("ACEfit") !== nothing
        using ACEfit
        redirect_stdout(devnull)
        @first "acefit! by ACEfit.QR" ACERust.acefit!(labelled, calc; solver = ACEfit.QR(lambda = 1e-2))
    end
    """

"The table, by its rows: name and seconds."
function first_calls(io; sessions = 3)
    files = joinpath(@__DIR__, "models", "si_fit.json"), joinpath(@__DIR__, "..", "test", "golden", "mace", "models", "omat_like.json")
    command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e $FIRST_CALLS $files`
    runs = [split.(split(readchomp(command), '\n'), '\t') for _ in 1:sessions]
    println(io, "\n## First calls\n\nSeconds in a new session, one call after the other, shortest of ", sessions, ".\n\n| call | s |\n| --- | ---: |")
    for k in eachindex(runs[1])
        println(io, "| `", runs[1][k][1], "` | ", round(minimum(parse(Float64, run[k][2]) for run in runs); digits = 3), " |")
    end
end

abspath(PROGRAM_FILE) == @__FILE__() && first_calls(stdout)
