PORT ?= 8000
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help run test soak check bench bench-service lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: ## install and start everything here, with demo models (PORT=8000)
	@scripts/setup base demo && exec .venv/bin/arena up --demo --port "$(PORT)"

test: ## install what tests need and run them (ARGS="-k vote" to choose)
	@scripts/setup dev demo && scripts/test-services && exec .venv/bin/pytest -n 2 --dist loadfile $(ARGS)

soak: ## hundreds of faults on both databases and every byte of a log, an hour and a half (ARGS="tests/soak --seed 7")
	@scripts/setup dev demo && scripts/test-services && exec .venv/bin/pytest -m soak $(ARGS)

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

bench-service: ## measure the service with its real processes (about 15 minutes, nothing else beside it)
	@scripts/setup dev && scripts/test-services
	@for figure in votes streams board export slow_clients worker memory; do \
		echo "== $$figure" && .venv/bin/python scripts/bench_$$figure.py || exit; \
	done

lock: ## pin every dependency anew after a change of pyproject.toml
	@scripts/setup dev && scripts/lock

clean: ## remove what was installed and cached; the data folder stays
	rm -rf .venv build *.egg-info .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
