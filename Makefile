# Two commands do all set-up: `make demo` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
WORKERS := $(shell expr $$(nproc) + 1)
ARGS ?=
SEEDS ?= 5
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help
help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.PHONY: prepare
prepare: ## .venv and the demo's tools, once
	@$(PYTHON) setup/prepare.py

.PHONY: demo
demo: prepare ## four real incidents; ARGS="--auto" acts by itself, ARGS="--clean" forgets
	@$(BIN)/gitmedic demo $(ARGS)

.PHONY: test
test: ## all tests; ARGS="tests/unit" for some
	@$(PYTHON) setup/prepare.py --tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

.PHONY: check
check: ## format, lint, types, import contract
	@$(PYTHON) setup/prepare.py --tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: pictures
pictures: ## the docs' pictures, from a real demo
	@$(PYTHON) setup/prepare.py --tests
	@$(BIN)/python -m tests.browser.pictures

.PHONY: guards
guards: ## take each guard out and see its test fail; ARGS="S7 P5" for some
	@$(PYTHON) setup/prepare.py --tests
	@$(BIN)/python -m tests.guards $(ARGS)

.PHONY: kills
kills: ## kill every process at every named point, and write docs/kill-table.md; SEEDS=1 for a quick look, ARGS="execute" for some
	@$(PYTHON) setup/prepare.py --tests
	@$(BIN)/python -m tests.kills --seeds $(SEEDS) $(if $(ARGS),$(ARGS),--write docs/kill-table.md)

.PHONY: meaning
meaning: ## whether a small real embedding model adds to recall by words; installs one below .tools
	@$(PYTHON) setup/prepare.py --tests
	@$(PYTHON) setup/model.py
	@$(BIN)/python -m pytest -q tests/meaning

.PHONY: bench
bench: ## measure, beside limits of the same run; ARGS="webhook lists" for some, "--seconds 1 --rounds 1" for a quick look
	@$(PYTHON) setup/prepare.py --tests
	@$(BIN)/python -m bench $(ARGS)

.PHONY: format
format: ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: ## pin the newest versions that pyproject.toml allows
	uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --all-extras --group dev \
		--upgrade pyproject.toml -o requirements.lock

.PHONY: clean
clean: ## forget .venv and .tools
	rm -rf .venv .tools .mypy_cache .ruff_cache .import_linter_cache
