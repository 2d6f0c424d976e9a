from importlib.metadata import version
from pathlib import Path

import yaml

from study.claims import citation, verdicts
from study.claims.claims import claims
from tests.study.claims.test_evidence import counterfactuals

ROOT = Path(__file__).parents[3]


def test_what_is_to_be_pasted_has_the_answer_its_seeds_the_version_and_both_papers(run):
    (run.root / "book").mkdir()
    (run.root / "book" / "references.bib").write_text((ROOT / "book" / "references.bib").read_text())
    scorecard = verdicts.judge_claims(claims(), counterfactuals())
    text = citation.citation_text(
        run, scorecard, claims(), [Path(f"results/published/p/seed-{n}") for n in (10, 11)]
    ).text
    assert (
        text.startswith("> Influence functions work here. LiSSA ranks")
        and "the published seeds 10, 11 of the profile p" in text
    )
    assert f"version = {{{version('ifcore')}}}" in text and text.count("@") == 3
    assert "2409.19998" in text and "10.18653" in text


def test_the_citation_file_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version("ifcore")
