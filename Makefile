# Every target sets up .venv by itself. `make help` lists them.
#
#   make install PYTHON=python3.12                                    another interpreter
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cpu     torch without CUDA, from its own index

PYTHON ?= python3
TORCH_INDEX ?=
DATA ?=
# Processes of the tests.
JOBS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed
BENCH_STAMP := .venv-bench/.installed
PIP_FLAGS := --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
TORCH := $(shell grep -m1 '^torch==' constraints.txt)

# Tests and benchmarks compare numbers: one thread, and no spinning while two of them share a core.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-numeric lint docs bench data-is-named experiments clean

help:
	@echo "make install   set up .venv with the tested versions"
	@echo "make demo      the main job on an embedded phantom cohort; results in demo/"
	@echo "make test      all tests, the examples in docstrings and docs, and coverage"
	@echo "make test-numeric   tests of numbers, with the instructions of a processor of 2008"
	@echo "make lint      ruff, pyright, layers"
	@echo "make docs      HTML in docs/_build/html"
	@echo "make bench DATA=dir   benchmarks against other packages (in .venv-bench)"
	@echo "make experiments [DATA=dir]   what losses do to volumes and scores; writes docs/experiments/"
	@echo "make clean     remove what was built, not .venv"

install: $(STAMP)

# $(call environment,folder,extras): a virtual environment with this package. The pinned torch goes in
# first and alone: a looser request elsewhere in the tree would fetch another build of it.
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "TrueVox needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Remedy: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make virtual environments." >&2; \
	  echo "Remedy on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/pip install $(PIP_FLAGS) $(TORCH)
	$(1)/bin/pip install $(PIP_FLAGS) -e '.[$(2)]'
	@touch $(1)/.installed
endef

$(STAMP): pyproject.toml constraints.txt
	$(call environment,.venv,dev$(comma)docs)

$(BENCH_STAMP): pyproject.toml constraints.txt
	$(call environment,.venv-bench,bench)

comma := ,

demo: $(STAMP)
	$(BIN)/truevox demo --out demo/

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --doctest-modules --cov=truevox --cov-report=term src tests

# Float sums must not depend on the processor: those of the compiled loops, of torch, oneDNN, NumPy and its BLAS,
# with the instructions that every x86-64 has (on other processors some of these names mean nothing).
OLD_PROCESSOR = NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
  OPENBLAS_CORETYPE=Nehalem $(if $(filter x86_64,$(shell uname -m)),NPY_DISABLE_CPU_FEATURES=X86_V3$(comma)X86_V4)
NUMERIC := tests/kernels/test_kernels_sums.py tests/kernels/test_kernels_noise.py tests/losses/test_losses_pixel.py \
  tests/losses/test_losses_extremes.py tests/metrics/test_probability_metrics.py tests/metrics/test_metrics_surface.py

test-numeric: $(STAMP)
	$(OLD_PROCESSOR) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow" $(NUMERIC)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: data-is-named $(BENCH_STAMP)
	@for work in benchmarks/sampling.py benchmarks/inference.py benchmarks/metrics.py; do \
	  echo "== $$work" >&2; .venv-bench/bin/python $$work --data "$(DATA)" || exit 1; done
	@echo "== benchmarks/losses.py" >&2; .venv-bench/bin/python benchmarks/losses.py

data-is-named:
	@test -n "$(DATA)" || { echo "Name the data: make bench DATA=folder-with-the-data-sets" >&2; exit 2; }

# Without data, with phantoms only. Every experiment is run, even if one before it fails a check.
experiments: $(STAMP)
	@failed=0; for work in volume_bias phi_epsilon metric_sensitive; do \
	  echo "== experiments/$$work.py" >&2; \
	  $(BIN)/python experiments/$$work.py $(if $(DATA),--data "$(DATA)") || failed=1; done; \
	echo "== experiments/interval_coverage.py" >&2; \
	$(BIN)/python experiments/interval_coverage.py || failed=1; exit $$failed

clean:
	rm -rf demo docs/_build docs/_gallery docs/_theory docs/reference .pytest_cache .ruff_cache .hypothesis .coverage htmlcov build dist
