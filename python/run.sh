#!/bin/sh
# run.sh build: the wheel, into target/wheels. run.sh test: its tests. run.sh tools PACKAGE …: installs these. All with tools from PyPI, in the environment target/python.
set -e
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../target}
venv=$target/python
profile=${ACERUST_PROFILE:-release}
[ -x "$venv/bin/maturin" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "maturin>=1.8,<2"; }
case $1 in
build)
    rm -f "$target"/wheels/acerust-*.whl
    "$venv/bin/maturin" build --quiet --manifest-path "$here/Cargo.toml" --profile "$profile" --out "$target/wheels"
    ;;
test)
    shift
    "$venv/bin/python" -c 'import ase, pytest' 2>/dev/null || "$venv/bin/pip" install --quiet ase pytest
    "$venv/bin/pip" install --quiet --force-reinstall --no-deps "$target"/wheels/acerust-*.whl
    exec "$venv/bin/python" -m pytest -q -rs "$here/test" "$@"
    ;;
tools)
    shift
    "$venv/bin/pip" install --quiet "$@"
    ;;
*)
    echo "usage: run.sh build|test|tools" >&2
    exit 2
    ;;
esac
