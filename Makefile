# The commands. `make` alone lists them.

PROFILE ?= laptop
SEED ?= 0
SEEDS ?= 0 1 2
NB ?= empirical_study
JOBS ?=
PRECISION ?=
PYTHON ?= python3
VENV ?= .venv
SETUP ?= $(VENV)/.ready
BENCH_VENV ?= .venv-bench
CLIENTS_VENV ?= .venv-clients
FACTORY_VENV ?= .venv-llamafactory
LAB_ARGS ?=
BENCH_ARGS ?=
CLIENTS ?=
SNAKEMAKE_ARGS ?=
PYTEST_ARGS ?=

# What changes how a tool works comes from this file, whatever the caller's environment and home folder hold. Places,
# tokens, networks, threads, instruction sets, clusters and terminals stay the caller's, and so does JupyterLab's setup.
DROPPED := PYTHON% # other modules, no assertions, errors for warnings, another encoding
DROPPED += SNAKEMAKE_% # profiles: SNAKEMAKE_ARGS names one
DROPPED += IPYTHON% IPYKERNEL_% IPY_% JPY_% PYDEVD_% TRAITLETS_% NBFORMAT_% # startup files; set inside a notebook
DROPPED += MPL% MATPLOTLIB% PANDAS_% SCIPY_% SKLEARN_% PYDANTIC_% TQDM_% COLUMNS LINES
DROPPED += SPHINX% DOCUTILS% READTHEDOCS% LANGUAGE # addresses and messages
DROPPED += HF_% TRANSFORMERS_% USE_HUB_KERNELS USE_TORCH% USE_TF ACCELERATE_% FSDP_% PARALLELISM_CONFIG_%
DROPPED += RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT TORCHELASTIC_% # a share of the batches
DROPPED += PIP_% SETUPTOOLS_% DISTUTILS_% DIST_EXTRA_CONFIG # other folders, other versions
DROPPED += GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE GIT_%_PATHSPECS
DROPPED += BASH% SHELLOPTS ENV CDPATH GLOBIGNORE GREP_OPTIONS POSIXLY_CORRECT QUOTING_STYLE
KEPT := PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX SNAKEMAKE_SLURM_% SNAKEMAKE_STORAGE_%
KEPT += HF_HOME HF_TOKEN% HF_ENDPOINT HF_HUB_% HF_XET_% HF_%_CACHE TRANSFORMERS_OFFLINE TRANSFORMERS_CACHE
KEPT += PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_TRUSTED_HOST PIP_PROXY PIP_CERT PIP_CLIENT_CERT
KEPT += PIP_CACHE_DIR PIP_NO_CACHE_DIR PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_CONFIG_FILE PIP_KEYRING_PROVIDER
KEPT += PIP_ONLY_BINARY PIP_USE_%
LAB := $(filter notebook,$(MAKECMDGOALS))
DROPPED += $(if $(LAB),JUPYTER_DEFAULT_PROVISIONER_NAME,JUPYTER%)
unexport $(filter-out $(KEPT),$(filter $(DROPPED),$(.VARIABLES)))
export PYTHONPATH := $(CURDIR)
export PYTHONNOUSERSITE := 1
export PYTHONUTF8 := 1
export PIP_USER := 0
export PIP_DRY_RUN := 0
export PIP_NO_DEPS := 0
export PIP_REQUIRE_HASHES := 0
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Kernels are looked for there first; connection files, startup files, matplotlibrc and fonts only in this folder.
export JUPYTER_PATH := $(abspath $(VENV))/share/jupyter$(and $(LAB),$(JUPYTER_PATH),:$(JUPYTER_PATH))
export JUPYTER_PREFER_ENV_PATH := 1
ifndef LAB
export JUPYTER_RUNTIME_DIR := $(CURDIR)/.home/jupyter
endif
export IPYTHONDIR := $(CURDIR)/.home/ipython
export MPLCONFIGDIR := $(CURDIR)/.home/matplotlib
export MPL_IGNORE_SYSTEM_FONTS := 1
export DOCUTILSCONFIG := # no file, not even ~/.docutils
export TOKENIZERS_PARALLELISM := false
export STUDY_PRECISION = $(call given,PRECISION)
export HF_HUB_DISABLE_TELEMETRY := 1
# Threads that wait spin only briefly: on a machine that does anything else besides, long spinning halves the speed.
export GOMP_SPINCOUNT := 20000

# Where the user's home can't be written to, as in some containers, caches go into this folder.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
XDG_CACHE_HOME ?= $(CURDIR)/.home/cache
XDG_DATA_HOME ?= $(CURDIR)/.home/data
JUPYTER_CONFIG_DIR ?= $(CURDIR)/.home/jupyter
export XDG_CACHE_HOME XDG_DATA_HOME JUPYTER_CONFIG_DIR
endif

BUILD = python -m study.commands.build notebooks/profiles/$(PROFILE).yaml $(SEED) $(if $(JOBS),--jobs $(JOBS))

# A variable's value where the caller set it, nothing where it is the default above.
given = $(if $(filter-out file,$(origin $(1))),$($(1)))

# What the caller's pip.conf may say of the place does not count; of indexes and networks it does.
install = $(1)/bin/python -m pip install --disable-pip-version-check --target= --root=/ --prefix="$(abspath $(1))"

# LLaMA-Factory's environment, unless it is left out, or clients of the other are chosen.
FACTORY = $(if $(CLIENTS),,$(if $(FACTORY_VENV),$(FACTORY_VENV)/.ready))

.DEFAULT_GOAL := help
.PHONY: help setup book read pdf archive verify test torture plan bench clients notebook run sweep release clean checked
.SILENT:

help: ## list these commands
	awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	echo "  with PROFILE=$$(ls notebooks/profiles | sed 's/\.yaml//' | paste -sd '|' -) (default laptop), SEED=0, NB=$(NB); JOBS=2 jobs at a time, PRECISION=float32 in place of auto"

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
	$(call install,$(VENV)) --quiet -r requirements-torture.txt
	python -m pytest -o addopts="--import-mode=importlib -ra" tests/torture $(PYTEST_ARGS)

plan: checked $(SETUP) ## estimate tokens, memory, and minutes on this machine; downloads nothing (PROFILE)
	python -m study.commands.plan notebooks/profiles/$(PROFILE).yaml

bench: $(SETUP) $(if $(BENCH_VENV),$(BENCH_VENV)/.ready) ## measure speed beside bare passes and other tools (BENCH_ARGS=--help; BENCH_VENV= leaves them out)
	python -m tests.bench $(BENCH_ARGS) $(if $(BENCH_VENV),--peers $(BENCH_VENV)/bin/python)

clients: $(SETUP) $(CLIENTS_VENV)/.ready $(FACTORY) ## compare real fine-tunes' attributions with their trainers' own gradients (CLIENTS; FACTORY_VENV= leaves out LLaMA-Factory)
	model=$$(python -m tests.clients.model) || exit; failed=0; \
	$(CLIENTS_VENV)/bin/python -m tests.clients $$model $(CLIENTS) || failed=1; \
	$(if $(FACTORY),$(FACTORY_VENV)/bin/python -m tests.clients.llama_factory $$model || failed=1;) \
	exit $$failed

notebook: checked $(SETUP) ## open JupyterLab on a copy of one notebook (NB, PROFILE, SEED)
	copy=notebooks/my/$(NB)-$(PROFILE)-$(SEED).ipynb; mkdir -p notebooks/my; \
	if [ ! -e $$copy ]; then \
	  sed 's/^profile = "laptop"/profile = "$(PROFILE)"/; s/^seed = 0$$/seed = $(SEED)/' notebooks/$(NB).md | \
	    JUPYTER_NO_CONFIG=1 JUPYTER_CONFIG_DIR=.home/jupyter JUPYTEXT_CEILING_DIRECTORIES="$$PWD" \
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

release: checked $(SETUP) ## add seeds to the published edition, at its commit (PROFILE, SEEDS)
	$(if $(call given,SEEDS),,echo 'SEEDS: none; name those to add, such as make release SEEDS="10 11"'; exit 2)
	python -m study.commands.release $(PROFILE) $(SEEDS)

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
	case "$(PRECISION)" in ""|float32|bfloat16);; *) \
	  echo "PRECISION=$(PRECISION): no such precision; choose from float32, bfloat16"; exit 2;; esac
	case "$(SEED)" in ""|*[!0-9]*|0?*) \
	  echo "SEED=$(SEED): not a whole number, 0 or more; give one such as SEED=1"; exit 2;; esac
	for seed in $(SEEDS); do case "$$seed" in *[!0-9]*) \
	  echo "SEEDS: '$$seed' is not a whole number, 0 or more; give some such as SEEDS=\"0 1 2\""; exit 2;; esac; done

$(VENV)/.ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"Python {v[0]}.{v[1]} is too old: 3.11 or newer is needed; make PYTHON=python3.11")'
	rm -f $@
	$(PYTHON) -m venv $(VENV)
	$(call install,$(VENV)) -r requirements.txt
	$(call install,$(VENV)) --quiet --no-build-isolation -c requirements.txt -e ".[study]"
	echo "$(CURDIR)" > $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth
	touch $@

# The trainers whose loss the command must differentiate; LLaMA-Factory asks for older versions than TRL's, and brings
# builds of torchvision and torchaudio that may not fit torch.
$(CLIENTS_VENV)/.ready: requirements-clients.txt
$(FACTORY_VENV)/.ready: requirements-llamafactory.txt
$(CLIENTS_VENV)/.ready $(FACTORY_VENV)/.ready:
	rm -f $@
	$(PYTHON) -m venv $(@D)
	$(call install,$(@D)) -r $<
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@

# The tools that speed is compared with. They bring builds of torchvision and torchaudio that may not fit torch and then
# break what imports transformers; none of the tools needs these.
$(BENCH_VENV)/.ready: requirements-bench.txt
	rm -f $@
	$(PYTHON) -m venv $(BENCH_VENV)
	$(call install,$(BENCH_VENV)) -r requirements-bench.txt
	$(BENCH_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio
	touch $@
