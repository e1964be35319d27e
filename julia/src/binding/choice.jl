# Which binding answers: ccall where other threads may collect garbage during its calls, which is from Julia 1.12 on; before, jlrs where it
# was built and JlrsCore can be loaded. A preference is for the one or the other.

const JLRSCORE = Base.PkgId(Base.UUID("29be08bc-e5fd-4da2-bbc1-72011c6ea2c9"), "JlrsCore")
const JLRS_FILE = (Sys.iswindows() ? "acerust_jl." : "libacerust_jl.") * Libdl.dlext

"The bindings of this session by their names, and the name of the one that makes models and graphs."
const BINDINGS = Dict{Symbol,Binding}(:ccall => CCall())
const PRESENT = Ref(:ccall)

binding() = BINDINGS[PRESENT[]]

"Adds a binding, which is the present one where it is the preferred one, or none is preferred."
function offer(name::Symbol, new::Binding)
    BINDINGS[name] = new
    preferred() in (nothing, String(name)) && (PRESENT[] = name)
    return nothing
end

preferred() = load_preference(@__MODULE__, "binding", VERSION >= v"1.12" ? "ccall" : nothing)

"""
    set_binding!(name)

Sets the preference `binding` for later sessions: `"ccall"`, `"jlrs"`, or `nothing` for the usual one: ccall from Julia 1.12 on, before jlrs
where it was built and JlrsCore is in the environment.
"""
function set_binding!(name::Union{Nothing,AbstractString})
    name in (nothing, "ccall", "jlrs") || throw(ArgumentError("the binding is \"ccall\" or \"jlrs\", not $(repr(name))"))
    @set_preferences!("binding" => name)
    return name
end

"""
    jlrs_library() -> String or nothing

The shared library of the jlrs binding: in the folder that the preference `jlrs_library_folder` says, else beside libacerust.
"""
function jlrs_library()
    found = find_library()
    beside = found === nothing ? nothing : dirname(last(found))
    folder = load_preference(@__MODULE__, "jlrs_library_folder", beside)
    folder === nothing && return nothing
    path = abspath(joinpath(folder, JLRS_FILE))
    return isfile(path) ? path : nothing
end

function __init__()
    # What is compiled now is not to depend on a binding.
    (@ccall jl_generating_output()::Cint) == 0 || return nothing
    wanted = preferred()
    wanted == "ccall" && return nothing
    missing_part =
        jlrs_library() === nothing ? "there is no $JLRS_FILE beside libacerust: build it with Pkg.build(\"ACERust\")" :
        Base.locate_package(JLRSCORE) === nothing ? "JlrsCore is not in the environment" : nothing
    if missing_part === nothing
        Base.require(JLRSCORE)   # the extension on it calls `offer`
    elseif wanted == "jlrs"
        @warn "ACERust: the preference is for the binding by jlrs, but $missing_part. Going on with ccall."
    end
    return nothing
end
