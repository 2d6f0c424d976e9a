# What depends on what. The Makefile calls this; `make help` says how.
#
# config: profile, seed (the one the book shows), seeds (those of a sweep), jobs (notebooks at a time)

from pathlib import Path

from study.commands.contents import VERDICTS, chapter_names, notebook_names

PROFILE = config.get("profile", "laptop")
SEED = int(config.get("seed", 0))
SWEPT = [int(seed) for seed in str("" if config.get("seeds") is None else config["seeds"]).split()]
NOTEBOOKS, CHAPTERS = notebook_names(Path()), chapter_names(Path())

CODE = sorted(str(path) for folder in ("ifcore", "study") for path in Path(folder).rglob("*.*") if path.suffix in (".py", ".yaml"))
PAGES = ["_config.yml", "_toc.yml", *sorted(str(path) for path in Path("book").glob("*.*"))]
PAGES += sorted(str(path) for folder in ("book/_static", "book/guide") for path in Path(folder).glob("*"))

# The tables show the published values beside the run's own.
PUBLISHED = sorted(str(path) for path in Path("results/published").glob("*/seed-*/*.*"))

# One chapter reads what `make bench` measured.
MEASURED = sorted(str(path) for folder in ("results", "results/published") for path in Path(folder).glob("bench/*.*"))


def measured(wildcards):
    return MEASURED if wildcards.nb == "speed" else []


# Two notebooks with one thread each are faster than one with two: one thread does much of a training step.
JOBS = int(config.get("jobs", 1))
THREADS = max(1, workflow.cores // JOBS)

# OMP_NUM_THREADS is set by hand: a run that shares the machine must not take all of it.
EXECUTE = "OMP_NUM_THREADS={threads} python -m study.commands.execute {input.profile} {params.seed} {input.notebook} {output}"


def tables_of_other_seeds(_):
    """Tables of seeds that ran earlier and don't run now: the book's tables show the spread over all seeds."""
    running = {f"seed-{seed}" for seed in (SEED, *SWEPT)}
    tables = sorted(p for p in Path("results", PROFILE).glob("seed-*/*.csv") if p.parent.name not in running)
    return [str(p) for p in tables if p.stem != "scorecard"]  # which nothing reads


def notebooks_of_other_seeds(wildcards):
    """Notebooks of a sweep whose tables the book reads: a chapter those of its own, verdicts those of all chapters."""
    names = CHAPTERS if wildcards.nb in VERDICTS else [wildcards.nb]
    return expand("results/{p}/seed-{s}/{nb}.ipynb", p=PROFILE, s=[s for s in SWEPT if s != SEED], nb=names)


def chapters_in(folder):
    """All chapters in the same folder, for the verdicts, which are executed after them; nothing for a chapter."""
    return lambda wildcards: expand(
        "{folder}/{nb}.ipynb", folder=folder.format(**wildcards), nb=CHAPTERS if wildcards.nb in VERDICTS else []
    )


def book_order(wildcards):
    """The priority by which chapters are executed in the book's order, verdicts last.

    Not an input marked `ancient`: Snakemake would then keep a stale chapter that follows one that has to run.
    """
    order = [*CHAPTERS, *VERDICTS]
    return order[::-1].index(wildcards.nb) + 1 if wildcards.nb in order else 0


# A killed build may leave pages cut off and outside the search index, which Sphinx would keep.
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
    priority: book_order
    threads: THREADS
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
    priority: book_order
    threads: THREADS
    shell:
        EXECUTE
