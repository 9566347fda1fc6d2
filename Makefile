PORT ?= 8000
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help run test check bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

run: ## install and start everything here, with demo models (PORT=8000)
	@scripts/setup base demo && exec .venv/bin/arena up --demo --port "$(PORT)"

test: ## install what tests need and run them (ARGS="-k vote" to choose)
	@scripts/setup dev demo && scripts/test-services && exec .venv/bin/pytest $(ARGS)

check: ## lint, formatting, types, import contracts
	@scripts/setup dev
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: ## compare the rating engine with its peers (about 15 minutes, 1 GB of packages)
	@scripts/setup dev
	@[ -e .venv/peers ] || .venv/bin/uv venv -q .venv/peers
	@.venv/bin/uv pip install -q --python .venv/peers --no-deps --require-hashes --only-binary :all: -r requirements/peers.txt
	@.venv/bin/python scripts/bench_ratings.py $(ARGS)

lock: ## pin every dependency anew after a change of pyproject.toml
	@scripts/setup dev && scripts/lock

clean: ## remove what was installed and cached; the data folder stays
	rm -rf .venv build *.egg-info .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
