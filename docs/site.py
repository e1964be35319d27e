"""The documentation as one site, and as a test.

    site.py build           target/docs/site/index.html, by mkdocs
    site.py test [PAGE …]   runs the pages, in target/docs/run

A page is run as a reader would: in a folder of its own, which has `benchmark` of the repository, block after block. A block with a title is a
file; `sh`, `python`, `julia`, `c` and `rust` are run, `text` is for reading. Commands that make something (make, pip, cargo) have been run before, by
whoever runs this: here they only have to exist. Python and Julia have one session a page, at its end. Comments like `<!-- sh … -->` are run as well. What a missing tool would run is SKIPPED, loudly.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# The folder of the program and the libraries.
BUILT = Path(os.environ.get("ACERUST_BUILT", TARGET / "release")).resolve()
PAGES = {
    "Start": "docs/index.md",
    "Command line": "docs/command-line.md",
    "Python and ASE": "python/README.md",
    "LAMMPS": "lammps/README.md",
    "Julia": "julia/README.md",
    "C": "docs/c.md",
    "Rust": "docs/rust.md",
    "From data to a potential": "docs/fit.md",
    "MACE models": "docs/mace.md",
    "PACE potentials": "docs/pace.md",
    "Equivariant operations": "docs/operations.md",
    "Model files": "docs/model-format.md",
    "Packaging": "docs/packaging.md",
}
BLOCK = re.compile(r'^(?:```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$|<!-- (?P<aside>sh|python|julia) (?P<hidden>.*?) -->)', re.M | re.S)
# What stands for what has been made: the target has to exist, the wheel to be there.
MADE = """set -euo pipefail
make() { command make --no-print-directory --dry-run -C "$ROOT" "$@" > /dev/null; }
pip() { python -c 'import acerust'; }
cargo() { command cargo metadata --no-deps --format-version 1 --manifest-path "$ROOT/Cargo.toml" > /dev/null; }
"""


def name(path):
    """Of a page in the site."""
    path = Path(path)
    return path.parent.name + ".md" if path.name == "README.md" else path.name


def build():
    source = TARGET / "docs" / "src"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for path in PAGES.values():
        text = (ROOT / path).read_text()
        # Where a page names another, the site has a link.
        for other in PAGES.values():
            if other != path:
                text = text.replace(f"`{other}`", f"[{other}]({name(other)})")
        source.joinpath(name(path)).write_text(text)
        for picture in re.findall(r"!\[[^\]]*\]\((\S+)\)", text):
            source.joinpath(picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy((ROOT / path).parent / picture, source / picture)
    nav = "".join(f"  - {title}: {name(path)}\n" for title, path in PAGES.items())
    config = TARGET / "docs" / "mkdocs.yml"
    config.write_text(
        f"site_name: ACERust\ndocs_dir: src\nsite_dir: site\nuse_directory_urls: false\nstrict: true\n"
        f"theme: readthedocs\nmarkdown_extensions:\n  - tables\n  - pymdownx.superfences\n  - pymdownx.highlight\nnav:\n{nav}"
    )
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--clean", "-f", config], check=True)
    print(TARGET / "docs" / "site" / "index.html")


def environment():
    tools = [BUILT, TARGET / "python" / "bin", TARGET / "lammps" / "venv" / "bin"]
    path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
    # More processes than cores: those that wait make room for the others.
    patience = {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1", "MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1"}
    libraries = {"LD_LIBRARY_PATH": str(BUILT), "LIBRARY_PATH": str(BUILT), "CPATH": str(ROOT / "include")}
    return {**os.environ, **patience, **libraries, "PATH": path, "ROOT": str(ROOT), "ACERUST_LIBRARY": str(BUILT / "libacerust.so")}


def command(language, text, folder):
    """How a block is run, or what is missing."""
    if language == "sh":
        return ["bash", "-c", MADE + text]
    if language == "julia":
        folder.joinpath("page.jl").write_text(text)
        used = {p.strip() for line in re.findall(r"^using (.*)", text, re.M) for p in line.split(",")} - {"ACERust"}
        return [ROOT / "julia" / "run.sh", folder.name, " ".join(sorted(used)), "page.jl"]
    program = {"c": "cc", "python": TARGET / "python" / "bin" / "python", "rust": "rustc"}[language]
    if not shutil.which(program):
        return str(program)
    if language == "python":
        # Of packages that take gigabytes.
        modules = set(re.findall(r"^import (\w+)", text, re.M))
        find = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not importlib.util.find_spec(m)])"
        missing = subprocess.run([program, "-c", find, *sorted(modules)], capture_output=True, text=True, check=True).stdout.strip()
        return missing or [program, "-c", text]
    if language == "c":
        folder.joinpath("main.c").write_text(text)
        return ["bash", "-ec", "cc -std=c99 -Wall -Wextra -Werror main.c -lacerust -lm -o main && ./main"]
    folder.joinpath("main.rs").write_text(text if "fn main()" in text else text + "fn main() {}\n")
    library = f"--edition 2024 -L dependency={BUILT}/deps --extern acerust={BUILT}/libacerust.rlib"
    serde = next(BUILT.glob("deps/libserde_json-*.rlib"), None)
    return ["bash", "-ec", f"rustc {library} --extern serde_json={serde} main.rs && ./main"]


def test(page):
    """The number of blocks that ran."""
    folder = TARGET / "docs" / "run" / Path(name(page)).stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.joinpath("benchmark").symlink_to(ROOT / "benchmark")
    folder.joinpath("target").symlink_to(TARGET)
    text, ran, sessions = ROOT.joinpath(page).read_text(), 0, {}
    fences = len(re.findall(r"^```", text, re.M))
    blocks = list(BLOCK.finditer(text))
    assert fences == 2 * sum(b["language"] is not None for b in blocks), f"{page}: a block without a language"
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        language, body = block["language"] or block["aside"], block["text"] or block["hidden"]
        if block["title"]:
            folder.joinpath(block["title"]).write_text(body)
            continue
        if language == "text":
            continue
        if language in ("python", "julia"):
            sessions.setdefault(language, []).append(body)
        else:
            ran += execute(f"{page}:{line}", command(language, body, folder), folder)
    for language, bodies in sessions.items():
        ran += len(bodies) * execute(f"{page}: {language}", command(language, "\n".join(bodies), folder), folder)
    return ran


def execute(where, run, folder):
    """Was it run? What fails ends the program."""
    if isinstance(run, str):
        print(f"SKIPPED: {where}: no {run}")
        return False
    done = subprocess.run(run, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{where}: exit status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    if done.stdout.startswith("SKIPPED"):
        print(done.stdout, end="")
        return False
    return True


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build"]:
            build()
        case ["test", *pages]:
            for page in pages or PAGES.values():
                print(f"{page}: {test(page)} blocks", flush=True)
        case _:
            sys.exit(__doc__)
