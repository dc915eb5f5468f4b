# Two commands set everything up on a fresh machine: `make quickstart` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install quickstart test test-slow test-browser lint format docs bench evidence numerics gpu clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

install: $(INSTALLED)  ## make .venv and install everything the project needs

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

quickstart: $(INSTALLED)  ## train, collapse and sample a one-step linearizer on real digits: runs/quickstart
	$(BIN)/linearizer train configs/quickstart.toml

test: $(INSTALLED)  ## the whole test suite, one process on each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(INSTALLED)  ## what takes longer than the suite may: the demo under load for a minute, a Space in a clean environment
	$(BIN)/python -m pytest -m slow --timeout 900

test-browser: $(INSTALLED)  ## the demo in a real browser, screenshots in runs/browser; needs the system package chromium, and installs it where it may
	@command -v chromium >/dev/null || \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	  elif sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo apt-get install -y -qq --no-install-recommends chromium; \
	  else echo "the browser tests need the system package chromium: apt-get install chromium" >&2; exit 2; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,browser]'
	$(BIN)/python -m pytest -m browser tests/browser

lint: $(INSTALLED)  ## formatter, linter, type checker, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## build the documentation into site/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/mkdocs build --strict

bench: $(INSTALLED)  ## time and memory of collapse, sampling, training, start-up, demo, on an idle machine: runs/bench
	$(BIN)/python -m benchmarks

evidence: $(INSTALLED)  ## models trained side by side under one budget, docs/evidence, hours: make evidence MNIST=DIR WEIGHTS=FILE
	@test -n "$(MNIST)" -a -n "$(WEIGHTS)" || { echo "make evidence MNIST=DIR WEIGHTS=FILE, DIR holding the four idx files of MNIST, FILE timm's tf_efficientnet_lite0 as safetensors" >&2; exit 2; }
	$(BIN)/python -m benchmarks.evidence $(MNIST) --weights $(WEIGHTS)
	$(BIN)/python -m benchmarks.evidence.page

numerics: $(INSTALLED)  ## how invertible every backbone is, hours: make numerics MNIST=DIR
	@test -n "$(MNIST)" || { echo "make numerics MNIST=DIR, DIR holding the four idx files of MNIST" >&2; exit 2; }
	$(BIN)/python -m benchmarks.lattice
	$(BIN)/python -m benchmarks.invertibility $(MNIST)

gpu: $(INSTALLED)  ## everything that wants a GPU, most valuable first, 25 minutes, resumable: make gpu DATA=DIR [GPU="--minutes 10"]
	@test -n "$(DATA)" || { echo "make gpu DATA=DIR, DIR holding mnist, cifar10, emoji64, style and efficientnet_lite0.safetensors" >&2; exit 2; }
	$(BIN)/python -m registry.gpu --data $(DATA) $(GPU)

clean:  ## remove what was built, not what was trained
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
