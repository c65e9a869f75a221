# Each line is what CI or a person would type; `make check` is everything CI runs and the linters.
PYTHON ?= python3

.PHONY: run test check lint format types doctor docs

run:
	$(PYTHON) launch.py

test:
	$(PYTHON) launch.py test

lint:
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .

types:
	.venv/bin/python -m pyright

format:
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

check: test lint types

doctor:
	$(PYTHON) launch.py doctor

docs:
	.venv/bin/python -m mkdocs build --strict
