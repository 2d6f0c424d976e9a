# The commands. `make` alone lists them.

PROFILE ?= laptop
SEED ?= 0
SEEDS ?= 0 1 2
NB ?= empirical_study
JOBS ?=
PYTHON ?= python3
VENV ?= .venv
SETUP ?= $(VENV)/.ready
BENCH_VENV ?= .venv-bench
LAB_ARGS ?=
BENCH_ARGS ?=
SNAKEMAKE_ARGS ?=
PYTEST_ARGS ?=

export PYTHONPATH := $(CURDIR)
export PATH := $(abspath $(VENV))/bin:$(PATH)
export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1
# Threads that wait spin only briefly: on a machine that does anything else besides, long spinning halves the speed.
export GOMP_SPINCOUNT := 20000

# Where the user's home can't be written to, as in some containers, caches go into this folder.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
XDG_CACHE_HOME ?= $(CURDIR)/.home/cache
XDG_DATA_HOME ?= $(CURDIR)/.home/data
MPLCONFIGDIR ?= $(CURDIR)/.home/matplotlib
IPYTHONDIR ?= $(CURDIR)/.home/ipython
JUPYTER_CONFIG_DIR ?= $(CURDIR)/.home/jupyter
export XDG_CACHE_HOME XDG_DATA_HOME MPLCONFIGDIR IPYTHONDIR JUPYTER_CONFIG_DIR
endif

BUILD = python -m study.commands.build notebooks/profiles/$(PROFILE).yaml $(SEED) $(if $(JOBS),--jobs $(JOBS))

# A variable's value where the caller set it, nothing where it is the default above.
given = $(if $(filter-out file,$(origin $(1))),$($(1)))

.DEFAULT_GOAL := help
.PHONY: help setup book read pdf archive verify test torture plan bench notebook run sweep clean checked
.SILENT:

help: ## list these commands
	awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	echo "  with PROFILE=$$(ls notebooks/profiles | sed 's/\.yaml//' | paste -sd '|' -) (default laptop), SEED=0, NB=$(NB); JOBS=2 jobs at a time"

setup: $(SETUP) ## install the pinned environment into .venv (book and test do this themselves)

book: checked $(SETUP) ## compute and build the whole book: _build/html/index.html (PROFILE, SEED)
	$(BUILD) book -- $(SNAKEMAKE_ARGS)
	echo "The book: $(CURDIR)/_build/html/index.html"

read: checked $(SETUP) ## build the published book, computing nothing: _build/published/html/index.html (PROFILE)
	python -m study.commands.read $(call given,PROFILE)

pdf: $(SETUP) ## print the book, yours or what make read left: _build/book.pdf (needs Chromium or Chrome)
	python -m study.commands.pdf

archive: checked $(SETUP) ## pack tables, figures, notebooks, adapters and checksums: _build/PROFILE.zip (PROFILE)
	python -m study.commands.archive $(PROFILE)

verify: checked $(SETUP) ## compare your tables with the published ones, value by value (PROFILE, SEED; by default all seeds)
	python -m study.commands.verify $(PROFILE) $(call given,SEED)

test: $(SETUP) ## check style, layers and types, run unit tests, build the whole book in the smoke profile
	ruff check .
	lint-imports --no-logo --no-cache
	mypy
	python -m pytest $(PYTEST_ARGS)

torture: $(SETUP) ## test with wrong, hostile and broken input, and every page in a browser; no part of make test
	python -m pip install --disable-pip-version-check --quiet -r requirements-torture.txt
	python -m pytest -o addopts="--import-mode=importlib -ra" tests/torture $(PYTEST_ARGS)

plan: checked $(SETUP) ## estimate tokens, memory, and minutes on this machine; downloads nothing (PROFILE)
	python -m study.commands.plan notebooks/profiles/$(PROFILE).yaml

bench: $(SETUP) $(if $(BENCH_VENV),$(BENCH_VENV)/.ready) ## measure speed beside bare passes and other tools (BENCH_ARGS=--help; BENCH_VENV= leaves them out)
	python -m tests.bench $(BENCH_ARGS) $(if $(BENCH_VENV),--peers $(BENCH_VENV)/bin/python)

notebook: checked $(SETUP) ## open JupyterLab on a copy of one notebook (NB, PROFILE, SEED)
	copy=notebooks/my/$(NB)-$(PROFILE)-$(SEED).ipynb; mkdir -p notebooks/my; \
	if [ ! -e $$copy ]; then \
	  sed 's/^profile = "laptop"/profile = "$(PROFILE)"/; s/^seed = 0$$/seed = $(SEED)/' notebooks/$(NB).md | \
	    jupytext --quiet --from md:myst --to ipynb --update-metadata '{"jupytext": null}' --output $$copy - || exit 1; \
	elif [ notebooks/$(NB).md -nt $$copy ]; then \
	  echo "$$copy is your copy from before, and the book's notebook has changed since; delete yours to start from the book's"; \
	fi; \
	jupyter lab $$copy $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

run: checked $(SETUP) ## execute one notebook: results/PROFILE/seed-SEED/NB.ipynb (NB, SEED, PROFILE)
	$(BUILD) $(NB) -- $(SNAKEMAKE_ARGS)
	echo "The notebook: $(CURDIR)/results/$(PROFILE)/seed-$(SEED)/$(NB).ipynb"

sweep: checked $(SETUP) ## run several seeds, then build the book with their spread (SEEDS="0 1 2")
	$(BUILD) sweep --seeds $(SEEDS) -- $(SNAKEMAKE_ARGS)
	echo "The book: $(CURDIR)/_build/html/index.html"

clean: ## remove the built book; keep artifacts/ and results/, which took long
	rm -rf _build book/executed .snakemake .lock
	echo "Kept: artifacts/ and results/ (to start from nothing: rm -r artifacts results/$(PROFILE))"

# Reject wrong input before anything is installed or computed.
checked:
	test -f notebooks/profiles/$(PROFILE).yaml || \
	  { echo "PROFILE=$(PROFILE): no such profile; choose from $$(ls notebooks/profiles | sed 's/\.yaml//' | paste -sd ' ' -)"; exit 2; }
	test -f notebooks/$(NB).md || \
	  { echo "NB=$(NB): no such notebook; choose from $$(cd notebooks && ls | grep 'md$$' | sed 's/\.md//' | paste -sd ' ' -)"; exit 2; }
	case "$(JOBS)" in *[!0-9]*) echo "JOBS=$(JOBS): not a whole number; give one such as JOBS=2"; exit 2;; esac
	case "$(SEED)" in ""|*[!0-9]*|0?*) \
	  echo "SEED=$(SEED): not a whole number, 0 or more; give one such as SEED=1"; exit 2;; esac
	for seed in $(SEEDS); do case "$$seed" in *[!0-9]*) \
	  echo "SEEDS: '$$seed' is not a whole number, 0 or more; give some such as SEEDS=\"0 1 2\""; exit 2;; esac; done

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python {v[0]}.{v[1]} is too old: 3.11 or newer is needed; make PYTHON=python3.11")'
	rm -f $@
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-build-isolation -c requirements.txt -e ".[study]"
	echo "$(CURDIR)" > $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth
	touch $@

# The tools that speed is compared with. They bring builds of torchvision and torchaudio that may not fit torch and then
# break what imports transformers; none of the tools needs these.
$(BENCH_VENV)/.ready: requirements-bench.txt
	rm -f $@
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --disable-pip-version-check -r requirements-bench.txt
	$(BENCH_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@
