# The binding by jlrs. Its library extends the functions of `binding/interface.jl`, which is why they are imported.
module ACERustJlrsCoreExt

using ACERust: ACERust, JLRS_FILE, jlrs_library, offer
using JlrsCore: JlrsCore
using JlrsCore.Wrap: @initjlrs, @wrapmodule
using PrecompileTools: @compile_workload
import ACERust:
    assemble!, check_memory, committee_energy_forces_virial!, energy_forces_virial!, graph_build, graph_edges!, graph_from_edges, graph_n_edges,
    graph_update, is_open, list_device_energy_forces_virial!, list_energy_forces_virial!, list_new, model_basis_labels!,
    model_extract, model_from_json, model_from_reference_json, model_length_basis, model_linear_parameters!, model_load,
    model_log_prior!, model_n_basis, model_n_factors, model_n_parts, model_n_species, model_name, model_part_kind, model_rcut,
    model_save, model_species!, model_splinify, model_summary, model_to_json, plan_at, plan_model, plan_new, plan_set_committee,
    plan_set_linear_parameters, plan_set_threads, release, set_memory_limit, site_basis!, site_basis_jacobian!, site_energies!,
    site_grads!
import Libdl

"Why the library cannot be used, in words; `nothing` where it can. Asked before jlrs is started, which would not survive the answer."
function obstacle(path)
    library = Libdl.dlopen(path, Libdl.RTLD_LAZY | Libdl.RTLD_DEEPBIND; throw_error = false)
    library === nothing && return "cannot be loaded as a shared library"
    symbols = Libdl.dlsym.(library, (:acerust_jl_julia, :acerust_jl_jlrscore); throw_error = false)
    any(isnothing, symbols) && return "is not the binding by jlrs"
    minor, version = ccall(symbols[1], UInt32, ()), ccall(symbols[2], Int, ())
    minor == VERSION.minor || return "was built for Julia 1.$minor: build it again with Pkg.build(\"ACERust\")"
    version == JlrsCore.JLRS_API_VERSION ||
        return "needs a JlrsCore of API version $version, but version $(JlrsCore.JLRS_API_VERSION) is loaded"
    return nothing
end

"Does `f` while a library without a folder in its name is looked for beside `path`: only the name is compiled in."
function beside(f, path)
    pushfirst!(Libdl.DL_LOAD_PATH, dirname(path))
    try
        f()
    finally
        popfirst!(Libdl.DL_LOAD_PATH)
    end
end

const COMPILED = let path = jlrs_library()
    wrapped = path !== nothing && obstacle(path) === nothing
    if wrapped
        include_dependency(path)
        beside(() -> @wrapmodule(JLRS_FILE, :acerust_jl_init), path)
    end
    wrapped
end

# With these methods beside those over ccall, what the package compiled ahead is of no use any more. Here the calls still go over ccall.
COMPILED && try
    @compile_workload ACERust.workload()
catch error
    @debug "nothing compiled ahead" error
end

function __init__()
    path = jlrs_library()
    path === nothing && return nothing
    why = COMPILED ? obstacle(path) :
        "was of no use when its extension was compiled: remove the folder ACERustJlrsCoreExt of the compiled packages"
    if why === nothing
        beside(() -> @initjlrs, path)
        offer(:jlrs, open_library())
    else
        @warn "ACERust: $path $why. Going on with ccall."
    end
    return nothing
end

end
