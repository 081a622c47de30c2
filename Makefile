# Two commands do everything on a machine with Python 3.11+, pip, make and a C compiler:
#   make ladder   train the default ladder (configs/ladders/laptop.yaml) and typeset its report
#   make test     linters, the arrows between rooms, types, tests
PYTHON ?= python3
BIN := .venv/bin
# Every test starts many processes; without byte code each would compile torch and pandas anew, for 6 s.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: ladder test setup clean
ladder: setup
	$(BIN)/snakemake

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

setup: .venv/installed

# torch is pinned in constraints.txt; any other version may bring gigabytes of CUDA libraries.
# --no-compile: 12,000 modules come, of which Python compiles the few that are imported when they are.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv results/*/
