# One command each: `make demo` runs the product, `make test` proves it. Both set everything up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DEMO := demo-out
FAULTS := tests/engines/test_spark_faults.py tests/engines/test_ray_faults.py
NATIVE := $(wildcard curation/operators/text/_ngrams*.[ch])

.PHONY: setup demo test faults check bench constraints clean

setup: $(VENV)/.ready

$(UV):
	@echo "== making $(VENV) with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "uv>=0.9"

$(VENV)/.ready: pyproject.toml constraints.txt $(NATIVE) | $(UV)
	@echo "== installing curation and its pinned dependencies (constraints.txt)"
	VIRTUAL_ENV=$(VENV) $(UV) pip install --compile-bytecode --constraint constraints.txt --editable .
	@touch $@

# The suite opens exports with Megatron-Energon and datasets: kept out of `make demo`.
$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "== installing what the suite needs (a minute the first time)"
	VIRTUAL_ENV=$(VENV) $(UV) pip install --compile-bytecode --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m curation.demo --out $(DEMO)

# Faults on real clusters race with what they break: they have a target, and a machine, to themselves.
test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest $(FAULTS:%=--ignore=%)

faults: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -v $(FAULTS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready-dev
	$(BIN)/python -m benchmarks

constraints: | $(UV)
	$(UV) pip compile pyproject.toml --all-extras --python-version 3.11 --no-emit-index-url --no-header --no-annotate --output-file constraints.txt

clean:
	rm -rf $(VENV) $(DEMO) $(DEMO).runs build dist
