# What depends on what. The Makefile calls this; `make help` says how.
#
# config: profile, seed (the one the book shows), seeds (those of a sweep), jobs (notebooks at a time)

import re
from pathlib import Path

PROFILE = config.get("profile", "laptop")
SEED = int(config.get("seed", 0))
SWEPT = [int(seed) for seed in str("" if config.get("seeds") is None else config["seeds"]).split()]
NOTEBOOKS = re.findall(r"book/executed/(\w+)", Path("_toc.yml").read_text(encoding="utf-8"))
VERDICTS = ["introduction", "conclusion"]  # read the tables that the others leave, and so come last
CHAPTERS = [nb for nb in NOTEBOOKS if nb not in VERDICTS]

CODE = sorted(str(path) for package in ("ifcore", "study") for path in Path(package).rglob("*.*") if path.suffix in (".py", ".yaml"))
PAGES = ["_config.yml", "_toc.yml", *sorted(str(path) for path in Path("book").glob("*.*"))]
PAGES += sorted(str(path) for path in Path("book/_static").glob("*"))

# What the repository ships stands in the tables beside the run's own.
PUBLISHED = sorted(str(path) for path in Path("results/published").glob("*/seed-*/*.*"))

# What `make bench` measured is read by one chapter.
MEASURED = sorted(str(path) for place in ("results", "results/published") for path in Path(place).glob("bench/*.*"))


def measured(wildcards):
    return MEASURED if wildcards.nb == "speed" else []


# Two notebooks of one thread each get further than one of two threads: much of a step of training is done by one.
JOBS = int(config.get("jobs", 1))
EACH = max(1, workflow.cores // JOBS)

# OMP_NUM_THREADS is set by hand: a run that shares the machine must not take all of it.
EXECUTE = "OMP_NUM_THREADS={threads} python -m study.commands.execute {input.profile} {params.seed} {input.notebook} {output}"


def tables_of_other_seeds(_):
    """Finished earlier, not asked for now: the shown edition takes their spread into its tables."""
    shown = {f"seed-{seed}" for seed in (SEED, *SWEPT)}
    found = sorted(p for p in Path("results", PROFILE).glob("seed-*/*.csv") if p.parent.name not in shown)
    return [str(p) for p in found if p.stem != "scorecard"]  # which nothing reads


def notebooks_of_other_seeds(wildcards):
    """Those of a sweep, whose tables the shown edition reads: verdicts those of all chapters, else the chapter's own."""
    names = CHAPTERS if wildcards.nb in VERDICTS else [wildcards.nb]
    return expand("results/{p}/seed-{s}/{nb}.ipynb", p=PROFILE, s=[s for s in SWEPT if s != SEED], nb=names)


def chapters_in(folder):
    """What verdicts come after: all chapters, executed in the same folder."""
    return lambda wildcards: expand(
        "{folder}/{nb}.ipynb", folder=folder.format(**wildcards), nb=CHAPTERS if wildcards.nb in VERDICTS else []
    )


def in_order(wildcards):
    """The priority that has chapters executed in the book's order, verdicts after them.

    Not an input: where a chapter has to run, Snakemake asks nothing of those that follow from it by `ancient` alone,
    and a stale one is kept.
    """
    order = [*CHAPTERS, *VERDICTS]
    return order[::-1].index(wildcards.nb) + 1 if wildcards.nb in order else 0


# Pages of a killed run may be cut off, and are in no search index: Sphinx would keep them.
rule book:
    input:
        expand("book/executed/{nb}.ipynb", nb=NOTEBOOKS),
        PAGES,
    output:
        "_build/html/index.html",
    shell:
        "if test -e _build/.writing; then rm -rf _build/html _build/.doctrees; fi; "
        "touch _build/.writing && jupyter-book build . -W -n --keep-going -q && test -f {output} && rm _build/.writing"


rule sweep:
    input:
        expand("results/{profile}/seed-{seed}/{nb}.ipynb", profile=PROFILE, seed=SWEPT, nb=CHAPTERS),


# The executed notebook that the book shows.
rule edition:
    input:
        tables_of_other_seeds,
        notebooks_of_other_seeds,
        chapters_in("book/executed"),
        measured,
        CODE,
        PUBLISHED,
        notebook="notebooks/{nb}.md",
        profile=f"notebooks/profiles/{PROFILE}.yaml",
    output:
        "book/executed/{nb}.ipynb",
    params:
        seed=SEED,
        name=PROFILE,
    priority: in_order
    threads: EACH
    shell:
        EXECUTE


# One notebook for any profile and seed.
rule run:
    input:
        chapters_in("results/{profile}/seed-{seed}"),
        measured,
        CODE,
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
    threads: EACH
    shell:
        EXECUTE
