# Needs Python 3.10 or newer and make (GNU make 3.81 or newer). Everything else goes into .venv.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

# On Linux the default torch brings several GB of CUDA packages. CPU=1 takes PyTorch's own CPU build.
ifeq ($(CPU),1)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

VENV_PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP_INSTALL := $(VENV_PYTHON) -m pip install --disable-pip-version-check -c constraints.txt
# Two processes of one thread each, not one of two: most tests are too small for a second thread.
JOBS ?= 2
SIDE_BY_SIDE := OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -n $(JOBS)
# What the notebooks see when they run unattended: fewer steps, no progress bars, no network.
UNATTENDED := KOLORS_COURSE_FAST=1 TQDM_DISABLE=1 HF_HUB_OFFLINE=1 \
	MPLBACKEND=module://matplotlib_inline.backend_inline

.PHONY: help notebook-setup demo test test-browser lab render mini artefacts bench docs lint

help:
	@echo "make demo    train a style LoRA on Kolors-mini and draw the 8-picture story"
	@echo "make test    check the code, run the unit tests and every notebook"
	@echo "make test-browser  run every notebook in JupyterLab in Chromium; screenshots in outputs/browser"
	@echo "make lab     open the notebooks in JupyterLab on this machine"
	@echo "make render  run the notebooks top to bottom and save their outputs"
	@echo "make mini    train Kolors-mini again from scratch (hours on a CPU; can be resumed)"
	@echo "make artefacts  make again what is stale: data, figures, scores, notebooks;"
	@echo "                ARGS=--list only says what is, ARGS=<name> makes one; ARGS=--help"
	@echo "make bench   measure speed and memory"
	@echo "make docs    pages of the library from its docstrings, in outputs/api"
	@echo "make lint    check code style and types only"
	@echo
	@echo "make notebook-setup    on a GPU notebook: install around the torch of its image, not into $(VENV);"
	@echo "                       ARGS=--dry-run only tells what would be installed"
	@echo
	@echo "The first run sets up $(VENV); later runs reuse it. Options, written as NAME=value:"
	@echo "  ARGS='...'           passed on to the command (make test: to pytest on tests/)"
	@echo "  JOBS=4               how many processes test at a time (default 2; 2 GB of memory each)"
	@echo "  CPU=1                install PyTorch's CPU build: a far smaller download on Linux"
	@echo "  TORCH_INDEX=<url>    install torch from this package index"
	@echo "  PYTHON=python3.12    the Python to build $(VENV) with (3.10 or newer)"

demo: $(READY)
	$(VENV_PYTHON) -m kolors_course demo $(ARGS)

test: $(READY) lint
	$(SIDE_BY_SIDE) --dist worksteal -rs tests $(ARGS)
	$(UNATTENDED) $(SIDE_BY_SIDE) --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=180 notebooks/

# Two notebooks at a time, as above; what is missing is told and fails.
test-browser: $(READY)
	$(SIDE_BY_SIDE) --dist worksteal -m browser tests/test_lab_lessons.py $(ARGS)

lab: $(READY)
	$(VENV_PYTHON) -m jupyterlab --ServerApp.ip=127.0.0.1 --ServerApp.root_dir=. --allow-root \
		--ServerApp.contents_manager_class=scripts.notebook_form.CourseFiles \
		--LabApp.default_url=/lab/tree/notebooks $(ARGS)

render: $(READY)
	$(VENV_PYTHON) scripts/render_notebooks.py $(ARGS)

mini: $(READY)
	$(VENV_PYTHON) -m kolors_course train-mini $(ARGS)

artefacts: $(READY)
	$(VENV_PYTHON) scripts/artefacts.py $(ARGS)

bench: $(READY)
	$(VENV_PYTHON) benchmarks/run.py $(ARGS)

docs: $(READY)
	$(VENV_PYTHON) scripts/api_pages.py

lint: $(READY)
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy

# Into $(PYTHON) itself, whose torch stays; ARGS=--dry-run.
notebook-setup:
	@$(PYTHON) scripts/notebook_setup.py $(ARGS)

# pip >= 22 for editable installs. torch first and alone, so that its index serves nothing else; the pins
# in constraints.txt decide its version.
$(READY): pyproject.toml constraints.txt
	@command -v $(firstword $(PYTHON)) >/dev/null || { \
		echo "$(PYTHON) not found: install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$$($(PYTHON) --version 2>&1) is too old: 3.10 or newer is needed; name one: make PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: on Debian or Ubuntu run: apt install python3-venv" >&2; \
		exit 1; }
	$(VENV_PYTHON) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP_INSTALL) 'pip>=22'
	$(PIP_INSTALL) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP_INSTALL) -e '.[notebooks,dev]'
	@touch $@
