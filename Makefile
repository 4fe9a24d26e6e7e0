# `make run` starts the studio, `make test` runs all checks. The first call of either creates .venv.

PYTHON ?= python3
# Flags for the studio, such as ARGS="--port 8000".
ARGS ?=
# The build of torch, such as cpu or cu126. Empty: start.py chooses it.
TORCH ?=

VENV := .venv
BIN := $(VENV)/bin
START = $(PYTHON) start.py $(if $(TORCH),--torch $(TORCH))

# tests/grouping.py puts tests that share a studio into one process. Two processes compute at once: threads that wait
# must sleep, or they take the processors from the others.
PYTEST = OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

COMPILE = $(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
	--custom-compile-command "make constraints"

.PHONY: help run test test-fast lint browser constraints audit clean
.DEFAULT_GOAL := help

help:
	@echo "make run          start the studio on http://127.0.0.1:7860; ARGS=\"--port 8000\" passes settings"
	@echo "make test         check style and types, and run all tests"
	@echo "make lint         check style and types"
	@echo "make test-fast    run the tests that need no browser and generate no picture, in under a minute"
	@echo "make constraints  resolve the versions of all packages again"
	@echo "make audit        look up known vulnerabilities of all packages; needs the internet"
	@echo "make clean        delete $(VENV) and the caches of the tools"
	@echo "The first call accepts PYTHON=python3.12 and TORCH=cpu (or auto, or cu126, or pypi)."

run:
	exec $(START) $(ARGS)

test: lint browser tests/node/node_modules tests/python/.venv
	$(PYTEST)

# Many of these tests wait: a third process computes meanwhile.
test-fast: $(VENV)/dev
	$(PYTEST) -n 3 -m fast

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tests open the page in Debian's chromium, also through nginx, and call the studio from JavaScript and from a shell.
# Only root can install these programs.
browser:
	@test -x /usr/bin/chromium || (apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation)
	@command -v npm >/dev/null || (apt-get update && apt-get install -y --no-install-recommends nodejs npm)
	@command -v curl >/dev/null || (apt-get update && apt-get install -y --no-install-recommends curl)
	@test -x /usr/sbin/nginx || (apt-get update && apt-get install -y --no-install-recommends nginx)

tests/node/node_modules: tests/node/package-lock.json | browser
	npm ci --prefix tests/node --no-audit --no-fund
	@touch $@

# Programs that the tests run with packages which do not fit into the environment of the studio.
tests/python/.venv: tests/python/requirements.txt tests/python/constraints.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --disable-pip-version-check --requirement tests/python/requirements.txt \
		--constraint tests/python/constraints.txt
	@touch $@

# torch pins its own CUDA packages, and they differ between its builds: constraints.txt must not contain them.
constraints: $(VENV)/made
	$(BIN)/python -m pip install --quiet "$$($(BIN)/python -c 'import start; print(start.UV)')"
	$(COMPILE) requirements.txt requirements-dev.txt --output-file $(VENV)/constraints.txt
	$(COMPILE) tests/python/requirements.txt --output-file tests/python/constraints.txt
	grep -vE "^(cuda|nvidia|triton)-?" $(VENV)/constraints.txt > constraints.txt

# It does not ask about what docs/advisories.toml has exceptions for.
audit: $(VENV)/made
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip $$($(VENV)/audit/bin/python -c \
		'import tomllib; print(*("--ignore-vuln " + each["id"] for each in \
		tomllib.load(open("docs/advisories.toml", "rb"))["exception"]))')

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/run: requirements.txt constraints.txt
	$(START) --install-only

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-dev.txt \
		--constraint constraints.txt
	@touch $@

$(VENV)/made:
	$(PYTHON) -m venv $(VENV)
	@touch $@
