# Every target sets itself up: the environment in .venv is made from requirements.lock when it is missing or older.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test check acceptance soak sanitize bench wheel format clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

$(VENV)/packages: requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "corecur needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $(VENV)/packages

# The package itself, its native kernels compiled where there is a compiler.
$(VENV)/ready: $(VENV)/packages pyproject.toml CMakeLists.txt $(wildcard src/corecur/kernels/csrc/*)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $(VENV)/ready

demo: $(VENV)/ready ## train on scanned digits that come with scikit-learn; nothing is downloaded
	$(RUN) -m corecur train digits

test: $(VENV)/ready ## run the tests (a few minutes)
	$(RUN) -m pytest -n 2 --dist loadfile --ignore=tests/acceptance --ignore=tests/soak

check: $(VENV)/ready ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

acceptance: $(VENV)/ready ## run the jobs on real data (needs ../shared/data)
	$(RUN) -m pytest tests/acceptance -p no:cacheprovider --durations=0

soak: $(VENV)/ready sanitize ## hours of kills, faults and fuzzing, the sanitizers first
	$(RUN) -m pytest tests/soak -p no:cacheprovider -s --durations=0

# Python is no sanitized program: the runtimes of the sanitizers and of C++, which torch throws by, are loaded before it.
SANITIZED := build/sanitized
sanitize: $(VENV)/ready ## run the native kernels under the address and undefined-behaviour sanitizers
	$(RUN) -m cmake -S . -B $(SANITIZED) -G Ninja -DCORECUR_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Release \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(VENV)/bin/ninja >/dev/null
	$(RUN) -m cmake --build $(SANITIZED) >/dev/null
	LD_PRELOAD="$$($(or $(CXX),g++) -print-file-name=libasan.so) $$($(or $(CXX),g++) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 CORECUR_KERNEL_LIBRARY=$(CURDIR)/$(SANITIZED)/libcorecur_kernels.so \
	  OMP_NUM_THREADS=2 $(RUN) -m pytest tests/kernels -p no:cacheprovider

bench: $(VENV)/ready ## measure against peers, side by side
	$(RUN) -m bench

# The library needs nothing but glibc's symbols of 2.17 and older (tests/test_wheel.py), which is what the tag promises.
wheel: $(VENV)/ready ## build a wheel in dist/ that runs on machines without a compiler
	$(if $(filter Linux,$(shell uname)),_PYTHON_HOST_PLATFORM=manylinux_2_17_$(shell uname -m)) $(RUN) -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps --wheel-dir dist .

format: $(VENV)/ready ## let ruff lay out the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean: ## remove the environment and the caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
