"""A run: a profile and a seed, from a notebook or by name. The only reader of the profiles' YAML."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from study.profile import Profile

Source = TypeVar("Source", str, str | None)


@dataclass(frozen=True)
class Run:
    """A profile and a seed, and where their files belong. `part`: of a variation (see `varied`), its own folder."""

    profile: Profile
    seed: int
    root: Path
    part: str = ""

    @property
    def artifacts(self) -> Path:
        return self.shared / f"seed-{self.seed}" / self.part

    @property
    def shared(self) -> Path:
        """The artifacts that all seeds of the profile, and all their variations, share."""
        return self.root / "artifacts" / self.profile.name

    def varied(self, part: str, **change: Any) -> Run:
        """The same run with some keys of its profile changed; its artifacts lie in a folder `part` of their own."""
        return replace(self, profile=self.profile.model_copy(update=change), part=part)

    @property
    def digits(self) -> str | None:
        """The source of handwritten digits."""
        return self.located(self.profile.digits_source)

    @property
    def judge(self) -> str:
        """The judge's source, or `refusal`."""
        return self.profile.judge if self.profile.judge == "refusal" else self.located(self.profile.judge)

    def source(self, dataset: str) -> str | None:
        """The folder that holds a data set in the released format, where the profile names one."""
        return self.located(getattr(self.profile, f"{dataset}_source", None))

    def located(self, source: Source) -> Source:
        """A source as it can be opened: one rule for all paths, those of data and those after `path:`.

        `~` is the home folder, a relative path starts at the root; `hub:`, `pypi:`, `random:` and None stay unchanged.
        """
        scheme, colon, place = (source or "").partition(":")
        if source is None or (colon and scheme != "path"):
            return source
        path = str(self.root / Path(place if colon else source).expanduser())
        return f"path:{path}" if colon else path

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile.name / f"seed-{self.seed}"


def from_notebook(names: Mapping[str, Any]) -> Run:
    """The run that a notebook's parameters ask for; called with `globals()` right after the parameters cell.

    `profile` names a file in notebooks/profiles; any other name must be a key of a profile and overrides the file's
    value; of `linear`, `two_layer` and `alignment`, the sizes that it names. Only values currently assigned in
    parameter cells count. A run that differs from the file of its name is kept apart from it, as <name>-<digest>.
    Raises ValueError, in one line, for an unknown key or a value that is not allowed.
    """
    bound = _parameter_names(names["In"]) if "In" in names else names.keys()
    parameters = {name: names[name] for name in bound if name[0] != "_" and name in names and _is_plain(names[name])}
    return make_run(parameters.pop("profile", "laptop"), parameters.pop("seed", 0), parameters)


def make_run(name: str, seed: Any = 0, overrides: Mapping[str, Any] | None = None, root: Path | None = None) -> Run:
    """The run of the profile file called `name`, with some keys overridden. Raises ValueError as from_notebook does."""
    root = root or find_root()
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: {seed!r}; must be a whole number, 0 or more, below 2³²")
    file = root / "notebooks" / "profiles" / f"{name}.yaml"
    if file.is_file():
        standard = load(file)
        content = standard.model_dump() | dict(overrides or {})
        for key in ("linear", "two_layer", "alignment"):
            if isinstance(content[key], Mapping) and (sizes := getattr(standard, key)):
                content[key] = sizes.model_dump() | content[key]  # it may name some of the sizes; the others stay
        profile = _validated(content, f"profile {name!r}")
        if profile.digest != standard.digest:
            profile = profile.model_copy(update={"profile": f"{name}-{profile.digest[:8]}"})
    elif overrides and "model" in overrides:  # a profile of the user's own, given whole to papermill's -f
        profile = _validated({"profile": name, **overrides}, f"profile {name!r}")
    else:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise ValueError(f"profile: {name!r}; there is no {file.name} in notebooks/profiles; choose from {known}")
    return Run(profile, seed, root)


def load(file: Path) -> Profile:
    """The profile in a YAML file. Raises ValueError, in one line, naming the file, the key, the value, the remedy."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}: not UTF-8 (byte {error.start}); save it as that") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{file.name}: not YAML ({' '.join(str(error).split())}); correct it there") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file.name}: must hold keys and values, such as 'model: random:tiny-llama'")
    profile = _validated(content, file.name)
    if profile.name != file.stem:
        raise ValueError(f"{file.name}: profile: {profile.name!r}; must be the file's own name, {file.stem!r}")
    return profile


def find_root() -> Path:
    """The checkout that holds the working folder: the nearest parent with notebooks/profiles."""
    start = Path.cwd()
    for folder in (start, *start.parents):
        if (folder / "notebooks" / "profiles").is_dir():
            return folder
    raise FileNotFoundError(f"no notebooks/profiles in {start} or above it; run this inside a checkout of the book")


def _parameter_names(cells: Sequence[str]) -> list[str]:
    """The names that the parameter cells bind, among all cells that ran; the last one is the caller's.

    Parameter cells are the last cell that binds `profile`, the cells of nothing but assignments that follow it and, if
    it is papermill's own, the author's cell before it.
    """
    assigned = [_assigned(cell) for cell in cells[:-1]]
    first = max((i for i, (names, _) in enumerate(assigned) if "profile" in names), default=None)
    if first is None:
        return []
    is_papermills = first > 0 and cells[first].lstrip().startswith("# Parameters")
    before = assigned[first - 1 : first] if is_papermills else []
    following = takewhile(lambda cell: cell[1], assigned[first + 1 :])
    return [name for names, _ in (*before, assigned[first], *following) for name in names]


def _assigned(cell: str) -> tuple[list[str], bool]:
    """The names that a cell's assignments bind, and whether it does nothing else."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:  # a magic, a shell command
        return [], False
    assignments = [statement for statement in statements if isinstance(statement, ast.Assign | ast.AnnAssign)]
    targets = chain.from_iterable(
        each.targets if isinstance(each, ast.Assign) else [each.target] for each in assignments
    )
    nodes = chain.from_iterable(map(ast.walk, targets))
    bound = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return bound, len(assignments) == len(statements)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(content) for key, content in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _validated(content: Mapping[str, Any], where: str) -> Profile:
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{where}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    errors = error.errors()
    # Of "a number or a mapping", the branch that went deepest is the one that was meant; of two equally deep, the one
    # whose type fits. The branch's own name is noise.
    branches = [detail for detail in errors if detail["loc"][:1] == errors[0]["loc"][:1]]
    first = max(branches, key=lambda detail: (len(detail["loc"]), not detail["type"].endswith("_type")))
    path = [str(part) for part in first["loc"] if not str(part).startswith(("constrained", "dict[", "function"))]
    field = ".".join(part for part in path if part != "int")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(field.split(".")[-1], Profile.model_fields, n=1)
        remedy = f"did you mean {near[0]}?" if near else "remove it, or see the keys in notebooks/profiles"
        return f"{field}: {first['input']!r}; unknown key, {remedy}"
    if first["type"] == "missing":
        return f"{field}: missing; add it as notebooks/profiles/laptop.yaml has it"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{field}: {first['input']!r}; {message}"
