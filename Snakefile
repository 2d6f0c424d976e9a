# The work, as a plan says it (study/commands/work_plan.py): jobs, then the chapters that find them made, then the pages.
# The Makefile calls this; `make help` says how.
#
# config: plan (its file)

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))  # for a job on another machine

from study.commands.contents import VERDICTS
from study.commands.events import emit
from study.commands.work_plan import pieces_of, write_table_hashes

PIECES = {piece.output: piece for piece in pieces_of(json.loads(Path(config["plan"]).read_text()))}
NOTEBOOKS = {output: Path(output).stem for output in PIECES if output.endswith(".ipynb")}
write_table_hashes(Path(config["plan"]).parent)
PAGES = ["_config.yml", "_toc.yml", *sorted(str(path) for path in Path("book").glob("*.*"))]
PAGES += sorted(str(path) for folder in ("book/_static", "book/guide") for path in Path(folder).glob("*"))


# Only now is it known what has to be made.
onstart:
    for job in workflow.dag.needrun_jobs():
        for output in job.output:
            emit(str(output), "needed")


# A killed build may leave pages cut off and outside the search index, which Sphinx would keep.
rule book:
    input:
        [output for output in PIECES if output.startswith("book/executed/")],
        PAGES,
    output:
        "_build/html/index.html",
    shell:
        "if test -e _build/.writing; then rm -rf _build/html _build/.doctrees; fi; "
        "touch _build/.writing && jupyter-book build . -W -n --keep-going -q && test -f {output} && rm _build/.writing"


# All but the verdicts, which are stale only if tables have changed: that is known once the chapters are there.
rule chapters:
    input:
        [output for output, name in NOTEBOOKS.items() if name not in VERDICTS],


# A thread each: one does much of a training step, and two jobs with a thread each are faster than one with two. It is
# set by hand, for a run that shares the machine must not take all of it.
for piece in PIECES.values():

    rule:
        name:
            piece.output.replace("/", "-").replace(".", "-").replace("+", "-and-")
        input:
            piece.inputs,
            ancient(piece.after) if NOTEBOOKS.get(piece.output) in VERDICTS else piece.after,
        output:
            piece.output,
        params:
            command=" ".join(piece.command),
        benchmark:
            piece.benchmark
        threads: 1
        resources:
            mem_mb=piece.megabytes,
            card=piece.card,
        priority: piece.priority
        shell:
            "OMP_NUM_THREADS={threads} {params.command}"
