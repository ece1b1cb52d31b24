# make up     open the template sdcnd-term1 from this clone, print its URL
# make test   everything that checks the project
# make projects  every worked project of the course, in the sandbox, in Docker and in a browser
# make bench  the measured results, against other tools (needs root, Docker and debootstrap)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without bytecode each start of hotdesk compiles it anew, and is timed with that.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test projects lint types bench clean

up: $(VENV)/.installed
	$(BIN)/hotdesk up sdcnd-term1

test: $(VENV)/.developed
	tests/prepare
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin src
	$(BIN)/mypy --platform win32 src
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

projects: $(VENV)/.developed
	tests/prepare
	HOTDESK_TEST_PROJECTS=all $(BIN)/pytest tests/integration/test_projects.py tests/integration/test_checked_in_docker.py

lint: $(VENV)/.developed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.developed
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin src
	$(BIN)/mypy --platform win32 src

bench: $(VENV)/.developed
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hotdesk needs Python 3.11 or newer; say which: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "this Python has no venv: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.developed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed
