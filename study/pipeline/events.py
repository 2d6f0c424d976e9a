"""Events of a computation, for whoever watches: a JSON line each, in the file that $IFCORE_EVENTS names."""

import json
import os
from contextlib import suppress


def emit(kind: str, **fields: str | int) -> None:
    """Append an event. Without $IFCORE_EVENTS nobody watches, and nothing is written."""
    file = os.environ.get("IFCORE_EVENTS")
    if not file:
        return
    line = json.dumps({"kind": kind, **fields}) + "\n"
    with suppress(OSError), open(file, "a", encoding="utf-8") as stream:  # watching must never stop the work
        stream.write(line)
