"""Compute one job of a run: what the Snakefile calls. The chapters that need it find it made."""

import argparse
import sys
from functools import partial
from pathlib import Path

from study.commands.error_lines import one_line_errors
from study.commands.events import emit


def compute(profile: str, seed: int, name: str, record: Path) -> None:
    """Run the job called `name`, and leave a record of how long each stage took that it made or found."""
    from ifcore import io
    from study import config
    from study.estimate.jobs import list_jobs  # brings torch and all else, after the job was said to have begun
    from study.pipeline import stages

    jobs = {job.name: job for job in list_jobs(config.make_run(profile, seed))}
    if name not in jobs:
        raise ValueError(f"job: {name!r}; choose from {', '.join(jobs)}")
    jobs[name].compute()
    io.write_json(record, {"stages": stages.SECONDS})


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.compute", description=__doc__)
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    parser.add_argument("seed", type=int)
    parser.add_argument("job", help="its name, as the plan of a build has it")
    parser.add_argument("record", type=Path, help="where its record goes")
    options = parser.parse_args()
    report = partial(emit, output=str(options.record))
    report(state="begun")
    try:
        compute(options.profile.stem, options.seed, options.job, options.record)
    except Exception as error:  # said by its kind, where the log alone has more
        report(state="failed", error=f"{options.job}: {type(error).__name__}: {error}")
        raise
    report(state="made")


if __name__ == "__main__":
    sys.exit(main())
