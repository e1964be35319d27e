# Which binding a session takes, by its preference.
using ACERust, Test

@testset "choice of the binding" begin
    "The binding of a new session, and what it says on the way."
    function session(preference)
        mktempdir() do environment
            write(joinpath(environment, "Project.toml"), """
                [extras]
                ACERust = "$(Base.PkgId(ACERust).uuid)"
                [preferences.ACERust]
                $preference
                """)
            paths = join([environment; LOAD_PATH], Sys.iswindows() ? ';' : ':')
            said = IOBuffer()
            command = `$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -e 'using ACERust; print(ACERust.PRESENT[])'`
            found = withenv("JULIA_LOAD_PATH" => paths) do
                readchomp(pipeline(command; stderr = said))
            end
            found, String(take!(said))
        end
    end
    there = haskey(ACERust.BINDINGS, :jlrs)
    @test session("") == (there && VERSION < v"1.12" ? "jlrs" : "ccall", "")
    @test session("binding = \"ccall\"") == ("ccall", "")
    there && @test session("binding = \"jlrs\"") == ("jlrs", "")
    ACERust.offer(:ccall, ACERust.BINDINGS[:ccall])   # as at the start
    @test ACERust.PRESENT[] == Symbol(session("")[1])
    found, said = session("binding = \"jlrs\"\njlrs_library_folder = \"nowhere\"")
    @test found == "ccall" && occursin("there is no $(ACERust.JLRS_FILE)", said)
    @test_throws "not \"rust\"" ACERust.set_binding!("rust")
end
