# Builds cwl-sink: the library, its small agent and the test endpoint. Runs the tests, the checks and the benches.
#
# Rust, cc, make and Python 3 must be there. `make test`, `make demo` and `make check` install what else they need.
# The Rust targets are phony: cargo decides what is stale.

CARGO  ?= cargo
PYTHON ?= python3
CFLAGS ?= -O2 -g

# The tests rely on these paths.
export CARGO_TARGET_DIR := $(CURDIR)/target
export PYTHONDONTWRITEBYTECODE := 1

RELEASE := target/release
LIBRARY := $(RELEASE)/libcwl_sink.so
C_TESTS := target/c_tests
VENV    := .venv
VENV_OK := $(VENV)/installed-requirements.txt
BENCH_VENV    := $(VENV)/bench
BENCH_VENV_OK := $(BENCH_VENV)/installed-requirements.txt
LINT_VENV     := $(VENV)/lint
LINT_VENV_OK  := $(LINT_VENV)/installed-requirements.txt

C99     := -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -pedantic -Iinclude
CXX17   := -std=c++17 -Wall -Wextra -Werror -pedantic -Iinclude
LINK    := -L$(RELEASE) -lcwl_sink

SHIP_SOURCES := examples/c/cwl-ship.c $(wildcard examples/c/cwl-ship/*.c)
SHIP_HEADERS := $(wildcard examples/c/cwl-ship/*.h)

BENCH_HOST    := target/bench/isolation_host
BENCH_SOURCES := $(wildcard benches/isolation/*.c)

# Three programs: one that measures most figures, one that replaces malloc, and one that is not linked with the library.
PERFORMANCE          := benches/performance
PERFORMANCE_COMMON   := $(addprefix $(PERFORMANCE)/,lines.c process.c sink.c)
PERFORMANCE_SOURCES  := $(filter-out %/allocations.c %/start.c,$(wildcard $(PERFORMANCE)/*.c))
PERFORMANCE_NEEDS    := $(wildcard $(PERFORMANCE)/*.h) include/cwl_sink.h Makefile
PERFORMANCE_PROGRAMS := $(addprefix target/bench/performance_,host allocations start)

# Builds the cdylib alone, because cargo omits LTO when it builds an rlib along with it. `make header` and the test of
# the header need the same command.
BUILD_LIBRARY := $(CARGO) rustc --locked --release --lib --crate-type cdylib

.DEFAULT_GOAL := all
# The slow steps use all cores by themselves, and two installations at once would compete for apt's lock.
.NOTPARALLEL:
.PHONY: all install uninstall build library cwl-local header docs demo test simulate mutations kill-test bench bench-isolation bench-profile bench-reference check deny clean distclean help c-tests tools

all: header build ## Build the library, cwl-ship and cwl-local, and renew include/cwl_sink.h

build: library cwl-local $(RELEASE)/cwl-ship

library:
	$(BUILD_LIBRARY)
	@ln -sfn libcwl_sink.so $(LIBRARY).0

# In the library's profile, LTO included, because both share most dependencies. A profile without LTO would compile all
# of them a second time, which takes twice as long.
cwl-local: library
	$(CARGO) build --locked --release -p cwl-local

# The library is an order-only prerequisite: a new library with the same header needs no new program.
$(RELEASE)/cwl-ship: $(SHIP_SOURCES) $(SHIP_HEADERS) include/cwl_sink.h Makefile | library
	$(CC) $(CFLAGS) $(C99) $(SHIP_SOURCES) -o $@ $(LDFLAGS) $(LINK) -lpthread -Wl,-rpath,'$$ORIGIN'

$(BENCH_HOST): $(BENCH_SOURCES) $(wildcard benches/isolation/*.h) include/cwl_sink.h Makefile | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $(BENCH_SOURCES) -o $@ $(LDFLAGS) $(LINK) -lpthread -Wl,-rpath,'$$ORIGIN/../release'

target/bench/performance_host: $(PERFORMANCE_SOURCES) $(PERFORMANCE_NEEDS) | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $(PERFORMANCE_SOURCES) -o $@ $(LDFLAGS) $(LINK) -lpthread -Wl,-rpath,'$$ORIGIN/../release'

target/bench/performance_allocations: $(PERFORMANCE)/allocations.c $(PERFORMANCE_COMMON) $(PERFORMANCE_NEEDS) | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $< $(PERFORMANCE_COMMON) -o $@ $(LDFLAGS) $(LINK) -Wl,-rpath,'$$ORIGIN/../release'

target/bench/performance_start: $(PERFORMANCE)/start.c $(PERFORMANCE)/process.c $(PERFORMANCE_NEEDS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $< $(PERFORMANCE)/process.c -o $@ $(LDFLAGS) -ldl

header: library ## Copy the header that the build made to include/
	@built=$$($(BUILD_LIBRARY) --quiet --message-format=json-render-diagnostics | $(PYTHON) scripts/built_header.py) \
	    && { cmp -s "$$built" include/cwl_sink.h || { cp "$$built" include/cwl_sink.h && echo "renewed include/cwl_sink.h"; }; }

docs: ## Write the documents that are made from the code: docs/CONFIGURATION.md and the table in README.md
	UPDATE_DOCS=1 $(CARGO) test --locked --test documents

PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
DESTDIR ?=
VERSION  = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"$$/\1/p' Cargo.toml)
SONAME   = libcwl_sink.so.$(shell sed -n 's/^.define CWL_ABI_MAJOR //p' include/cwl_sink.h)
MANDIR   = $(PREFIX)/share/man

# Builds the library only when there is none, so that an installation as root builds nothing.
$(LIBRARY):
	@$(MAKE) --no-print-directory library

# The program finds the installed library in the usual folders of the linker, not in the folder of the build.
install: $(LIBRARY) ## Install the library, its header and cwl-ship: make install PREFIX=/usr DESTDIR=... LIBDIR=...
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/bin
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man3
	install -m 755 $(LIBRARY) $(DESTDIR)$(LIBDIR)/libcwl_sink.so.$(VERSION)
	ln -sfn libcwl_sink.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sfn $(SONAME) $(DESTDIR)$(LIBDIR)/libcwl_sink.so
	install -m 644 include/cwl_sink.h $(DESTDIR)$(PREFIX)/include/cwl_sink.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' packaging/cwl_sink.pc.in \
	    >$(DESTDIR)$(LIBDIR)/pkgconfig/cwl_sink.pc
	$(CC) $(CFLAGS) $(C99) $(SHIP_SOURCES) -o $(DESTDIR)$(PREFIX)/bin/cwl-ship $(LDFLAGS) $(LINK) -lpthread
	install -m 644 packaging/cwl-ship.1 $(DESTDIR)$(MANDIR)/man1/cwl-ship.1
	install -m 644 packaging/cwl_sink.3 $(DESTDIR)$(MANDIR)/man3/cwl_sink.3

uninstall: ## Remove what make install has put there
	rm -f $(DESTDIR)$(LIBDIR)/libcwl_sink.so $(DESTDIR)$(LIBDIR)/$(SONAME) $(DESTDIR)$(LIBDIR)/libcwl_sink.so.$(VERSION)
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/cwl_sink.pc $(DESTDIR)$(PREFIX)/include/cwl_sink.h
	rm -f $(DESTDIR)$(PREFIX)/bin/cwl-ship $(DESTDIR)$(MANDIR)/man1/cwl-ship.1 $(DESTDIR)$(MANDIR)/man3/cwl_sink.3

demo: build $(VENV_OK) ## Ship a real log of this machine to cwl-local, read it back and compare
	@$(VENV)/bin/python scripts/demo.py

test: tools build c-tests $(VENV_OK) ## Run every test suite
	@$(VENV)/bin/python scripts/run_tests.py

SEEDS ?= 2000
HASH  ?=
simulate: ## Simulate the delivery contract: make simulate SEEDS=20000 (HASH=1 prints one number for all runs)
	SEEDS=$(SEEDS) $(if $(HASH),HASH=$(HASH)) $(CARGO) test --locked --test simulation -- $(if $(HASH),--nocapture)

mutations: ## Break each promise in a copy of the code and check that the tests notice (30 minutes)
	@$(PYTHON) scripts/mutate.py

KILLS ?= 50
SEED  ?=

kill-test: build $(VENV_OK) ## Kill cwl-ship KILLS times while its file rotates, and count the lines (SEED=N replays)
	@$(VENV)/bin/python tests/outside/kill_test.py --kills $(KILLS) $(if $(SEED),--seed $(SEED))

# Set here unconditionally, because a shell may export its own SECONDS.
SECONDS      := 20
FAULTS_AFTER ?= 0
ONLY         ?=
REPEAT       ?= 1
SET          ?=

RUNS   := 5
EVENTS := 5000000

bench: library cwl-local bench-reference $(PERFORMANCE_PROGRAMS) $(BENCH_VENV_OK) ## Measure what an event costs, and judge it (13 minutes; less: RUNS=2 EVENTS=500000 ONLY="push size")
	@$(BENCH_VENV)/bin/python $(PERFORMANCE)/run.py --runs $(RUNS) --events $(EVENTS) --only "$(ONLY)"

bench-profile: cwl-local target/bench/performance_host ## Show where the CPU time goes, by callgrind (5 minutes)
	@PYTHON="$(PYTHON)" CXX="$(CXX)" scripts/need.sh valgrind
	$(CARGO) rustc --locked --profile profiling --lib --crate-type cdylib
	@$(PYTHON) $(PERFORMANCE)/profile_host.py

# Measures the AWS SDK and zlib at the same work. The program does not use the library.
bench-reference:
	$(CARGO) build --locked --profile reference -p cwl-bench-reference

bench-isolation: library cwl-local $(BENCH_HOST) $(BENCH_VENV_OK) ## Measure what failing targets cost the others, and what they get (20 minutes; less: SECONDS=6 ONLY="denied_10 silent_10"; REPEAT=50; SET="concurrency=8")
	@$(BENCH_VENV)/bin/python benches/isolation/run.py --seconds $(SECONDS) --faults-after $(FAULTS_AFTER) --only "$(ONLY)" --repeat $(REPEAT) --set $(SET)

# The generated header has cbindgen's layout.
FORMATTED_C := git ls-files '*.c' '*.h' ':!include/cwl_sink.h'

check: $(LINT_VENV_OK) ## Check formatting and lints of Rust, Python and C; every warning is an error
	$(LINT_VENV)/bin/ruff check --quiet
	$(LINT_VENV)/bin/ruff format --check
	$(FORMATTED_C) | xargs $(LINT_VENV)/bin/clang-format --dry-run -Werror
	$(PYTHON) scripts/mutate.py --check
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	@$(MAKE) --no-print-directory deny

CARGO_DENY_VERSION := 0.20.2

# Installed for the user, not into target/, so that only the first check on a machine takes the two minutes.
deny: ## Check licences, sources and versions of the dependencies (installs cargo-deny if it is missing)
	@$(CARGO) deny --version >/dev/null 2>&1 \
	    || env -u CARGO_TARGET_DIR $(CARGO) install --locked cargo-deny --version $(CARGO_DENY_VERSION) </dev/null
	$(CARGO) deny --locked --workspace check --hide-inclusion-graph licenses bans sources

clean: ## Remove all build results
	rm -rf target

distclean: clean ## Remove the Python environments as well
	rm -rf $(VENV)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- prerequisites of the tests ----

C_TEST_PROGRAMS := $(addprefix $(C_TESTS)/,header_c99 header_cxx17 abi plugin ship outcomes hostile no_threads fork callbacks copies)

c-tests: $(C_TEST_PROGRAMS)

# The programs find the library relative to their own folder, whatever the working directory is.
C_TEST_LINK := -lpthread -Wl,-rpath,'$$ORIGIN/../release'

$(C_TESTS)/header_c99: c_tests/header.c include/cwl_sink.h Makefile | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $< -o $@ $(LINK) $(C_TEST_LINK)

$(C_TESTS)/header_cxx17: c_tests/header.c include/cwl_sink.h Makefile | library tools
	@mkdir -p $(@D)
	$(CXX) $(CFLAGS) $(CXX17) -x c++ $< -o $@ $(LINK) $(C_TEST_LINK)

# A host that loads the library with dlopen and is not linked with it.
$(C_TESTS)/plugin: c_tests/plugin.c c_tests/check.h include/cwl_sink.h Makefile | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $< -o $@ -ldl $(C_TEST_LINK)

$(C_TESTS)/%: c_tests/%.c c_tests/check.h include/cwl_sink.h Makefile | library
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(C99) $< -o $@ $(LINK) $(C_TEST_LINK)

tools:
	@PYTHON="$(PYTHON)" CXX="$(CXX)" scripts/need.sh c++ valgrind pkg-config

$(VENV_OK): tests/outside/requirements.txt
	@PYTHON="$(PYTHON)" scripts/need.sh venv
	@PYTHON="$(PYTHON)" scripts/install_python.sh $(VENV) $< $@

# A separate environment, so that the tests do not depend on the packages of the plots.
$(BENCH_VENV_OK): benches/requirements.txt
	@PYTHON="$(PYTHON)" scripts/need.sh venv
	@PYTHON="$(PYTHON)" scripts/install_python.sh $(BENCH_VENV) $< $@

# A separate environment, so that the versions of the linters depend on nothing else.
$(LINT_VENV_OK): scripts/lint_requirements.txt
	@PYTHON="$(PYTHON)" scripts/need.sh venv
	@PYTHON="$(PYTHON)" scripts/install_python.sh $(LINT_VENV) $< $@
