using ACERust, Aqua, Test

@testset "Aqua" begin
    Aqua.test_all(ACERust; deps_compat = (check_extras = false,), persistent_tasks = false, stale_deps = false)
end
