# `make demo` and `make test` are all that a newcomer needs; both install into .venv, once.
# Works with GNU make 3.81 and newer. PYTHON=... picks an interpreter; otherwise the newest fit one is found.

VENV := .venv
RUN := $(VENV)/bin/python
PINS := pyproject.toml constraints.txt
WORKERS := 2

.PHONY: setup demo test test-slow check check-full format bench bench-merge bench-data check-cluster clean

setup: $(VENV)/installed

demo: setup
	$(RUN) -m enogu demo

test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(WORKERS)

check: setup
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m codespell_lib
	$(RUN) -m pytest -q tests/test_house.py

check-full: check test test-slow check-cluster bench

test-slow: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(WORKERS) -m slow

check-cluster: $(VENV)/installed-cluster
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -m slow tests/cluster

format: setup
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

bench: $(VENV)/installed-bench
	$(RUN) -m benchmarks.first_light

bench-merge: setup
	$(RUN) -m benchmarks.merge
	$(RUN) -m benchmarks.lora_extraction

bench-data: $(VENV)/installed-bench
	$(RUN) -m benchmarks.data

clean:
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/installed: $(PINS)
	@set -e; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "enogu needs Python 3.11 or newer; none was found on PATH. Install one, or say: make setup PYTHON=/path/to/python3" >&2; \
	  exit 2; \
	fi; \
	echo "Installing into $(VENV) with $$($$found --version); this happens once and takes a few minutes."; \
	$$found -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/installed-cluster: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,cluster]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@
