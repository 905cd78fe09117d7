# Two commands do everything: `make demo` and `make test`. Each sets up what is missing.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
export PYTHON
unexport OVENBIRD_SETTINGS

.DEFAULT_GOAL := help
.PHONY: help demo test setup fmt lint types unit sandbox boot chaos acceptance fuzz bench docs clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

demo: ## the main job under load: git to production traffic and back, in the sandbox
	@MAKE_GOAL=demo tools/setup sandbox
	@$(BIN)/python -m demo $(ARGS)

test: ## lint, types and every test lane; the last line is pytest's summary
	@MAKE_GOAL=test tools/setup dev
	@$(MAKE) --no-print-directory lint types
	@tools/test $(ARGS)

setup: ## system packages, virtual environment, pinned dependencies
	@MAKE_GOAL=setup tools/setup dev

fmt: ## format and mend what can be mended
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: ## ruff, import contracts, spelling
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(BIN)/codespell

types: ## mypy, strict
	@$(BIN)/mypy

unit: ## unit, house and pipeline tests, in three processes
	@$(BIN)/pytest -q -n 3

sandbox: ## the sandbox's API against boto3; nothing is booted
	@$(BIN)/pytest -q -m sandbox

boot: ## real machines, real bakes; needs root
	@$(BIN)/pytest -q -m boot

chaos: ## kill -9 after each step in turn; needs root for the real one
	@$(BIN)/pytest -q -m chaos

acceptance: ## the demo's story and bad input through the command line; needs root
	@$(BIN)/pytest -q -m "acceptance and not chaos"

fuzz: ## readers of manifests and repositories: ARGS="--seconds 300"
	@MAKE_GOAL=fuzz tools/setup dev
	@$(BIN)/python -m bench.fuzz $(ARGS)

bench: ## ours against peers, as ratios: ARGS="packaging --large", ARGS="repositories", ARGS="baking" or ARGS="judging"
	@MAKE_GOAL=bench tools/setup dev
	@$(BIN)/python -m bench $(ARGS)

docs: ## the reference pages that are written from the code
	@tools/reference

clean: ## remove what can be made again
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .lint-imports.log
