# gpubench. `make up` runs the benchmark on this machine; `make test` checks everything. Both set up what they need.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv

# scripts/install repeats it in its advice.
export MAKECMDGOALS

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: up
up: setup ## Run the benchmark on this machine and show its results
	./gpubench up

.PHONY: test
test: setup-dev ## Lint, type-check and test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	@# Types are checked beside the tests, which wait for processes more than they work; three files at a time, the longest
	@# first (tests/conftest.py).
	$(VENV)/bin/mypy & types=$$!; \
	$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder; tests=$$?; wait $$types && exit $$tests

.PHONY: setup
setup: $(VENV)/.installed ## Install what `gpubench up` needs into .venv

.PHONY: setup-dev
setup-dev: $(VENV)/.installed-dev ## Install what the tests need, too

$(VENV)/.installed: requirements.txt requirements-workload.txt scripts/install
	scripts/install $(VENV) requirements.txt requirements-workload.txt
	@touch $@

# The dev requirements hold all the others, at the same pins.
$(VENV)/.installed-dev: requirements-dev.txt scripts/install
	scripts/install $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/.installed

.PHONY: bench
bench: setup ## Measure gpubench against its speed and memory goals
	$(VENV)/bin/python -m benchmarks

.PHONY: pictures
pictures: setup ## Draw the docs' pictures anew: results of stack local, and the incidents' drills
	$(VENV)/bin/python -m benchmark_job.report docs/pictures --stack local
	$(VENV)/bin/python -m docs.incidents.draw

.PHONY: format
format: setup-dev ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: lock
lock: ## Pin the requirements anew from requirements/*.in (needs uv)
	scripts/lock

.PHONY: clean
clean: ## Remove the virtual environment and caches; results and state stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
