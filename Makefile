# Everything a newcomer types. `make demo` and `make test` bring what they need, on a bare Debian 12 as well.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
# Words for the program that a target runs: `make demo ARGS=--keep`, `make test ARGS="-k drift -x"`.
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PLAYBOOKS := $(wildcard ansible/playbooks/*.yml)
# ansible-lint and lint-imports look for their own programs on PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help packages venv lint test demo bench bench-cutover bench-drift faults faults-day faults-daemons faults-cutover faults-restore faults-adopt faults-nodes faults-adapters faults-peer fuzz lock wheel clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

packages: ## Install missing system packages (root or sudo) and fetch WordPress
	@$(PYTHON) -m reconciler.stack.packages

venv: .venv/.complete ## Create .venv with the locked dependencies and Pressluft itself

# python3-venv is one of the packages, so they come first; being phony, they must not make the venv stale.
.venv/.complete: requirements/dev.txt pyproject.toml | packages
	$(PYTHON) -m venv .venv
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

lint: venv ## Check style, types, layers and playbooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas --check
	$(BIN)/python -m api --check
	$(BIN)/python -m reconciler.docs --check
	ANSIBLE_COLLECTIONS_PATH=ansible/collections $(BIN)/ansible-lint --offline --profile production ansible
	@for playbook in $(PLAYBOOKS); do $(BIN)/ansible-playbook --syntax-check "$$playbook" > /dev/null; done

# Three at a time: on two cores, two leave a third of the time unused while they wait for servers.
test: packages venv ## Run every test against real servers
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

faults-restore: packages venv ## Kill a restore at every one of its steps
	PRESSLUFT_FAULTS=all $(BIN)/python -m pytest tests/integration/node/test_restore_killed.py $(ARGS)

faults-adopt: packages venv ## Kill adopting a docroot, and undoing it, at every step; promote to an adopted site
	PRESSLUFT_FAULTS=all $(BIN)/python -m pytest tests/integration/node/test_adopt_killed.py tests/e2e/test_adopt.py $(ARGS)

demo: packages venv ## Watch promotions between two real WordPress sites
	$(BIN)/pressluft demo $(ARGS)

bench: packages venv ## Measure; not part of the tests
	$(BIN)/python -m pytest tests/bench -o python_files='bench_*.py' --ignore-glob='*/bench_cutover*' -s $(ARGS)

bench-cutover: packages venv ## Promote under load, and a 5 GB site (hours; PRESSLUFT_BENCH_*; see docs)
	$(BIN)/python -m pytest tests/bench -o python_files='bench_cutover*.py' -q -s $(ARGS)

bench-drift: packages venv ## Race the drift check against its rivals (apt: percona-toolkit b3sum)
	$(BIN)/python -m pytest tests/bench -o python_files='bench_drift*.py' -q -s $(ARGS)

faults: packages venv ## Break the reconciler at every fail point and on 2,000 random days
	$(BIN)/python -m tests.faults --write $(ARGS)

faults-day: packages venv ## Run 10,000 jobs on real git in a day of the fake clock (half an hour)
	$(BIN)/python -m tests.faults.day --write $(ARGS)

faults-daemons: packages venv ## Let three daemons do 300 jobs while two people push ten times a second
	PRESSLUFT_FAULTS=all $(BIN)/python -m pytest tests/integration/reconciler/test_many_daemons.py -s $(ARGS)

faults-cutover: packages venv ## Kill every process at every step of a cut-over; takes an hour
	PRESSLUFT_FAULTS=$(CURDIR)/cut-over-faults.md $(BIN)/python -m pytest tests/faults/test_kill_matrix.py tests/e2e/test_kill_over_ssh.py -q $(ARGS)
	@cat cut-over-faults.md

faults-nodes: packages venv ## Cut cables between three hosts during promotions and refreshes (about an hour)
	@rm -f cut-cable-faults.md
	PRESSLUFT_FAULTS=$(CURDIR)/cut-cable-faults.md $(BIN)/python -m pytest tests/faults -o python_files='faults_nodes*.py' -s $(ARGS)
	@cat cut-cable-faults.md

faults-adapters: packages venv ## Kill a push and the start of a run before and after every call into C
	PRESSLUFT_FAULTS=all $(BIN)/python -m pytest tests/integration/git/test_fail_points.py tests/integration/runner/test_fail_points.py -s --timeout 3600 $(ARGS)

faults-peer: packages venv ## Kill the relay and the agent of two nodes at every question of a step
	PRESSLUFT_FAULTS=all $(BIN)/python -m pytest tests/integration/node/test_peer_killed.py $(ARGS)

fuzz: packages venv ## Try 100,000 documents that nearly make sense
	$(BIN)/python -m tests.fuzz $(ARGS)

lock: venv ## Pin the dependencies of pyproject.toml, with hashes
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --output-file requirements/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra dev --output-file requirements/dev.txt

wheel: venv ## Build dist/pressluft-*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove what make made in this folder; the cache of downloads stays
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .ansible
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
