"""The explorer on a page opened from disk, in a browser without a network."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ifcore.study.show import explorer
from tests.study.empirical_study.test_tables import SCORES, attribution
from tests.study.show.test_explorer import EVIL

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=5000 --dump-dom"
).split()

CHOOSE = """<script>
const root = document.querySelector(".explorer");
const task = root.querySelector(".explorer-task");
task.value = "TASK";
task.dispatchEvent(new Event("change"));
const example = root.querySelectorAll(".explorer-example")[TASK];
example.selectedIndex = EXAMPLE;
example.dispatchEvent(new Event("change"));
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")


def opened(page, folder, task=0, example=0):
    """The page after the choice, as the browser has it."""
    chosen = CHOOSE.replace("TASK", str(task)).replace("EXAMPLE", str(example))
    file = folder / "page.html"
    file.write_text(page + chosen, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def visible(dom):
    """The names of the panels that are shown."""
    return re.findall(r'<div class="explorer-panel" data-panel="([\d-]+)">', dom)


def test_choosing_another_example_changes_what_is_shown_and_no_text_runs_as_a_script(tmp_path):
    evil = replace(attribution(SCORES), train=[EVIL] * 4, val=[EVIL] * 2)
    body = explorer.explore({"mixed_small": attribution(SCORES), "grammars": evil})._repr_html_()
    page = f"<!DOCTYPE html><meta charset='utf-8'><title>still</title>{body}"
    assert visible(opened(page, tmp_path)) == ["0-0"]
    assert visible(opened(page, tmp_path, example=1)) == ["0-1"]
    dom = opened(page, tmp_path, task=1, example=1)
    assert visible(dom) == ["1-1"]
    assert "<title>still</title>" in dom


def test_the_built_page_answers_too(book, tmp_path):
    page = (book / "book" / "executed" / "empirical_study.html").read_text(encoding="utf-8")
    assert visible(opened(page, tmp_path)) == ["0-0"]
    assert visible(opened(page, tmp_path, task=2, example=1)) == ["2-1"]
