"""The plan of a build: its jobs and chapters, what each needs and how long it takes. The Snakefile reads it."""

import hashlib
from collections.abc import Iterable, Sequence
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
PAGES = 35.0  # seconds from the last chapter to the pages: Snakemake, Sphinx


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
    from study.estimate import speed

    digest, swept = _digest(profile, seed, target, seeds), list(seeds) if target == "sweep" else []
    names = chapter_names(Path())
    if target in ("book", "sweep"):
        wanted = [(s, names, _results(profile, s)) for s in swept if s != seed]  # whose tables its pages make
        wanted.append((seed, [*names, *VERDICTS], EXECUTED))
    else:
        wanted = [(seed, [*names, target] if target in VERDICTS else [target], _results(profile, seed))]
    pieces, rate = dict[str, Piece](), None
    for number, chapters, place in wanted:
        run = config.make_run(profile, number)
        check_book(run)
        rate = rate or speed.measured_speed(run)
        series = f", seed {number}" if len(wanted) > 1 else ""
        for piece in _pieces(run, chapters, place, swept, series, rate):
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


def _pieces(run: Run, chapters: Sequence[str], place: Path, swept: Sequence[int], series: str, rate: float | None):
    """The jobs that these chapters of a run need, and the chapters, executed in the folder `place`."""
    from study.estimate import durations, jobs

    expected, needs = durations.expected_durations(run, rate, chapters), _resources(run)
    listed = {job.name: job for job in jobs.list_jobs(run)}
    needed = {name for name, job in listed.items() if job.chapters & set(chapters)}
    while further := set().union(*(listed[name].after for name in needed)) - needed:
        needed |= further
    records = {name: str(_relative(run, durations.record_file(run, name))) for name in listed if name in needed}
    profile = f"notebooks/profiles/{run.profile.name}.yaml"

    def piece(name: str, label: str, output: str, command: list[str], inputs: list[str], after: list[str]) -> Piece:
        benchmark, duration = str(_relative(run, durations.benchmark_file(run, name))), expected[name]
        call = ["python", "-m", command[0], profile, str(run.seed), *command[1:], output]
        megabytes = int(min(needs["most"], duration.megabytes or needs["megabytes"]))
        inputs, label = [profile, *inputs], label + series
        return Piece(output, label, call, inputs, after, benchmark, duration.seconds, megabytes, needs["card"])

    for name, record in records.items():
        inputs, after = [*_data(run), *sources(listed[name].modules)], [records[o] for o in sorted(listed[name].after)]
        yield piece(name, name, record, ["study.commands.compute", name], inputs, after)
    for name in chapters:
        notebook = f"notebooks/{name}.md"
        inputs = [notebook, *sources(_imported(notebook)), *_published(name)]
        after = [record for job, record in records.items() if name in listed[job].chapters]
        if name in VERDICTS:
            inputs.append(f"artifacts/{run.profile.name}/{HASHES}")
            after += [str(place / f"{other}.ipynb") for other in chapters if other not in VERDICTS]
        if place == EXECUTED:  # the tables show the spread over all seeds: a chapter's own, for verdicts all chapters'
            inputs += _other_tables(run, swept)
            shown = chapter_names(Path()) if name in VERDICTS else [name]
            others = (_results(run.profile.name, seed) for seed in swept if seed != run.seed)
            after += [str(other / f"{chapter}.ipynb") for other in others for chapter in shown]
        output = str(place / f"{name}.ipynb")
        yield piece(name, title(name), output, ["study.commands.execute", notebook], inputs, after)


def _resources(run: Run) -> dict[str, int]:
    """Megabytes of a piece that was never measured and of this machine, and whether a graphics card is used."""
    from study.estimate import memory
    from study.pipeline import architectures, base_model

    is_known = architectures.architecture(run.located(run.profile.model)) is not None
    counted = int(memory.counted_memory(run) / 1e6) if is_known else 0
    most = psutil.virtual_memory().total // 10**6
    return {"megabytes": counted + ASIDE, "most": most, "card": int(base_model.device() != "cpu")}


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


def _published(name: str) -> list[str]:
    """What a chapter shows beside the run's own: the published tables, and speeds."""
    paths = [*Path("results/published").glob("*/seed-*/*.*")]
    if name == "speed":
        paths += [path for folder in ("results", "results/published") for path in Path(folder).glob("bench/*.*")]
    return sorted(map(str, paths))


def _other_tables(run: Run, swept: Sequence[int]) -> list[str]:
    """The tables of seeds that ran earlier and don't run now."""
    running = {f"seed-{seed}" for seed in (run.seed, *swept)}
    tables = (path for path in Path("results", run.profile.name).glob("seed-*/*.csv") if path.stem != "scorecard")
    return sorted(str(path) for path in tables if path.parent.name not in running)


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
