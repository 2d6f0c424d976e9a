# What depends on what. The Makefile calls this; `make help` says how.
#
# config: profile, seed (the one the book shows), seeds (those of a sweep), jobs (runs at a time)

from pathlib import Path

PROFILE = config.get("profile", "laptop")
SEED = int(config.get("seed", 0))
SWEPT = [int(seed) for seed in str("" if config.get("seeds") is None else config["seeds"]).split()]
NOTEBOOKS = ["empirical_study", "approximation_error", "convergence", "parameter_change", "appendix_b"]

ENGINE = sorted(str(path) for pattern in ("**/*.py", "**/*.yaml") for path in Path("ifcore").glob(pattern))
PAGES = ["_config.yml", "_toc.yml", *sorted(str(path) for path in Path("book").glob("*.*"))]
PAGES += sorted(str(path) for path in Path("book/_static").glob("*"))

# OMP_NUM_THREADS is set by hand: a run that shares the machine must not take all of it.
EXECUTE = "OMP_NUM_THREADS={threads} python -m ifcore.study.execute {input.profile} {params.seed} {input.notebook} {output}"


def tables_of_other_seeds(_):
    """Finished earlier, not asked for now: the shown edition takes their spread into its tables."""
    shown = {f"seed-{seed}" for seed in (SEED, *SWEPT)}
    return sorted(str(p) for p in Path("results", PROFILE).glob("seed-*/*.csv") if p.parent.name not in shown)


def after(folder):
    """Chapters are executed in the book's order: an input that makes none stale, however new it is."""

    def before(wildcards):
        place = NOTEBOOKS.index(wildcards.nb) if wildcards.nb in NOTEBOOKS else 0
        own, previous = (Path(folder.format(**wildcards), f"{NOTEBOOKS[at]}.ipynb") for at in (place, place - 1))
        # Snakemake takes an ancient input for a reason to run after all where it isn't there.
        return ancient(str(previous)) if place and (previous.exists() or not own.exists()) else []

    return before


rule book:
    input:
        expand("book/executed/{nb}.ipynb", nb=NOTEBOOKS),
        PAGES,
    output:
        "_build/html/index.html",
    shell:
        "jupyter-book build . -W -n --keep-going -q && test -f {output}"


rule sweep:
    input:
        expand("results/{profile}/seed-{seed}/{nb}.ipynb", profile=PROFILE, seed=SWEPT, nb=NOTEBOOKS),


# The executed notebook that the book shows.
rule edition:
    input:
        tables_of_other_seeds,
        after("book/executed"),
        expand("results/{profile}/seed-{seed}/{{nb}}.ipynb", profile=PROFILE, seed=[s for s in SWEPT if s != SEED]),
        ENGINE,
        notebook="notebooks/{nb}.md",
        profile=f"notebooks/profiles/{PROFILE}.yaml",
    output:
        "book/executed/{nb}.ipynb",
    params:
        seed=SEED,
        name=PROFILE,
    threads: workflow.cores
    shell:
        EXECUTE


# One notebook for any profile and seed.
rule run:
    input:
        after("results/{profile}/seed-{seed}") if SWEPT else [],
        ENGINE,
        notebook="notebooks/{nb}.md",
        profile="notebooks/profiles/{profile}.yaml",
    output:
        "results/{profile}/seed-{seed}/{nb}.ipynb",
    wildcard_constraints:
        seed=r"\d+",
    params:
        seed=lambda wildcards: wildcards.seed,
    threads: max(1, workflow.cores // int(config.get("jobs", 1)))
    shell:
        EXECUTE
