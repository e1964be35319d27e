#!/bin/sh
# run.sh FOLDER: installs into FOLDER/prefix and uses it as others will. MAKE, PROFILE and ABI come from the Makefile.
set -e
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$1"
out=$(cd "$1" && pwd)
model=$root/benchmark/models/si_fit.json
strict="-Wall -Wextra -Wpedantic -Werror"
rm -rf "$out/prefix" "$out/stage" "$out/programs"
mkdir -p "$out/programs"

$MAKE --no-print-directory -C "$root" install PROFILE="$PROFILE" PREFIX="$out/prefix" >/dev/null
"$out/prefix/bin/acerust" --version
readelf -d "$out/prefix/lib/libacerust.so" | grep -q "soname: \[libacerust.so.$ABI\]"
# Nothing but the C ABI is exported.
nm -D --defined-only "$out/prefix/lib/libacerust.so" | awk '$2 != "A" { print $3 }' | grep -v '^acerust_' && exit 1
for page in acerust acerust-eval acerust-fit; do test -s "$out/prefix/share/man/man1/$page.1"; done
for file in bash-completion/completions/acerust.bash fish/vendor_completions.d/acerust.fish zsh/site-functions/_acerust; do
    grep -q compare "$out/prefix/share/$file"
done
echo "installed: program, manual, completions, library"

for standard in c99 c11; do cc -std=$standard $strict -I"$out/prefix/include" -fsyntax-only "$here/main.c"; done
c++ -std=c++17 $strict -x c++ -I"$out/prefix/include" -fsyntax-only "$here/main.c"
echo "the header: C99, C11 and C++17 without warnings"

flags=$(PKG_CONFIG_PATH=$out/prefix/lib/pkgconfig pkg-config --cflags --libs acerust)
cc -std=c99 $strict "$here/main.c" $flags -lm -o "$out/programs/by_pkg_config"
LD_LIBRARY_PATH=$out/prefix/lib "$out/programs/by_pkg_config" "$model"
echo "pkg-config"

# A package is staged, and its prefix moved at times: CMake finds its way.
mv "$out/prefix" "$out/stage"
cmake -S "$here" -B "$out/programs/cmake" -DCMAKE_PREFIX_PATH="$out/stage" >/dev/null
cmake --build "$out/programs/cmake" >/dev/null
"$out/programs/cmake/main" "$model"
echo "CMake"

$MAKE --no-print-directory -C "$root" install PROFILE="$PROFILE" DESTDIR="$out/stage" PREFIX=/opt/acerust >/dev/null
test -x "$out/stage/opt/acerust/bin/acerust"
grep -qx 'prefix=/opt/acerust' "$out/stage/opt/acerust/lib/pkgconfig/acerust.pc"
$MAKE --no-print-directory -C "$root" uninstall DESTDIR="$out/stage" PREFIX=/opt/acerust >/dev/null
left=$(find "$out/stage/opt" ! -type d)
test -z "$left" || { echo "left behind: $left"; exit 1; }
echo "DESTDIR and uninstall"
