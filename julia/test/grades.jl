# Extrapolation grades: at most 1 where the potential was fitted, more elsewhere.
include("common.jl")

const SILICON = ACERust.repository("benchmark", "data", "Si_test.extxyz")

@testset "extrapolation grades" begin
    systems = labelled(StackedCalculator(sio_o2()))
    recipe = (elements = [:Si, :O], order = 1, degree = 3, rcut = 5.0, fit = (one_body = "composition",))
    (; calc) = ACERust.fit(recipe, systems; progress = false)
    set = active_set(recipe, systems)
    grader = Grader(calc, set)
    within = [extrapolation_grades(s, grader) for s in systems]
    @test maximum(maximum, within) <= 1.001 && minimum(minimum, within) > 0
    # As many atoms of each element are active as there are functions: they have grades of 1.
    @test count(≈(1; rtol = 1e-6), reduce(vcat, within)) >= 2 * ACERust.n_basis(calc)
    @test maximum(extrapolation_grades(silica(; scale = 0.75), grader)) > 2
    # The same of a file, of a calculator alone, and where parameters differ.
    path = tempname()
    write(path, set)
    single = Grader(WrappedSiteCalculator(ACERust.build_model(recipe)), ActiveSet(path); nthreads = 1)
    @test [extrapolation_grades(s, single) for s in systems] == within
    copied = deepcopy(single)
    GC.gc()
    @test extrapolation_grades(systems[1], copied) == within[1]
    @test sprint(show, single) == "Grader()"
    close(single)
    @test sprint(show, single) == "Grader(closed)"
    @test_throws "closed" extrapolation_grades(systems[1], single)
    @test sprint(show, set) == "ActiveSet($(filesize(path)) bytes)"
    # Frames of files.
    silicon = (elements = [:Si], order = 2, degree = 6, rcut = 4.5)
    other = active_set(silicon, SILICON)
    @test active_set(silicon, [SILICON]; nthreads = 1).bytes == other.bytes
    @test_throws "the active set is that of another model" Grader(calc, other)
    @test_throws "active set" Grader(calc, ActiveSet(UInt8[1, 2, 3]))
    @test_throws "no atoms were looked at" active_set(recipe, systems[1:0])
    @test_throws "fewer than 24 independent rows" active_set((; recipe..., degree = 6), systems)
    model = ACERust.build_model(recipe)
    two = StackedCalculator((WrappedSiteCalculator(model), WrappedSiteCalculator(model; skin = 0.1)))
    @test_throws "grades are of one potential" Grader(two, set)
end
