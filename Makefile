# make demo    the whole loop on the embedded world, offline, a few minutes on two cores
# make test    all tests, and at least 90% of the lines of the pure modules covered
# make check   format, lint and strict types, as .ci/run does
# make format  put the format right
#
# Each of them first makes .venv from requirements.lock; nothing outside this folder is changed. It needs Python 3.11
# to 3.13: choose one with, for example, `make PYTHON=python3.12 test`.

PYTHON ?= python3
OUT ?= runs/demo
BIN := .venv/bin
READY := .venv/ready
FLOOR := 90

# What can be tested without files, network, clock or weights.
PURE := trajectory.py config.py metrics.py statistics.py dialects/*.py methods/*.py tools/noise.py \
        encoding/encode.py encoding/gate.py encoding/batches.py stages/unify.py stages/mix.py \
        stages/results.py stages/figures.py stages/story.py stages/table.py world/text.py \
        world/names.py world/pages.py world/questions.py world/oracle.py world/thoughts.py \
        formats/episodes.py
comma := ,
empty :=
space := $(empty) $(empty)
PURE_FILES := $(subst $(space),$(comma),$(addprefix src/fireact/,$(strip $(PURE))))

.PHONY: demo test check format
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/fireact demo --out $(OUT)

test: $(READY)
	$(BIN)/python -m pytest --cov=fireact --cov-report=
	$(BIN)/python -m coverage report --include='$(PURE_FILES)' --fail-under=$(FLOOR)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit("Python %d.%d is not supported; choose 3.11 to 3.13, as in: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
