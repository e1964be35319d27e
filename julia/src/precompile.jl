# What a first session with a calculator compiles, compiled with the package. Without a library there is nothing to run, and nothing is lost
# but time later.

"A model of every part with next to nothing in it: one radial function, one basis function."
function smallest_model()
    transforms = [(rin = 0.0, req = 2.4, pin = 4, pcut = 1, a = 0.2727272727272727, b0 = 4.465886100676184, b1 = -5.465886100676184)]
    functions = (type = "polynomial", A = [0.7], B = [0.0], C = [0.0], W = [[[1.0]]])
    radial(envelope) = (; transforms, envelopes = [envelope], functions)
    parts = (
        (type = "onebody", E0 = [-1.0]),
        (type = "pair", rcut = 5.5, radial = radial((type = "poly1sr", rcut = 5.5, p = 1)), weights = [[1.0]]),
        (
            type = "ace", rcut = 5.5,
            radial = (; radial((type = "poly2sx", x1 = -1.0, x2 = 1.0, p1 = 2, p2 = 2, s = 1.0))..., spec = [[1, 0]]),
            angular = (kind = "solid", lmax = 0), A = [[0, 0]], AA = [[0]], C = (shape = [1, 1], rows = [0], cols = [0], vals = [1.0]),
            weights = [[1.0]],
        ),
    )
    return model_from_json(json((format = "acerust-model/1", name = "smallest", source = "", species = [14], parts)))
end

function workload()
    atoms = [:Si => [0.0, 0.0, 0.0]u"Å", :Si => [1.4, 1.4, 1.4]u"Å"]
    flexible = periodic_system(atoms, ([0.0, 2.7, 2.7]u"Å", [2.7, 0.0, 2.7]u"Å", [2.7, 2.7, 0.0]u"Å"))
    model = mktempdir(dir -> load_model(save_model(joinpath(dir, "model.json"), smallest_model())))
    stack, single = StackedCalculator(model; nthreads = 1), WrappedSiteCalculator(model; nthreads = 1)
    sprint(show, MIME("text/plain"), model)
    for calc in (stack, single), sys in (flexible, FastSystem(flexible))
        AtomsCalculators.potential_energy(sys, calc)
        AtomsCalculators.forces(sys, calc)
        AtomsCalculators.energy_forces(sys, calc)
        AtomsCalculators.energy_forces_virial(sys, calc)
    end
    energy_forces_virial_basis(flexible, stack)
    potential_energy_basis(flexible, stack)
    observe_and_assemble(stack, flexible)
    graph = interaction_graph(flexible, 5.5)
    for calc in (single, stack), f in (site_energies, site_grads, site_basis, site_basis_jacobian)
        f(calc, graph)
    end
    site_descriptors(flexible, stack)
    basis_labels(stack)
    forces(stack, flexible, variables(flexible, stack)...)
    op = Ops.Operation(:linear; irreps_in = "1x0e", irreps_out = "1x0e")
    Ops.backward(op, op([1.0], [1.0]), [1.0], [1.0])
    Ops.backward(op, op([1.0;;], [1.0]), [1.0;;], [1.0])
    close(op)
    AtomsCalculators.calculate(AtomsCalculators.Energy(), flexible, stack, AtomsCalculators.get_parameters(stack))
    copied = deepcopy(stack)
    file = IOBuffer()
    Serialization.serialize(file, copied)
    foreach(close, (Serialization.deserialize(seekstart(file)), copied, stack, single))
    return nothing
end

"What a fit does but for the solver."
function observe_and_assemble(stack, sys)
    n, value = length(sys), (energy = -1.0, config_type = "some")
    atoms = [Atom(atom; forces = zeros(3)) for atom in sys]
    labelled = [FlexibleSystem(atoms; cell_vectors = cell_vectors(sys), periodicity = periodicity(sys), value..., extra...)
                for extra in ((; virial = zeros(3, 3)), (; stress = zeros(6)), (;))]
    data = reduce(vcat, [atoms_data([s], stack; weights = Dict("default" => (E = 1, F = 1, V = 1))) for s in labelled])
    sprint(show, MIME("text/plain"), observations(data))
    A, Y, W = assemble(data, stack; progress = false)
    smoothness_prior(stack)
    set_linear_parameters!(stack, get_linear_parameters(stack))
    set_committee!(stack, [get_linear_parameters(stack) for _ in 1:2])
    committee_mean_std(sys, stack)
    set_committee!(stack, nothing)
    for errors in (compute_errors(data, stack), compute_errors(labelled[1:1], stack))
        sprint(show, MIME("text/plain"), errors)
    end
    return data
end

# A library that Pkg.build makes later changes this folder, as setting its path changes a preference: the package is then compiled anew.
include_dependency("../deps")

@setup_workload try
    library()
    @compile_workload workload()
    HANDLE[] = C_NULL     # of this process alone
catch error
    @debug "nothing compiled ahead" error
end
