#!/bin/sh
# Runs test/abi/smoke.jl with Julia 1.5 of Debian bullseye: julia15.sh path/to/libacerust.so
#
# The packages come once, from the Debian mirror that apt on this machine uses (or ACERUST_DEBIAN_MIRROR), into a cache of our
# own; the system and its apt stay as they are. Only where CI or ACERUST_FETCH is set (make setup: julia15.sh --fetch, which does no more).
# Where that is not possible the script says SKIPPED in one line and succeeds.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 path/to/libacerust.so | --fetch" >&2; exit 2; }
if [ "$1" != --fetch ]; then
    [ -f "$1" ] || { echo "$0: no library $1" >&2; exit 2; }
    library=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
fi
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/acerust/julia-1.5
prefix=$cache/root

skip() {
    echo "SKIPPED: Julia 1.5: $1"
    exit 0
}

# The first mirror of Debian proper among the sources of apt.
mirror() {
    cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list 2>/dev/null |
        grep -E '^(URIs:|deb )' | grep -oE '(https?|ftp)://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' '
}

# apt with its own lists, cache and status: nothing counts as installed, so that all that Julia needs is fetched.
private_apt() {
    apt-get -qq -o Dir::State="$cache/apt" -o Dir::State::status="$cache/apt/status" -o Dir::Cache="$cache/apt/cache" \
        -o Dir::Etc::sourcelist="$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Log="$cache/apt" \
        -o APT::Sandbox::User= -o APT::Install-Recommends=false -o Acquire::Check-Valid-Until=false \
        -o Acquire::Languages=none "$@"
}

install() {
    [ -n "${CI:-}${ACERUST_FETCH:-}" ] || skip "it is not here; make setup fetches it"
    for tool in apt-get dpkg; do
        command -v $tool >/dev/null || skip "no $tool on this machine"
    done
    url=${ACERUST_DEBIAN_MIRROR:-$(mirror)}
    [ -n "$url" ] || skip "no Debian mirror among the sources of apt; set ACERUST_DEBIAN_MIRROR"
    rm -rf "$cache"
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial" "$prefix"
    : >"$cache/apt/status"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] $url bullseye main" >"$cache/apt/sources.list"
    private_apt update >"$cache/log" 2>&1 || skip "the package lists of bullseye cannot be fetched from $url"
    private_apt --download-only --yes install julia >>"$cache/log" 2>&1 || skip "its packages cannot be fetched from $url"
    for package in "$cache"/apt/cache/archives/*.deb; do
        # The C library and the compiler's stay the system's: its dynamic linker fits no other.
        case $(basename "$package") in
        libc6_* | libc-bin_* | libcrypt1_* | libgcc-s1_* | libstdc++6_*) ;;
        *) dpkg -x "$package" "$prefix" ;;
        esac
    done
    rm -rf "$cache/apt"
    touch "$cache/complete"
}

[ -f "$cache/complete" ] || install
[ "$1" != --fetch ] || exit 0

libraries=$(find "$prefix" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
# Julia's own libraries want the symbols of the libgcc_s that the system's libstdc++ and Rust were built with.
LD_PRELOAD=$(ldconfig -p | sed -n 's/.*libgcc_s\.so\.1 .*x86-64.* => //p' | head -n 1)
export LD_PRELOAD LD_LIBRARY_PATH="$libraries" JULIA_NUM_THREADS=4 JULIA_DEPOT_PATH="$cache/depot"
exec "$prefix/usr/bin/julia" --startup-file=no "$here/smoke.jl" "$library"
