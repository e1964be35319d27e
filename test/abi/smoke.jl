# Energy, forces, errors and threads across the C ABI by `ccall`: julia smoke.jl path/to/libacerust.so
using Libdl

const LIB = dlopen(ARGS[1])
const ROOT = joinpath(@__DIR__, "..", "..")
const TOLERANCE = 1e-10

symbol(name) = dlsym(LIB, name)

function last_error()
    message = zeros(UInt8, 1024)
    n = ccall(symbol(:acerust_last_error), Csize_t, (Ptr{UInt8}, Csize_t), message, length(message))
    return String(message[1:n-1])
end

ok(status) = status == 0 || error("status $status: ", last_error())

struct Options
    size::Csize_t
    n_threads::Csize_t
    tolerance::Cdouble
    radial::Int32
    instruction_set::Int32
end

struct Atoms
    numbers::Vector{Int32}
    positions::Matrix{Float64}
    cell::Vector{Float64}
    pbc::Vector{Int32}
end

struct Results
    energy::Float64
    forces::Matrix{Float64}
    virial::Vector{Float64}
end

# Silicon only, in the columns and keys that test/capi/smoke.rs writes.
function read_atoms(path)
    lines = readlines(path)
    n = parse(Int, lines[1])
    numbers(key, stop) = parse.(Float64, split(match(Regex(" ?$key([^$stop]*)"), lines[2])[1]))
    columns = hcat((parse.(Float64, split(line)[2:7]) for line in lines[3:2+n])...)
    atoms = Atoms(fill(Int32(14), n), columns[1:3, :], numbers("Lattice=\"", "\""), ones(Int32, 3))
    return atoms, Results(only(numbers(" energy=", " ")), columns[4:6, :], numbers("virial=\"", "\""))
end

function load(path)
    model, plan = Ref{Ptr{Cvoid}}(C_NULL), Ref{Ptr{Cvoid}}(C_NULL)
    ok(ccall(symbol(:acerust_model_load), Int32, (Cstring, Ref{Ptr{Cvoid}}), path, model))
    options = Ref(Options(sizeof(Options), 1, 0, 0, 0))
    ok(ccall(symbol(:acerust_plan_new), Int32,
        (Ptr{Cvoid}, Int32, Int32, Int32, Ref{Options}, Ref{Ptr{Cvoid}}), model[], 0, 0, 0, options, plan))
    ok(ccall(symbol(:acerust_model_free), Int32, (Ptr{Cvoid},), model[]))
    return plan[]
end

struct Input   # acerust_input
    size::Csize_t
    graph::Ptr{Cvoid}
    list::Ptr{Cvoid}
    n_atoms::Csize_t
    numbers::Ptr{Int32}
    positions::Ptr{Float64}
    cell::Ptr{Float64}
    pbc::Ptr{Int32}
    stream::Ptr{Cvoid}
    on_device::Int32
end

# acerust_outputs as far as the virial: what follows is 0.
struct Outputs
    size::Csize_t
    energy::Ptr{Float64}
    site_energies::Ptr{Float64}
    n_site_energies::Csize_t
    forces::Ptr{Float64}
    n_forces::Csize_t
    virial::Ptr{Float64}
    n_virial::Csize_t
end

function evaluate(plan, a)
    n = length(a.numbers)
    energy, forces, virial = [NaN], fill(NaN, 3, n), fill(NaN, 9)
    GC.@preserve a energy forces virial begin
        input = Ref(Input(sizeof(Input), C_NULL, C_NULL, n, pointer(a.numbers), pointer(a.positions), pointer(a.cell), pointer(a.pbc),
            C_NULL, 0))
        outputs = Ref(Outputs(sizeof(Outputs), pointer(energy), C_NULL, 0, pointer(forces), length(forces), pointer(virial), 9))
        ok(ccall(symbol(:acerust_evaluate), Int32, (Ptr{Cvoid}, Ref{Input}, Ref{Outputs}), plan, input, outputs))
    end
    return Results(energy[1], forces, virial)
end

function compare(found, expected)
    for what in fieldnames(Results)
        a, b = getfield(found, what), getfield(expected, what)
        err = maximum(abs.(a .- b)) / maximum(abs.(b))
        println("  ", rpad(what, 8), " error ", round(err, sigdigits=2))
        err <= TOLERANCE || error("$what is wrong by $err")
    end
end

function main()
    println("acerust ", unsafe_string(ccall(symbol(:acerust_version), Cstring, ())), " from Julia ", VERSION)
    ccall(symbol(:acerust_abi_version), UInt32, ()) == 2 || error("another ABI version")
    atoms, expected = read_atoms(joinpath(@__DIR__, "si_fit.xyz"))
    plan = load(joinpath(ROOT, "benchmark", "models", "si_fit.json"))
    found = evaluate(plan, atoms)
    compare(found, expected)

    Threads.nthreads() > 1 || println("  one thread only: set JULIA_NUM_THREADS")
    for n_threads in (1, 3)
        ok(ccall(symbol(:acerust_plan_set_threads), Int32, (Ptr{Cvoid}, Csize_t), plan, n_threads))
        results = Vector{Any}(undef, 8 * Threads.nthreads())
        Threads.@threads for k in eachindex(results)
            results[k] = evaluate(plan, atoms)
        end
        same(a, b) = all(getfield(a, f) == getfield(b, f) for f in fieldnames(Results))
        all(same(r, found) for r in results) || error("threads disagree")
    end
    println("  ", Threads.nthreads(), " threads agree bit by bit")

    atoms.numbers[4] = 8
    message = try
        evaluate(plan, atoms)
        "nothing"
    catch e
        e.msg
    end
    message == "status 5: argument: atom 3 is O; the model knows Si" || error("not the error expected: ", message)
    println("  ", message)
    ok(ccall(symbol(:acerust_plan_free), Int32, (Ptr{Cvoid},), plan))
    status = ccall(symbol(:acerust_plan_free), Int32, (Ptr{Cvoid},), plan)
    status == 7 || error("freed twice: status $status")
    println("OK")
end

main()
