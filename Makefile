# Everything sets itself up: all that has to be there is cargo, a C compiler and Python 3.11 or newer.
# Another interpreter for the default environment: make PYTHON=/path/to/python TARGET.

PYTHON ?= python3
ENVIRONMENT = $(PYTHON) scripts/environment.py

.DEFAULT_GOAL := help
.PHONY: help run cluster hosts test soak nightly bench packages pythons wheels fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build sabio and run examples/crawl.py on it
	@$(ENVIRONMENT) --with run -- -m sabio examples/crawl.py

cluster: ## run examples/cluster.py, a Dask cluster, on sabio
	@$(ENVIRONMENT) --purpose cluster --with cluster -- -m sabio examples/cluster.py --through sabio

hosts: ## run it with every process on a host of its own (needs root)
	@$(ENVIRONMENT) --purpose cluster --with cluster -- scripts/hosts.py

test: ## build and check everything, on every interpreter at hand
	@$(PYTHON) scripts/check.py

soak: ## keep 11,000 connections busy and idle for long: memory must stay flat (ARGS="--seconds 60")
	@$(ENVIRONMENT) -- scripts/soak.py $(ARGS)

nightly: ## sanitizer, Miri and fuzz targets (ARGS="--only fuzz --minutes 10")
	@$(PYTHON) scripts/nightly.py $(ARGS)

bench: ## measure sabio beside the other loops (ARGS=--quick)
	@$(ENVIRONMENT) --python best --profile guided --purpose bench --with bench -- benches/run.py $(ARGS)

packages: ## run the test suites of other packages on sabio (ARGS="janus anyio")
	@$(PYTHON) scripts/packages.py $(ARGS)

pythons: ## fetch CPython 3.14 and 3.15 into a cache (needs root)
	@$(PYTHON) scripts/pythons.py

wheels: ## wheels and an sdist in dist/, checked and tried (ARGS=--test)
	@$(PYTHON) scripts/wheels.py $(ARGS)

fmt: ## format the Rust and the Python code
	@cargo fmt --all
	@cargo fmt --manifest-path fuzz/Cargo.toml
	@$(ENVIRONMENT) --no-build --with lint -- -m ruff check --fix-only --quiet .
	@$(ENVIRONMENT) --no-build --with lint -- -m ruff format .

clean: ## remove all that was built, the environments too
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
