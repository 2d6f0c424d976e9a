import re
from types import SimpleNamespace

import pandas as pd
import pytest

from study.claims import show, verdicts
from tests.study.claims.test_evidence import counterfactuals

CLAIMS = verdicts.claims()


def first_line(tables):
    return show.answer_text(verdicts.judge_claims(CLAIMS, tables), CLAIMS).text.splitlines()[0]


@pytest.mark.parametrize(
    ("lead", "seeds", "verdict", "sentence"),
    [
        (0.2, 3, "supported", r"\*\*Influence functions work here\*\*.*: LiSSA, over .* 0.200 \["),
        (-0.2, 3, "not supported", r"\*\*Influence functions do not work here\*\*.* -0.200 \["),
        (0.01, 3, "inconclusive", r"is not decided.* leans to \*supported\* .* 0.010 \[.*About \d+ seeds"),
        (0.2, 1, "inconclusive", r"is not decided.* leans to \*supported\* \(1 of at least 3 seeds\)"),
    ],
)
def test_a_changed_table_changes_the_verdict_and_the_first_sentence(lead, seeds, verdict, sentence):
    tables = counterfactuals(lead, seeds)
    scorecard = verdicts.judge_claims(CLAIMS, tables).set_index("claim")
    assert scorecard.verdict.question == verdict
    assert re.search(sentence, first_line(tables))


def test_without_counterfactuals_the_first_sentence_says_that_there_is_no_number():
    assert "lds.csv is missing" in first_line({})


def test_the_answer_is_five_lines_and_no_verdict_is_said_in_the_words_of_another():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    assert len(show.answer_text(scorecard, CLAIMS).text.splitlines()) == 5
    texts = [show.answer_text(scorecard.assign(verdict=each, needed=5), CLAIMS).text for each in VERDICTS]
    for lines in zip(*(text.splitlines() for text in texts), strict=True):
        assert len(set(lines)) == 3


def test_in_short_the_verdicts_are_said_and_of_a_random_model_those_of_the_published_runs():
    scorecard, none = verdicts.judge_claims(CLAIMS, counterfactuals()), verdicts.judge_claims(CLAIMS, {})
    models = ("hub:a/b", "random:a")
    real, random = (SimpleNamespace(profile=SimpleNamespace(name="p", model=each)) for each in models)
    texts = {show.short_text(real, scorecard.assign(verdict=each), none).text for each in VERDICTS}
    assert len(texts) == 3 and all(each.startswith("**In short.** ") for each in texts)
    rejected, published = (scorecard.assign(verdict=each) for each in (verdicts.NOT_SUPPORTED, verdicts.SUPPORTED))
    text = show.short_text(random, rejected, published).text
    assert "profile `p`" in text and "in that sense they work" in text and "do not work" not in text
    assert show.short_text(random, rejected, none).text.endswith("say nothing of influence functions.")


def test_a_badge_a_claim_says_its_verdict_and_leads_to_evidence_that_there_is():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    text = show.badges(scorecard, CLAIMS).text
    assert text.count("{bdg-") == len(CLAIMS)
    assert "{bdg-ref-success}`✓ question <sec-counterfactual>; Influence functions work here: supported`" in text
    assert "{bdg-secondary}`? undone; A few harmful examples undo the alignment: inconclusive`" in text


VERDICTS = (verdicts.SUPPORTED, verdicts.NOT_SUPPORTED, verdicts.INCONCLUSIVE)


def test_the_scorecard_has_a_line_a_claim_and_links_only_to_evidence_that_there_is():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    table = show.scorecard_table(scorecard, CLAIMS, verdicts.judge_claims(CLAIMS, {}))
    cells = {row[0]: row for row in table.rows}
    assert list(cells) == [claim.claim for claim in CLAIMS]
    question = cells["Influence functions work here"]
    assert question[2] == "**supported**"
    assert question[5] == "{ref}`sec-counterfactual`"
    assert cells["A few harmful examples undo the alignment"][2:4] == ["inconclusive: table1_asr.csv is missing", ""]
    assert cells["A few harmful examples undo the alignment"][5] == ""
    listed = [show.claims_text(scorecard, CLAIMS, verdict).text for verdict in VERDICTS]
    assert sum(text.count("\n- **") + 1 for text in listed) == len(CLAIMS)


def test_the_figure_says_where_there_is_nothing_to_show(run):
    figure = show.answer_figure(run, counterfactuals())
    assert [bool(axis.texts) for axis in figure.axes] == [True, False, False]
    assert (run.results / "fig_scorecard.svg").exists()
    assert all(axis.texts for axis in show.answer_figure(run, {}).axes)


def test_the_figure_leaves_out_a_method_whose_mean_is_over_other_data_sets(run):
    tables = counterfactuals()
    lds = tables["lds"]
    part = lds[(lds.method == "gradsim") & (lds.dataset == lds.dataset.iloc[0])].assign(method="tracin")
    assert lds.dataset.nunique() > 1
    figure = show.answer_figure(run, tables | {"lds": pd.concat([lds, part])})
    assert "TracIn" not in str(figure.axes[1].get_yticklabels())
