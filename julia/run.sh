#!/bin/sh
# run.sh WHAT "PACKAGE …" SCRIPT [ARGUMENT …]: runs a script of this package with the packages that plain `julia` finds (set JULIA_PROJECT
# or JULIA_LOAD_PATH for others) and with the library of this source, built in the profile ACERUST_PROFILE (release). Where julia or a
# package is missing, says so in a line that starts with SKIPPED and WHAT, and succeeds. JULIA_FLAGS are passed on.
here=$(cd "$(dirname "$0")" && pwd)
julia=${JULIA:-julia}
what=$1
packages=$2
shift 2

if ! "$julia" --startup-file=no -e 'exit(VERSION < v"1.10")' >/dev/null 2>&1; then
    echo "SKIPPED: $what, which needs julia 1.10 or later on the PATH"
    exit 0
fi
# The package is put beside the environment, unless that has one already.
found=$("$julia" --startup-file=no -e 'print(something(Base.find_package("ACERust"), ""))')
if [ -z "$found" ]; then
    JULIA_LOAD_PATH="${JULIA_LOAD_PATH:-}:$here"
    export JULIA_LOAD_PATH
elif [ "$found" != "$here/src/ACERust.jl" ]; then
    echo "note: the environment has the ACERust of $found"
fi
lacks() {
    if [ -n "$1" ]; then
        echo "SKIPPED: $what, which needs packages that this environment does not have: $1"
        exit 0
    fi
}
lacks "$("$julia" --startup-file=no -e 'print(join(filter(name -> Base.find_package(name) === nothing, ARGS), ", "))' $packages)"
if [ -z "$ACERUST_LIBRARY" ]; then
    # With the binding by jlrs, where there are the headers of Julia and JlrsCore.
    JLRS_JULIA_DIR=$("$julia" --startup-file=no -e '
        root = dirname(Sys.BINDIR)
        headers = isfile(joinpath(root, "include", "julia", "julia_version.h"))
        headers && Base.find_package("JlrsCore") !== nothing && print(root)')
    export JLRS_JULIA_DIR
    profile=${ACERUST_PROFILE:-release}
    cd "$here/.." || exit 1
    ${CARGO:-cargo} build --profile "$profile" --quiet --lib -p acerust ${JLRS_JULIA_DIR:+-p acerust-jl} || exit 1
    [ "$profile" = dev ] && profile=debug
    for extension in so dylib; do
        built=${CARGO_TARGET_DIR:-$PWD/target}/$profile/libacerust.$extension
        [ -f "$built" ] && ACERUST_LIBRARY=$built && export ACERUST_LIBRARY
    done
    cd "$OLDPWD" || exit 1
fi
# Loaded with the library at hand: what it precompiles runs it.
"$julia" --startup-file=no -e 'using ACERust' >/dev/null 2>&1 || lacks "what ACERust depends on (julia/Project.toml)"
exec "$julia" --startup-file=no --threads=2 $JULIA_FLAGS "$@"
