# What depends on what. The Makefile calls this; `make help` says how.
#
# config: profile, seed (the one the book shows), seeds (those of a sweep), jobs (runs at a time)

import re
from pathlib import Path

PROFILE = config.get("profile", "laptop")
SEED = int(config.get("seed", 0))
SWEPT = [int(seed) for seed in str("" if config.get("seeds") is None else config["seeds"]).split()]
NOTEBOOKS = re.findall(r"book/executed/(\w+)", Path("_toc.yml").read_text(encoding="utf-8"))

ENGINE = sorted(str(path) for pattern in ("**/*.py", "**/*.yaml") for path in Path("ifcore").glob(pattern))
PAGES = ["_config.yml", "_toc.yml", *sorted(str(path) for path in Path("book").glob("*.*"))]
PAGES += sorted(str(path) for path in Path("book/_static").glob("*"))

# What the repository ships stands in the tables beside the run's own.
PUBLISHED = sorted(str(path) for path in Path("results/published").glob("*/seed-*/*.*"))

# OMP_NUM_THREADS is set by hand: a run that shares the machine must not take all of it.
EXECUTE = "OMP_NUM_THREADS={threads} python -m ifcore.study.execute {input.profile} {params.seed} {input.notebook} {output}"


def tables_of_other_seeds(_):
    """Finished earlier, not asked for now: the shown edition takes their spread into its tables."""
    shown = {f"seed-{seed}" for seed in (SEED, *SWEPT)}
    return sorted(str(p) for p in Path("results", PROFILE).glob("seed-*/*.csv") if p.parent.name not in shown)


def in_order(wildcards):
    """The priority that has chapters executed in the book's order.

    Not an input: where a chapter has to run, Snakemake asks nothing of those that follow from it by `ancient` alone,
    and a stale one is kept.
    """
    return NOTEBOOKS[::-1].index(wildcards.nb) + 1 if wildcards.nb in NOTEBOOKS else 0


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
        expand("results/{profile}/seed-{seed}/{{nb}}.ipynb", profile=PROFILE, seed=[s for s in SWEPT if s != SEED]),
        ENGINE,
        PUBLISHED,
        notebook="notebooks/{nb}.md",
        profile=f"notebooks/profiles/{PROFILE}.yaml",
    output:
        "book/executed/{nb}.ipynb",
    params:
        seed=SEED,
        name=PROFILE,
    priority: in_order
    threads: workflow.cores
    shell:
        EXECUTE


# One notebook for any profile and seed.
rule run:
    input:
        ENGINE,
        PUBLISHED,
        notebook="notebooks/{nb}.md",
        profile="notebooks/profiles/{profile}.yaml",
    output:
        "results/{profile}/seed-{seed}/{nb}.ipynb",
    wildcard_constraints:
        seed=r"\d+",
    params:
        seed=lambda wildcards: wildcards.seed,
    priority: in_order
    threads: max(1, workflow.cores // int(config.get("jobs", 1)))
    shell:
        EXECUTE
