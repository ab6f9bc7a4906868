# `make help` lists what there is. Everything happens in .venv; nothing is installed
# outside of it, and nothing needs root.

PYTHON ?= python3
BIN := .venv/bin
PIP = $(shell test -x $(BIN)/pip && echo $(BIN)/python -m pip || echo $(PYTHON) -m pip --python $(BIN)/python) --disable-pip-version-check
# What a change of makes the installation out of date.
SOURCES := pyproject.toml setup.cfg constraints.txt
PACKAGES := server actors sql
CHECKED := $(PACKAGES) tests $(wildcard loadtests)
LICENCES := MIT;Apache;BSD;ISC;PSF;Python Software
# By name, each with its reason: none of these is part of a plain installation.
# MPL-2.0: hypothesis tests, pathspec is mypy's, bidict is locust's, certifi is data.
# ZPL-2.1 (BSD-like): zope.event and zope.interface are locust's.
EXCEPTIONS := boardcast hypothesis pathspec bidict certifi zope.event zope.interface
ROUNDS ?= 10

.DEFAULT_GOAL := help
.PHONY: help setup run dev test lint build migrate seed chaos bench production clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: .venv/dev ## install everything, tools for development too

# exec: Ctrl-C is the server's business alone, and make has nothing to complain about.
run: .venv/run ## start the server with its own PostgreSQL and Valkey, and a demo company
	@exec $(BIN)/boardcast serve --demo

dev: .venv/dev ## the same for development: warnings shown, logs in full
	@BOARDCAST_LOG_LEVEL=debug exec $(BIN)/python -X dev -m server serve --demo

test: .venv/dev ## run all tests: three levels, each held to its coverage, then all together
	@rm -f .coverage .coverage.*
	@$(call level,unit,85)
	@$(call at_once,integration,75,e2e,60)
	@$(BIN)/coverage combine --quiet --keep .coverage.unit .coverage.integration .coverage.e2e
	@echo "== all together, coverage at least 90 %"
	@$(BIN)/coverage report --fail-under=90

# One level: $(1) is its folder, $(2) the least coverage. Servers that a test starts
# write their own part, from wherever they run: hence the absolute path.
define level
echo "== $(1) tests, coverage at least $(2) %" && \
COVERAGE_FILE=$(CURDIR)/.coverage.$(1).part $(BIN)/coverage run -m pytest tests/$(1) && \
$(BIN)/coverage combine --quiet --data-file=.coverage.$(1) $(CURDIR)/.coverage.$(1).part.* && \
printf '$(1) coverage in %%: ' && \
$(BIN)/coverage report --data-file=.coverage.$(1) --fail-under=$(2) --format=total
endef

# Two levels at a time, for the two cores of a usual machine: the first one's output is
# shown when the second has ended, and Ctrl-C ends both.
define at_once
( $(call level,$(1),$(2)) ) >.$(1).log 2>&1 & first=$$!; \
trap 'kill $$first 2>/dev/null' INT TERM; \
( $(call level,$(3),$(4)) ); second=$$?; \
wait $$first; first=$$?; cat .$(1).log; rm -f .$(1).log; \
test $$first -eq 0 && test $$second -eq 0
endef

lint: .venv/dev ## check style, types, imports and licences
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy --strict $(PACKAGES)
	$(BIN)/lint-imports
	@$(BIN)/pip-licenses --partial-match --allow-only='$(LICENCES)' --ignore-packages $(EXCEPTIONS) >/dev/null && echo 'Licences: all allowed'

build: .venv/dev ## build the wheel and the source archive into dist/
	@$(PIP) install --quiet build
	$(BIN)/python -m build

migrate: .venv/run ## bring the database up to date
	@exec $(BIN)/boardcast migrate

seed: .venv/run ## fill an empty database with a demo company
	@exec $(BIN)/boardcast seed

chaos: .venv/dev ## the long forms of the fault and stress tests, about an hour; kills servers ROUNDS times
	@BOARDCAST_CHAOS_SECONDS=60 BOARDCAST_CHAOS_SEEDS=5 $(BIN)/pytest -s tests/e2e/test_chaos.py
	@BOARDCAST_LOSSY_SECONDS=60 BOARDCAST_REDIS_AWAY_SECONDS=30 $(BIN)/pytest -s \
		tests/e2e/test_lossy_relay.py tests/e2e/test_redis_away.py
	@BOARDCAST_CHAOS_ROUNDS=$(ROUNDS) $(BIN)/pytest --timeout=900 tests/e2e/test_kill.py
	@BOARDCAST_LOGIN_SAMPLES=2000 BOARDCAST_FLOOD_SECONDS=10 $(BIN)/pytest -s tests/e2e/test_logins.py
	@BOARDCAST_READ_ROUNDS=$$((1000 * $(ROUNDS))) $(BIN)/pytest -k behind tests/integration/test_min_version.py tests/e2e/test_two_servers.py
	@BOARDCAST_CURSOR_SECONDS=60 BOARDCAST_FRESH_ROUNDS=1000 $(BIN)/pytest --timeout=900 \
		tests/integration/test_cursors.py tests/integration/test_freshness.py
	@BOARDCAST_RESUME_CUTS=1000 BOARDCAST_REVOCATIONS=500 $(BIN)/pytest -s \
		tests/e2e/test_resume.py tests/e2e/test_revocations.py
	@BOARDCAST_ROLLING_RATE=500 BOARDCAST_ROLLING_SOCKETS=1000 $(BIN)/pytest -s tests/e2e/test_rolling.py
	@BOARDCAST_SCHEMATHESIS_EXAMPLES=200 $(BIN)/pytest -s tests/e2e/test_schemathesis.py

bench: .venv/dev ## measure, each number beside its goal, about a quarter of an hour
	@exec $(BIN)/python -m loadtests.bench

production: .venv/run ## start as in production: settings from the environment, all of them
	@BOARDCAST_ENV=production exec $(BIN)/boardcast serve

clean: ## remove what was installed and built; the data in .boardcast stays
	rm -rf .venv build dist *.egg-info .coverage* htmlcov .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The two installations: what is needed to run, and what is needed to change it.
.venv/run: $(SOURCES) | .venv/made
	@echo "Installing into .venv (once, about a minute) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/dev: $(SOURCES) | .venv/made
	@echo "Installing into .venv, with the tools for development (once) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ .venv/run

# Debian's python3 alone cannot put pip into an environment (ensurepip is missing), but
# its pip can work on one from outside.
.venv/made:
	@command -v $(PYTHON) >/dev/null || { echo "Boardcast needs Python 3.11 or newer; there is no $(PYTHON)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Boardcast needs Python 3.11 or newer, which $(PYTHON) is not; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip .venv
	@test -x $(BIN)/pip || $(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "Boardcast needs pip to install itself, and $(PYTHON) has none (Debian: apt install python3-pip)." >&2; exit 1; }
	@touch $@
