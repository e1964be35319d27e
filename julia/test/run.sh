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
if ! JULIA_LOAD_PATH="${JULIA_LOAD_PATH:-}:" "$julia" --startup-file=no -e '
    needed = ("AtomsBase", "AtomsCalculators", "Preferences", "StaticArrays", "Unitful")
    exit(all(name -> Base.find_package(name) !== nothing, needed) ? 0 : 1)' >/dev/null 2>&1; then
    echo "SKIPPED: the Julia tests, which need AtomsBase, AtomsCalculators, Preferences, StaticArrays and Unitful in the environment"
    exit 0
fi
# An environment that has this package already is taken as it is, with the package's extensions; else the package is put beside it.
if ! "$julia" --startup-file=no -e 'exit(Base.find_package("ACERust") === nothing)' >/dev/null 2>&1; then
    JULIA_LOAD_PATH="${JULIA_LOAD_PATH:-}:$package"
    export JULIA_LOAD_PATH
fi
exec "$julia" --startup-file=no --threads=2 runtests.jl
