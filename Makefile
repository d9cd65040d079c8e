# The six verbs. Each works from a fresh clone: what it needs is installed by `setup`.
BIN := .venv/bin

.PHONY: setup test lint types bench docs

setup: $(BIN)/.ready

$(BIN)/.ready: pyproject.toml
	python3 -m venv --without-pip .venv
	python3 -m pip --python .venv install -q -e '.[dev]'
	touch $@

test: setup
	$(BIN)/pytest -q -n auto

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	python3 -m pip --python .venv install -q -e '.[bench]'
	$(BIN)/python -m bench

docs: setup
	$(BIN)/pytest -q tests/docs
