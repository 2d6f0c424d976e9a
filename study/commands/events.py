"""Events of a build, for whoever watches: a JSON line each, in the file that $IFCORE_EVENTS names."""

import json
import os
from contextlib import suppress


def emit(output: str, state: str, error: str = "") -> None:
    """Append that a job or chapter, which its output identifies, is needed, begun, made or failed.

    Without $IFCORE_EVENTS nobody watches, and nothing is written.
    """
    file = os.environ.get("IFCORE_EVENTS")
    if not file:
        return
    line = json.dumps({"output": output, "state": state, "error": error}) + "\n"
    with suppress(OSError), open(file, "a", encoding="utf-8") as stream:  # watching must never stop the work
        stream.write(line)
