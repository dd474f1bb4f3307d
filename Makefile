# Two commands matter: `make reproduce` and `make test`. Each sets up everything it needs in .venv.

PYTHON  ?= python3
PROFILE ?= demo
DATA    ?=
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
SETS    ?=
RUN_ARGS = $(if $(DATA),--data "$(DATA)") $(foreach s,$(SETS),--set "$(s)")

.PHONY: help setup reproduce status test test-slow lint format lab lock readme clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(STAMP) ## make .venv with the pinned versions

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "synthgap needs Python 3.11 or later, and '$(PYTHON)' is not one; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

reproduce: setup ## run a profile: PROFILE=demo (default), recorded, paper; DATA=folder of the real sets
	$(BIN)/python -m synthgap run $(PROFILE) $(RUN_ARGS)

status: setup ## what of a profile is done and what is missing
	$(BIN)/python -m synthgap status $(PROFILE) $(RUN_ARGS)

test: setup lint ## style, types and tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup ## the longest tests, which `make test` leaves out
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## put code and notebooks into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lab: setup ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

readme: setup ## write README's results anew from outputs/recorded
	$(BIN)/python -m synthgap readme

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-header --no-annotate \
		$(foreach p,$(CUDA_PACKAGES),--no-emit-package $(p)) pyproject.toml --output-file requirements.lock

# torch pins these itself, for GPU machines; CPU builds of torch do without them.
CUDA_PACKAGES := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc \
	nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse \
	nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton

clean: ## remove .venv and caches, never outputs
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
