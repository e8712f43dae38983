# `make autotune` runs the main job, `make test` passes the tests; each works from a bare clone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# More arguments for pip; on a machine without a GPU this spares the CUDA packages:
#   make autotune PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# More options for autotune, pytest or the benchmark named by BENCH.
ARGS ?=
BUDGET ?= 4m
# Test files that run at the same time: live tests start jobs of two ranks each.
# In the order of their names: by default the files with the fewest tests come last, and those are the longest.
JOBS ?= 2
BENCH ?=
WORKLOAD := runner/workload

# Modules are compiled when first imported, once: most of torch and transformers never is.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile $(PIP_ARGS) -c constraints.txt
# The launchers and ninja are found without activating the environment.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help install autotune test check format bench clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.dev ## a virtual environment with everything that the tests need

$(VENV)/.workload: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -e '.[workload]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	touch $(VENV)/.workload $@

autotune: $(VENV)/.workload ## tune the reference workload on two ranks
	autotune --budget $(BUDGET) $(ARGS) -- deepspeed --num_gpus 2 $(WORKLOAD)/train.py \
		--deepspeed --deepspeed_config $(WORKLOAD)/ds_config.json

test: $(VENV)/.dev ## everything that runs without a GPU
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.dev ## formatting, lint, types, import rules
	ruff format --check .
	ruff check .
	mypy
	mypy --no-namespace-packages $(WORKLOAD)/*.py
	lint-imports

format: $(VENV)/.dev ## let ruff format the sources and mend what it can
	ruff format .
	ruff check --fix .

bench: $(VENV)/.dev ## list the benchmarks; run one with BENCH=<name>
	$(BIN)/python tests/benchmarks $(BENCH) $(ARGS)

clean: ## remove what these commands made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist src/flyball.egg-info
