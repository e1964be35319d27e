# Committees: several sets of linear parameters, evaluated together from one pass over the basis.

"""
    set_committee!(calc, θs) -> calc

Sets the committee: one set of linear parameters a column, (length_basis, n_members), or a vector of such sets; `nothing` removes it.
The calculator's own parameters stay.
"""
function set_committee!(calc::Calculator, θs::AbstractVector{<:AbstractVector})
    allequal(length.(θs)) || throw(DimensionMismatch("committee members have different lengths: $(join(length.(θs), ", "))"))
    return set_committee!(calc, isempty(θs) ? nothing : reduce(hcat, θs))
end

function set_committee!(calc::Calculator, θs::Union{Nothing,AbstractMatrix})
    replace_committee!(calc, checked_committee(calc, θs))
    return calc
end

"A copy of a committee that fits a calculator, as `checked_parameters`."
checked_committee(::Calculator, ::Nothing) = nothing
function checked_committee(calc::Calculator, θs::AbstractMatrix)
    passes_messages(calc) && throw(ArgumentError("a MACE model has no linear parameters for a committee"))
    expect_parameters(size(θs, 1), length_basis(calc))
    is_number(x) = x isa Real && isfinite(x)
    all(is_number, θs) && return Matrix{Float64}(θs)
    place = findfirst(!is_number, θs)
    k, member = Tuple(place)
    found = θs[place] isa Real ? "not finite" : "$(repr(θs[place])), not a real number"
    throw(ArgumentError("committee member $member: linear parameter $k is $found"))
end

function replace_committee!(calc::WrappedSiteCalculator, θs::Union{Nothing,Matrix{Float64}})
    @lock calc.lock begin
        calc.members = θs
        calc.version += 1
    end
    return nothing
end

function replace_committee!(stack::StackedCalculator, θs::Union{Nothing,Matrix{Float64}})
    for (calc, columns) in zip(stack.calcs, blocks(stack))
        calc isa Calculator && replace_committee!(calc, θs === nothing ? nothing : θs[columns, :])
    end
    return nothing
end

"The number of committee members; 0 where there is no committee."
n_members(calc::WrappedSiteCalculator) = (members = calc.members; members === nothing ? 0 : size(members, 2))
function n_members(stack::StackedCalculator)
    numbers = Int[n_members(calc) for calc in ours(stack)]
    return isempty(numbers) || !allequal(numbers) ? 0 : first(numbers)
end

"""
    committee_energy_forces_virial(sys, calc; nthreads, precision) -> (; energies, forces, virials)

The results of every committee member: (n_members), eV; (n_atoms, n_members) of `SVector{3}`, eV/Å; (n_members) of `SMatrix{3,3}`, eV.
Calculators of other packages in a stack contribute the same to each.
"""
function committee_energy_forces_virial(sys::AbstractSystem, calc::Calculator; options...)
    expect_options(options)
    m = n_members(calc)
    m > 0 || throw(ArgumentError("this calculator has no committee: see set_committee!"))
    E, F, V = zeros(m), zeros(SVector{3,Float64}, length(sys), m), zeros(SMatrix{3,3,Float64,9}, m)
    add_committee!(E, F, V, sys, calc; options...)
    return (energies = E * u"eV", forces = collect(reinterpret(SVector{3,FORCE}, F)), virials = V .* u"eV")
end

function add_committee!(E, F, V, sys, calc::WrappedSiteCalculator; options...)
    s = Structure(sys)
    handle = plan(calc; options...)
    n, m = size(F)
    e, f, v = similar(E), Array{Float64}(undef, 3, n, m), Array{Float64}(undef, 3, 3, m)
    with_list(list -> committee_energy_forces_virial!(handle, list, e, f, v), calc, s)
    E .+= e
    F .+= columns(f)
    V .+= [SMatrix{3,3}(w)' for w in eachslice(v; dims = 3)]   # row by row in memory
    return nothing
end

function add_committee!(E, F, V, sys, stack::StackedCalculator; options...)
    for fused in stack.fused
        add_committee!(E, F, V, sys, present(fused, stack); options...)
    end
    foreach(calc -> add_committee!(E, F, V, sys, calc; options...), foreign(stack))
    return nothing
end

function add_committee!(E, F, V, sys, calc; options...)
    e, f, v = Ref(0.0), no_forces(sys), no_virial()
    evaluate!(e, f, v, sys, calc; options...)
    E .+= e[]
    F .+= f
    V .+= Ref(v[])
    return nothing
end

"The energy of every committee member, (n_members), eV."
committee_energies(sys::AbstractSystem, calc::Calculator; options...) = committee_energy_forces_virial(sys, calc; options...).energies

"The forces of every committee member, (n_atoms, n_members), eV/Å."
committee_forces(sys::AbstractSystem, calc::Calculator; options...) = committee_energy_forces_virial(sys, calc; options...).forces

"""
    committee_mean_std(sys, calc; nthreads, precision) -> (; mean, std)

Mean and sample standard deviation over the committee of energy, forces (each component) and virial, as
`(; energy, forces, virial)` each. One member has a deviation of 0.
"""
function committee_mean_std(sys::AbstractSystem, calc::Calculator; options...)
    (; energies, forces, virials) = committee_energy_forces_virial(sys, calc; options...)
    members = collect(eachcol(forces))
    e, f, v = mean_std.((energies, members, virials))
    pick(k) = (energy = e[k], forces = f[k], virial = v[k])
    return (mean = pick(1), std = pick(2))
end

function mean_std(members)
    mean = sum(members) / length(members)
    squares = sum(x -> abs2_each(x - mean), members)
    return mean, sqrt_each(squares / max(length(members) - 1, 1))
end
abs2_each(x::Number) = abs2(x)
abs2_each(x) = map(abs2_each, x)
sqrt_each(x::Number) = sqrt(x)
sqrt_each(x) = map(sqrt_each, x)

"""
    @committee f(sys, calc; …) -> (value, values)

What the calculator says, and what each member of its committee says: `f` is `potential_energy`, `forces` or `virial` of AtomsCalculators.
"""
macro committee(call)
    Meta.isexpr(call, :call) || throw(ArgumentError("@committee takes a call f(sys, calc), not $call"))
    f, arguments = call.args[1], call.args[2:end]
    options = filter(x -> Meta.isexpr(x, :parameters), arguments)
    return esc(Expr(:call, GlobalRef(@__MODULE__, :committee), options..., f, setdiff(arguments, options)...))
end

committee(f::typeof(AtomsCalculators.potential_energy), sys, calc::Calculator; options...) =
    f(sys, calc; options...), committee_energies(sys, calc; options...)
committee(f::typeof(AtomsCalculators.forces), sys, calc::Calculator; options...) =
    f(sys, calc; options...), collect.(eachcol(committee_forces(sys, calc; options...)))
committee(f::typeof(AtomsCalculators.virial), sys, calc::Calculator; options...) =
    f(sys, calc; options...), committee_energy_forces_virial(sys, calc; options...).virials
committee(f, sys, calc::Calculator; options...) =
    throw(ArgumentError("$f has no committee: potential_energy, forces and virial have"))
