#!/bin/sh
# Runs the tests with the packages that plain `julia` finds; see ../run.sh. Most of the time goes into compiling: -O1.
cd "$(dirname "$0")" || exit 1
JULIA_FLAGS="-O1 $JULIA_FLAGS" exec ../run.sh "the Julia tests" "AtomsBase AtomsCalculators StaticArrays Unitful" runtests.jl "$@"
