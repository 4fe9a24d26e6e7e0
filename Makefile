# `make run` starts the studio, `make test` checks it. Both set up .venv first; a second call finds it ready.

PYTHON ?= python3
# Flags for the studio, such as ARGS="--port 8000".
ARGS ?=
# The build of torch: empty takes PyPI's, which brings CUDA on Linux. "cpu" or "auto" let uv choose it.
TORCH ?=

UV := uv==0.13.9
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(TORCH),)
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check
else
INSTALL = $(BIN)/python -m uv pip install --python $(BIN)/python --torch-backend=$(TORCH)
endif

.PHONY: help run test lint unit browser constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make run          start the studio on http://127.0.0.1:7860; takes ARGS=\"--port 8000\""
	@echo "make test         lint, types, and all tests"
	@echo "make lint         style and types only"
	@echo "make unit         the fast tests only"
	@echo "make constraints  resolve the versions of all packages anew"
	@echo "make clean        remove $(VENV) and the caches of the tools"
	@echo "The first call takes PYTHON=python3.12 and TORCH=cpu (or auto, or cu126)."

run: $(VENV)/run
	exec $(BIN)/python app.py $(ARGS)

# Two processes compute at once: threads that wait must sleep, or they take the processors from the others.
test: lint browser tests/node/node_modules
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/dev
	$(BIN)/python -m pytest tests/unit

# The tests look at the page in Debian's browser, and call the studio from JavaScript and from a shell. Only root can
# install what these need.
browser:
	@test -x /usr/bin/chromium || (apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation)
	@command -v npm >/dev/null || (apt-get update && apt-get install -y --no-install-recommends nodejs npm)
	@command -v curl >/dev/null || (apt-get update && apt-get install -y --no-install-recommends curl)

tests/node/node_modules: tests/node/package-lock.json | browser
	npm ci --prefix tests/node --no-audit --no-fund
	@touch $@

# torch pins its own CUDA packages, and which they are depends on the build.
constraints: $(VENV)/made
	$(BIN)/python -m pip install --quiet $(UV)
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
		--custom-compile-command "make constraints" requirements.txt requirements-dev.txt \
		--output-file $(VENV)/constraints.txt
	grep -vE "^(cuda|nvidia|triton)-?" $(VENV)/constraints.txt > constraints.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/run: requirements.txt constraints.txt | $(VENV)/made
	$(INSTALL) --requirement requirements.txt --constraint constraints.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	$(INSTALL) --requirement requirements-dev.txt --constraint constraints.txt
	@touch $@

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The studio needs Python 3.11 or 3.12: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),$(BIN)/python -m pip install --quiet $(UV))
	@touch $@
