# Every target sets itself up: it needs git, make and python3 >= 3.11, nothing else.
# Tools are locked: uv.lock for Python packages, layers/dependencies for the Lambda layer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
RUNTIME := 3.13

# uv fetches packages, never interpreters: the machine's own are used
export UV_PYTHON_DOWNLOADS := never
export SAM_CLI_TELEMETRY := 0
# the layer is built by the runtime's own Python, from PATH or from pyenv
RUNTIME_BIN := $(dir $(lastword $(wildcard $(HOME)/.pyenv/versions/$(RUNTIME)*/bin/python$(RUNTIME))))
export PATH := $(CURDIR)/.venv/bin:$(PATH)$(if $(RUNTIME_BIN),:$(RUNTIME_BIN))

PYTHON := .venv/bin/python
FUNCTION ?= OnJobFinished
EVENT ?= events/on_job_finished/sqs_violations.json

.PHONY: help demo test search check format lint types docs build validate invoke bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | column -t -s "$$(printf '\t')"

.venv/ready: pyproject.toml uv.lock
	@uv=$$(command -v uv || true); \
	if [[ -z $$uv ]]; then \
		python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 is older than 3.11" >&2; exit 1; }; \
		python3 -m venv .venv; .venv/bin/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION); uv=.venv/bin/uv; \
	fi; \
	"$$uv" sync -q --locked --extra local
	@touch $@

demo: .venv/ready ## Play monitoring runs through the local cloud and show what comes of them
	@.venv/bin/guiderail demo

test: .venv/ready ## Run every test that needs no Docker
	@$(PYTHON) -m pytest -m 'not docker' -n auto --dist loadfile

search: .venv/ready ## Look for new counter-examples of what tests state
	@$(PYTHON) -m pytest -q --hypothesis-profile=search tests/unit

check: format lint types validate build test ## Everything a change must pass

format: .venv/ready ## Is the code formatted?
	@.venv/bin/ruff format --check .

lint: .venv/ready ## Is the code clean?
	@.venv/bin/ruff check .

types: .venv/ready ## Are the types right?
	@.venv/bin/mypy

docs: .venv/ready ## Do the documents agree with the code?
	@$(PYTHON) -m pytest -q tests/architecture

validate: .venv/ready ## Is template.yaml valid?
	@uv tool run -q --from aws-sam-cli==1.170.0 sam validate --lint

build: .venv/ready ## Build what is deployed (arm64) and what runs here in Docker (x86_64), bytecode included
	@$(PYTHON) layers/build.py
	@$(PYTHON) layers/build.py --config-env local

invoke: .venv/ready ## Run FUNCTION on EVENT in Docker against the local cloud
	@$(PYTHON) -m guiderail_local.sam_invoke $(FUNCTION) $(EVENT)

bench: .venv/ready ## Measure cold start, parsing, calls and size
	@$(PYTHON) -m benchmarks

clean: ## Remove all that was made here
	@rm -rf .venv .local .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
