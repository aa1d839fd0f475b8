# Everything works from a fresh clone with python3 (3.11 or newer) and make: each target brings what it needs into
# .venv. VENV=DIR, PYTHON=PROGRAM, JOBS=N and ARGS='…' (for run, test and bench) may be given.

VENV ?= .venv
export VENV PYTHON JOBS
BIN = $(VENV)/bin
.DEFAULT_GOAL = help
.PHONY: help run test lint bench leaks pyz man docs golden clean venv dev
.NOTPARALLEL:

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: venv ## explain the OOM kills of this host (a bundled real one where there were none)
	@ARGS='$(ARGS)' scripts/run.sh

test: dev ## run all tests (one for each core at a time) and leave nothing behind
	@scripts/test.sh $(ARGS)

lint: dev ## ruff and mypy --strict
	@$(BIN)/python -m ruff check --no-cache .
	@$(BIN)/python -m mypy --cache-dir=/dev/null

bench: dev ## measure speed and memory (some minutes)
	@$(BIN)/python bench/run.py $(ARGS)
	@test -n '$(ARGS)' || $(BIN)/python bench/audit_bench.py

leaks: dev ## how good the verdicts on leaks and the forecasts are, on the labelled corpus
	@$(BIN)/python bench/leaks/evaluate.py $(ARGS)

pyz: venv ## build dist/oomsight.pyz: one file that runs with python3 anywhere
	@$(BIN)/python tools/make_pyz.py dist/oomsight.pyz

man: venv ## write the man pages to dist/man
	@$(BIN)/python tools/make_man.py dist/man

docs: dev ## write the reference and the outputs shown in README and docs anew
	@$(BIN)/python tools/gen_reference.py
	@$(BIN)/python tools/doc_blocks.py --write

golden: dev ## write the expected results of tests/golden anew; look at the difference before you believe it
	@scripts/test.sh --update-golden tests/golden

clean: ## remove what was built and cached, .venv included
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
	test ! -e '$(VENV)/pyvenv.cfg' || rm -rf '$(VENV)'

venv:
	@scripts/bootstrap.sh run

dev:
	@scripts/bootstrap.sh dev

include vmtest/vmtest.mk
