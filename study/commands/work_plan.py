"""The plan of a build: its jobs and chapters, what each needs and how long it takes. The Snakefile reads it."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from re import MULTILINE, findall
from typing import Any

import psutil

from ifcore import io
from study import config
from study.commands.contents import EXECUTED, VERDICTS, chapter_names
from study.config import Run

SOURCES = ["*.yml", "notebooks/*.md", "notebooks/profiles/*", "ifcore/**/*", "study/**/*", "book/*", "book/_static/*"]
SOURCES += ["book/guide/*", "results/published/**/*", "results/bench/*"]
HASHES = "tables.json"  # the content of all tables, beside the plan
ASIDE = 1_000  # megabytes of a process beside the model
PAGES = 25.0  # seconds that the pages take


@dataclass(frozen=True)
class Piece:
    """A job or a chapter: its output, what is read (`inputs`, of which `after` are made by other pieces), the command
    that makes it, and what that takes. `benchmark`: where Snakemake leaves its seconds and memory. `card`: whether it
    needs the graphics card, which takes one piece at a time."""

    output: str
    label: str
    command: list[str]
    inputs: list[str]
    after: list[str]
    benchmark: str
    seconds: float
    megabytes: int
    card: int
    priority: int = 0


def load_plan(path: Path, profile: str, seed: int, target: str, seeds: Sequence[int]) -> dict[str, Any] | None:
    """The plan that an earlier build left there, if nothing that it is made from has changed since."""
    plan = io.read_json(path)
    return plan if plan.get("digest") == _digest(profile, seed, target, seeds) else None


def make_plan(profile: str, seed: int, target: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Check everything, then plan. Raises ValueError, in one line, for what the check finds wrong."""
    from study.commands.check import check_book  # takes seconds and memory, as what follows does

    digest, swept = _digest(profile, seed, target, seeds), list(seeds) if target == "sweep" else []
    names = chapter_names(Path())
    if target in ("book", "sweep"):
        wanted = [(s, names, _results(profile, s)) for s in swept] + [(seed, [*names, *VERDICTS], EXECUTED)]
    else:
        wanted = [(seed, [*names, target] if target in VERDICTS else [target], _results(profile, seed))]
    pieces: dict[str, Piece] = {}
    for number, chapters, place in wanted:
        run = config.make_run(profile, number)
        check_book(run)
        for piece in _pieces(run, chapters, place, swept, [s for s, _, _ in wanted]):
            pieces.setdefault(piece.output, piece)
    return {"digest": digest, "pieces": [asdict(piece) for piece in _prioritised(pieces)]}


def pieces_of(plan: dict[str, Any]) -> list[Piece]:
    """The pieces of a plan."""
    return [Piece(**fields) for fields in plan["pieces"]]


def write_table_hashes(folder: Path) -> None:
    """Leave the hashes of a profile's tables beside its plan, unless they are there: what verdicts are made of."""
    tables = sorted(path for path in Path("results", folder.name).glob("seed-*/*.csv") if path.stem != "scorecard")
    hashes = {str(path): io.sha256(path) for path in tables}
    if io.read_json(folder / HASHES) != hashes or not (folder / HASHES).exists():
        io.write_json(folder / HASHES, hashes)


def _pieces(
    run: Run, chapters: Sequence[str], place: Path, swept: Sequence[int], seeds: Sequence[int]
) -> Iterator[Piece]:
    """The jobs that these chapters of a run need, and the chapters, executed in the folder `place`."""
    from study.estimate import durations, jobs, memory, speed
    from study.pipeline import base_model

    expected = durations.expected_durations(run, speed.recorded_speed(run), chapters)
    shape_known = speed.architecture(run.located(run.profile.model))
    counted = int(memory.counted_memory(run) / 1e6) + ASIDE if shape_known else ASIDE
    card = int(base_model.device() != "cpu")
    most = psutil.virtual_memory().total // 10**6
    profile = f"notebooks/profiles/{run.profile.name}.yaml"
    command = ["python", "-m"]

    def megabytes(name: str) -> int:
        return int(min(most, expected[name].megabytes or counted))

    listed = {job.name: job for job in jobs.list_jobs(run)}
    needed = {name for name, job in listed.items() if job.chapters & set(chapters)}
    while further := set().union(*(listed[name].after for name in needed)) - needed:
        needed |= further
    series = f", seed {run.seed}" if len(seeds) > 1 else ""
    for name in (name for name in listed if name in needed):
        job = listed[name]
        output, after = str(_relative(run, durations.record_file(run, name))), sorted(job.after)
        before = [str(_relative(run, durations.record_file(run, other))) for other in after]
        call = [*command, "study.commands.compute", profile, str(run.seed), name, output]
        inputs = [profile, *_data(run), *sources(job.modules)]
        benchmark = str(_relative(run, durations.benchmark_file(run, name)))
        yield Piece(
            output, name + series, call, inputs, before, benchmark, expected[name].seconds, megabytes(name), card
        )
    for name in chapters:
        output, notebook = f"{place}/{name}.ipynb", f"notebooks/{name}.md"
        call = [*command, "study.commands.execute", profile, str(run.seed), notebook, output]
        inputs = [profile, notebook, *sources(_imported(notebook)), *_tables(run, name, seeds)]
        read = [other for other, job in listed.items() if other in needed and (name in job.chapters)]
        after = [str(_relative(run, durations.record_file(run, other))) for other in read]
        if name in VERDICTS:
            inputs.append(f"artifacts/{run.profile.name}/{HASHES}")
            after += [f"{place}/{other}.ipynb" for other in chapters if other != name]
        if place == EXECUTED:  # the tables show the spread over all seeds: a chapter's own, for verdicts all chapters'
            others = chapter_names(Path()) if name in VERDICTS else [name]
            after += [f"{_results(run.profile.name, s)}/{o}.ipynb" for s in swept if s != run.seed for o in others]
        after = [path for path in after if not path.endswith(tuple(f"/{v}.ipynb" for v in VERDICTS))]
        benchmark = str(_relative(run, durations.benchmark_file(run, name)))
        seconds, label = expected[name].seconds, title(name) + series
        yield Piece(output, label, call, inputs, after, benchmark, seconds, megabytes(name), card)


def _relative(run: Run, path: Path) -> Path:
    return path.relative_to(run.root)


def _results(profile: str, seed: int) -> Path:
    return Path("results", profile, f"seed-{seed}")


def title(name: str) -> str:
    """A notebook's, without its number in the book."""
    text = Path("notebooks", f"{name}.md").read_text(encoding="utf-8")
    return next(iter(findall(r"^# (?:[\d.]+ )?(.+)$", text, MULTILINE)), name)


def _data(run: Run) -> list[str]:
    """Local files that the profile names."""
    values = (run.located(v) for k, v in run.profile.model_dump().items() if k.endswith("_source") and v)
    return sorted(value for value in values if Path(value).is_file())


def _tables(run: Run, name: str, seeds: Sequence[int]) -> list[str]:
    """What a chapter shows beside the run's own: published tables, those of seeds that don't run now, speeds."""
    paths = [*Path("results/published").glob("*/seed-*/*.*")]
    for table in Path("results", run.profile.name).glob("seed-*/*.csv"):
        if table.stem != "scorecard" and table.parent.name not in {f"seed-{seed}" for seed in seeds}:
            paths.append(table)
    if name == "speed":
        paths += [path for folder in ("results", "results/published") for path in Path(folder).glob("bench/*.*")]
    return sorted(map(str, paths))


def sources(modules: Iterable[str]) -> list[str]:
    """The files of these modules and of all that they import, and the data files of `study`, which any may read."""
    graph = _import_graph()
    known = set(modules) & graph.modules
    names = known | set(chain.from_iterable(graph.find_upstream_modules(module) for module in known))
    files = [Path(*name.split(".")) for name in names]
    paths = [file / "__init__.py" if file.is_dir() else file.with_suffix(".py") for file in files]
    return sorted(map(str, [*paths, *Path("study").rglob("*.yaml")]))


@cache
def _import_graph() -> Any:
    import grimp

    return grimp.build_graph("ifcore", "study", cache_dir=None)


def _imported(notebook: str) -> set[str]:
    """The modules that a notebook imports, and the one that executes it."""
    text = Path(notebook).read_text(encoding="utf-8")
    names = {"study.commands.execute"}
    for module, imported in findall(r"^ *from ((?:ifcore|study)[\w.]*) import (\([^)]*\)|.+)$", text, MULTILINE):
        names |= {module, *(f"{module}.{name.strip()}" for name in imported.strip("()").split(","))}
    return names


def _prioritised(pieces: dict[str, Piece]) -> list[Piece]:
    """The pieces with their priority: the seconds of the longest path from each to the end."""
    following: dict[str, list[str]] = {output: [] for output in pieces}
    for piece in pieces.values():
        for output in piece.after:
            if output in following:
                following[output].append(piece.output)

    @cache
    def path(output: str) -> float:
        return pieces[output].seconds + max(map(path, following[output]), default=0.0)

    return [replace(piece, priority=round(path(output))) for output, piece in pieces.items()]


def _digest(profile: str, seed: int, target: str, seeds: Sequence[int]) -> str:
    """Of what was asked for and of the sources as they are."""
    files = sorted({path for pattern in SOURCES for path in Path().glob(pattern) if path.is_file()})
    running = {f"seed-{s}" for s in (seed, *seeds)}
    tables = sorted(str(p) for p in Path("results", profile).glob("seed-*/*.csv") if p.parent.name not in running)
    stats = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    return hashlib.sha256(repr((profile, seed, target, list(seeds), stats, tables)).encode()).hexdigest()
