# Each goal installs what it needs into .venv; nothing is installed again while requirements.lock and
# pyproject.toml are unchanged. Tests run in WORKERS processes of one thread each.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
PYTHON ?= $(shell for p in python3.12 python3 python3.13 python3.14 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then echo $$p; break; fi; done)

.PHONY: demo test lint slow clean

demo: $(STAMP)
	$(BIN)/pdeml compare burgers --methods spectral,pinn --out runs/demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not gpu and not gmsh"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "pdeml needs Python 3.12 or newer, and none was found on the PATH." >&2; \
		echo "Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@sum=$$(cat requirements.lock pyproject.toml | cksum); \
	if [ "$$(cat $(STAMP) 2>/dev/null)" != "$$sum" ]; then \
		[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || exit 1; \
		echo "Installing into $(VENV) (about 6 GB and two minutes the first time) …"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock || exit 1; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e . || exit 1; \
		printf '%s\n' "$$sum" > $(STAMP); \
	else touch $(STAMP); fi
