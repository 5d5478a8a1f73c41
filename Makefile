# make train and make test set up everything they need; they want python3 (3.11 or later) and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install train test test-browser test-cluster lint format smoke tour reproduce benchmark torture tensorboard clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(READY) ## create .venv with everything train.py and the tests need

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or later is needed, try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

train: $(READY) ## learn ten digits one after another (ARGS="strategy=finetune ..." for others)
	$(BIN)/python train.py strategy=joint_retrain $(ARGS)

test: $(READY) ## run the tests, side by side
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-cluster: $(READY) ## sweeps on a real Slurm, which it installs and stops again (Debian, root, about 7 minutes)
	@bash tests/cluster/slurm.sh install
	$(BIN)/python -m pytest tests/cluster $(ARGS)

test-browser: $(READY) ## pages in a real browser, which it installs if it is missing (Debian; root to install)
	@bash tests/browser/chromium.sh
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,browser]'
	$(BIN)/python -m pytest tests/browser -rP $(ARGS)

lint: $(READY) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(READY) ## all strategies in seconds, on generated images
	$(BIN)/python train.py -m 'strategy=glob(*)' debug=smoke

tour: $(READY) ## run docs/tour.ipynb again and keep its outputs (3 minutes)
	$(BIN)/python docs/tour.py

reproduce: $(READY) ## make the tables of the documentation again (days; goes on where it stopped; ARGS=table=NAME)
	$(BIN)/python -m mergan.reproduce $(ARGS)

benchmark: $(READY) ## how fast training is, as ratios (an idle machine, about an hour)
	$(BIN)/python -m benchmarks $(ARGS)

torture: $(READY) ## kill, starve, mislead and attack runs, and count what is lost (about 40 minutes)
	$(BIN)/python -m torture $(ARGS)

tensorboard: $(READY) ## watch the runs
	$(BIN)/tensorboard --logdir runs --samples_per_plugin images=1000

clean: ## remove the environment and all caches; runs stay
	rm -rf $(VENV) cache .pytest_cache .ruff_cache .mypy_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
