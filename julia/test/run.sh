#!/bin/sh
# Runs the tests with the packages that plain `julia` finds: set JULIA_PROJECT or JULIA_LOAD_PATH for others. Where they cannot be loaded,
# says so in a line that starts with SKIPPED, and succeeds.
cd "$(dirname "$0")" || exit 1
julia=${JULIA:-julia}
package=$(cd .. && pwd)

if ! "$julia" --startup-file=no -e 'exit(VERSION < v"1.10")' >/dev/null 2>&1; then
    echo "SKIPPED: the Julia tests, which need julia 1.10 or later on the PATH"
    exit 0
fi
# An environment that has this package is taken as it is; else the package is put beside it.
if ! "$julia" --startup-file=no -e 'exit(Base.find_package("ACERust") === nothing)' >/dev/null 2>&1; then
    JULIA_LOAD_PATH="${JULIA_LOAD_PATH:-}:$package"
    export JULIA_LOAD_PATH
fi
if ! "$julia" --startup-file=no -e 'using ACERust, AtomsBase, AtomsCalculators, StaticArrays, Unitful' >/dev/null 2>&1; then
    echo "SKIPPED: the Julia tests, which need AtomsBase, AtomsCalculators, Preferences, StaticArrays and Unitful in the environment"
    exit 0
fi
if [ -z "$ACERUST_LIBRARY" ]; then
    (cd ../.. && cargo build --release --quiet --lib) || exit 1
    for extension in so dylib; do
        built=$(cd ../.. && echo "${CARGO_TARGET_DIR:-$PWD/target}/release/libacerust.$extension")
        [ -f "$built" ] && ACERUST_LIBRARY=$built && export ACERUST_LIBRARY
    done
fi
# Most of the time goes into compiling: -O1.
exec "$julia" --startup-file=no -O1 --threads=2 runtests.jl
