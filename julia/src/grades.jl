# Extrapolation grades: how far atoms are from what a potential was fitted to. Over the C interface, whatever the binding.

"""
    ActiveSet(path)
    active_set(recipe, data) -> ActiveSet

What extrapolation grades are relative to: the basis of the training atoms that span the largest volume, by species. It is read from a file of
`acerust fit --active-set` or an `.asi` of pacemaker, or chosen among the atoms of `data`: names of files in extended XYZ, whose frames count
that a fit would use, or systems. `write(path, set)` makes a file of it.
"""
struct ActiveSet
    bytes::Vector{UInt8}
    ActiveSet(bytes::Vector{UInt8}) = isempty(bytes) ? throw(ArgumentError("an active set cannot be empty")) : new(bytes)
end
ActiveSet(path::AbstractString) = ActiveSet(read(path))
Base.write(io::IO, set::ActiveSet) = write(io, set.bytes)
Base.show(io::IO, set::ActiveSet) = print(io, "ActiveSet(", length(set.bytes), " bytes)")

"See [`ActiveSet`](@ref)."
function active_set(recipe, data; nthreads = 0)
    fit = new_fit(recipe_text(recipe), nthreads)
    try
        look!(fit, data)
        return ActiveSet(bytes((b, n, needed) -> @acerust acerust_fit_active_set(
            fit::Ptr{Cvoid}, b::Ptr{UInt8}, n::Csize_t, needed::Ptr{Csize_t}
        )))
    finally
        close(fit)
    end
end

function look!(fit, paths::Union{AbstractString,AbstractVector{<:AbstractString}})
    names = names_of(paths)
    @acerust acerust_fit_look(fit::Ptr{Cvoid}, names::Ptr{Cstring}, length(names)::Csize_t)
    return nothing
end

function look!(fit, systems)
    expect_systems(systems)
    for s in Iterators.map(Structure, systems)
        GC.@preserve s begin
            input = Ref(structure(C_NULL, s.numbers, pointer(s.positions), s.cell, s.pbc))
            @acerust acerust_fit_look_at(fit::Ptr{Cvoid}, input::Ptr{Input})
        end
    end
    return nothing
end

"""
    Grader(calc, set::ActiveSet; nthreads, device)

A calculator's basis with an active set, for [`extrapolation_grades`](@ref). Parameters are no matter but where the potential has an embedding: those of
now are taken. Of a stack there may be one member, or several with the same settings that are evaluated together, and no calculators of other packages.
"""
struct Grader
    plan::Plan
end
function Grader(calc::WrappedSiteCalculator, set::ActiveSet; nthreads = calc.settings.nthreads, device = calc.settings.device)
    plan = plan_new(model_from_json(CCall(), model_to_json(present_model(calc))), device_option(device), 0, NaN, nthreads_option(nthreads))
    bytes = set.bytes
    @acerust acerust_plan_active_set_from_file(plan::Ptr{Cvoid}, bytes::Ptr{UInt8}, length(bytes)::Csize_t)
    return Grader(plan)
end
function Grader(stack::StackedCalculator, set::ActiveSet; options...)
    isempty(foreign(stack)) && length(stack.fused) == 1 ||
        throw(ArgumentError("grades are of one potential, not of a stack of several or with calculators of other packages"))
    return Grader(present(only(stack.fused), stack), set; options...)
end
Base.close(grader::Grader) = close(grader.plan)
Base.show(io::IO, grader::Grader) = print(io, "Grader(", isopen(grader.plan) ? "" : "closed", ")")

"""
    extrapolation_grades(sys, grader) -> Vector{Float64}

The grade of every atom: up to 1 it lies within what the potential was fitted to; from 1.5 to 2 its structure is worth labelling; above 10
results are not to be trusted (Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017)). Huge for elements that no training structure had.
"""
function extrapolation_grades(sys::AbstractSystem, grader::Grader)
    s, plan = Structure(sys), grader.plan
    grade = Vector{Float64}(undef, length(s))
    run!(plan, () -> structure(C_NULL, s.numbers, pointer(s.positions), s.cell, s.pbc), s; grade)
    return grade
end
