# Everything that a fresh machine needs: `make demo` and `make test` set up their own environment.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
SUM := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
# one stamp for what a user needs, one for what developing needs on top of it
READY := $(VENV)/.ready-$(SUM)
READY_DEV := $(VENV)/.ready-dev-$(SUM)

.PHONY: help demo test flicker lint check format bench drill docs clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "scansynth needs Python 3.11 to 3.13; name one with make PYTHON=python3.12")'
	$(RUN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade -c constraints.txt -e .
	@rm -f $(VENV)/.ready-* && touch $@

$(READY_DEV): $(READY)
	$(RUN)/python -m pip install --quiet --upgrade -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)  ## From a phantom cohort to the report, in minutes
	$(RUN)/scansynth demo --out demo

test: $(READY_DEV)  ## All tests, on two cores: three workers, for each waits a part of its time
	$(RUN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

flicker: $(READY_DEV)  ## Ten runs, until one fails: make flicker TESTS=tests/FILE
	for run in 1 2 3 4 5 6 7 8 9 10; do $(RUN)/python -m pytest -q $(TESTS) || exit 1; done

lint: $(READY_DEV)  ## Style and types
	$(RUN)/ruff format --check src tests benchmarks
	$(RUN)/ruff check src tests benchmarks
	$(RUN)/mypy

check: lint test  ## Style, types and tests

format: $(READY_DEV)  ## Formats the code
	$(RUN)/ruff format src tests benchmarks
	$(RUN)/ruff check --fix src tests benchmarks

bench: $(READY)  ## The figures of docs/results that need no GPU and no real scans
	$(RUN)/python benchmarks/train_throughput.py --seconds 30 --repeats 3 --out docs/results/train_throughput.json
	$(RUN)/python benchmarks/train_throughput.py --batch 64 --seconds 120 --repeats 1 --sides ours --out docs/results/train_batch64.json
	$(RUN)/python benchmarks/train_throughput.py --size 64 --width 32 --seconds 20 --repeats 3 --sides ours compiled --out docs/results/train_compiled.json
	$(RUN)/python benchmarks/ingest.py --files 800 --out docs/results/ingest.json
	$(RUN)/python benchmarks/ingest.py --scale 1000 3000 10000 --out docs/results/ingest_scale.json
	$(RUN)/python benchmarks/write_dicom.py --out docs/results/write_dicom.json
	$(RUN)/python benchmarks/phantom_difficulty.py --seeds 3 --jobs 3 --test-patients 100 --out docs/results/phantom_difficulty.json
	$(RUN)/python benchmarks/copies_error_rates.py --runs 60 --out docs/results/copies_error_rates.json
	$(RUN)/python benchmarks/copies_speed.py --out docs/results/copies_speed.json
	$(RUN)/python benchmarks/audit_error_rates.py --out docs/results/audit_error_rates.json
	$(RUN)/python benchmarks/utility_error_rates.py --out docs/results/utility_error_rates.json
	$(RUN)/python benchmarks/reader_error_rates.py --out docs/results/reader_error_rates.json
	$(RUN)/python benchmarks/reader_designs.py --out docs/results/reader_designs.json
	$(RUN)/python benchmarks/reader_marks.py --out docs/results/reader_marks.json

drill: $(READY_DEV)  ## An hour: killed trainings, ingests and pulls, 2,000 mutated files, a fuzzer, 30 readers on both databases
	$(RUN)/python tests/gan/tiny_training.py build/drill 45
	$(RUN)/python tests/gan/tiny_training.py build/drill-compact 45 0 compact
	$(RUN)/python tests/reader/load_drill.py --seconds 600
	$(RUN)/python tests/data/attacked.py build/attacks
	$(RUN)/python tests/dicom/pulled.py build/pulls

docs: $(READY_DEV)  ## The documentation as pages in site/
	$(RUN)/zensical build --strict --clean

clean:  ## Removes what make made; studies and demo stay
	rm -rf $(VENV) build site .mypy_cache .ruff_cache .pytest_cache src/*.egg-info
