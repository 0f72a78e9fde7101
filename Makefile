# Every target prepares what it needs, says what it does, and does nothing twice.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Threads that wait politely: several times faster where other programs run beside this one.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 1000
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Scale and data sets of reproduce-paper; several names are separated by blanks.
SCALE ?= small
DATA ?= fashion_mnist
# Further overrides, e.g. ARGS="scale.seeds=[0,1]"
ARGS ?=

empty :=
space := $(empty) $(empty)
comma := ,
LIST = [$(subst $(space),$(comma),$(strip $(DATA)))]

.DEFAULT_GOAL := help
.PHONY: help setup install data reproduce-paper test test-slow lint types arch check lock wandb-sync notebooks zoo bench overhead clean

help: ## show this list
	@echo "biasmatters: bias back-propagation, and the paper's experiments"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment and install the pinned packages

install: setup ## the same as setup

$(VENV)/pyvenv.cfg:
	@echo "== virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "the venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.locked: requirements.lock | $(VENV)/pyvenv.cfg
	@echo "== pinned packages, checked by their hashes (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(STAMP): $(VENV)/.locked pyproject.toml
	@echo "== this package, in place"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

data: setup ## fetch and check data sets (DATA="fashion_mnist mnist")
	@$(BIN)/python -m biasmatters.data $(DATA)

reproduce-paper: setup ## the paper's results with a report (SCALE=small DATA="fashion_mnist")
	@echo "== reproduce the paper at scale $(SCALE) on $(DATA)"
	@$(BIN)/biasmatters experiment=reproduce_paper scale=$(SCALE) 'data=$(LIST)' $(ARGS)

test: setup ## the quick tests, doctests included
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: setup ## the tests that take longer or need real data
	@$(BIN)/python -m pytest -m slow $(ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy
	@$(BIN)/mypy

arch: setup ## import-linter: what each room may import
	@$(BIN)/lint-imports --no-logo

check: lint types arch test ## all of lint, types, arch, test

lock: setup ## pin all packages anew (needs uv)
	@command -v uv > /dev/null || { echo "uv is needed: pip install uv"; exit 1; }
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
	  --upgrade -o requirements.lock
	@! grep -nE '^(--|.*(https?|file)://)' requirements.lock \
	  || { echo "requirements.lock must name no host"; exit 1; }

wandb-sync: setup ## upload the offline W&B runs (after `wandb login`)
	@shopt -s nullglob; runs=(runs/wandb/offline-run-*); \
	  if [ $${#runs[@]} -eq 0 ]; then echo "no offline runs in runs/wandb; make some with logger=wandb"; \
	  else $(BIN)/wandb sync "$${runs[@]}"; fi

notebooks: setup ## run the notebooks
	@shopt -s nullglob; for book in notebooks/*.ipynb; do echo "== $$book"; \
	  $(BIN)/jupyter execute "$$book" || exit 1; done

zoo: setup ## every torchvision model and 30 of timm through the engine, beside the peers (hours)
	@$(BIN)/python -m benchmarks.zoo $(ARGS)

bench: setup ## time and memory beside the peers, with table and plot (hours; ARGS=--quick: a minute)
	@$(BIN)/python -m benchmarks.speed $(ARGS)
	@$(BIN)/python -m benchmarks.metrics $(filter --quick,$(ARGS))

overhead: setup ## what the protocol of the baselines costs over their libraries (minutes)
	@$(BIN)/python -m benchmarks.overhead $(ARGS)

clean: ## remove caches and build outputs (not store/, reports/ and the virtual environment)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests experiments -type d -name __pycache__ -prune -exec rm -rf {} +
