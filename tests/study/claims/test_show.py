from types import SimpleNamespace

import pandas as pd
import pytest

from study.claims import show, verdicts
from study.claims.claims import claims
from tests.study.claims.test_evidence import counterfactuals

CLAIMS = claims()
VERDICTS = show.VERDICTS


def first_line(tables):
    return show.answer_text(verdicts.judge_claims(CLAIMS, tables), CLAIMS).text.splitlines()[0]


@pytest.mark.parametrize(
    ("lead", "seeds", "verdict", "sentence"),
    [
        (0.2, range(10, 18), "supported", "Influence functions work here**: "),
        (-0.2, range(10, 18), "not supported", "Influence functions do not work here**"),
        (0.0, range(10, 18), "not supported", "Influence functions do not work here**"),
        (0.2, range(10, 13), "open", "is not decided"),
        (0.2, range(3), "open", "is not decided"),
    ],
)
def test_a_changed_table_changes_the_verdict_and_the_first_sentence(lead, seeds, verdict, sentence):
    tables = counterfactuals(lead, seeds)
    scorecard = verdicts.judge_claims(CLAIMS, tables).set_index("claim")
    assert scorecard.verdict.influence_lds == scorecard.verdict.influence_removal == verdict
    assert sentence in first_line(tables)


def test_of_two_claims_one_is_said_to_hold_in_part():
    tables = counterfactuals()
    removal = tables["removal"]
    behind = removal.assign(value=-removal.value, ci_low=-removal.ci_high, ci_high=-removal.ci_low)
    line = first_line(tables | {"removal": behind})
    assert "in part" in line and "predict what training" in line and "is not shown" in line


def test_without_counterfactuals_the_answer_says_that_there_is_no_number():
    text = show.answer_text(verdicts.judge_claims(CLAIMS, {}), CLAIMS).text
    assert "is not decided" in text and "lds.csv is missing" in text


def test_the_answer_is_a_line_a_primary_claim_and_no_verdict_is_said_in_the_words_of_another():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    assert len(show.answer_text(scorecard, CLAIMS).text.splitlines()) == 7
    decided = (verdicts.SUPPORTED, verdicts.NOT_SUPPORTED, verdicts.OPEN)
    texts = [show.answer_text(scorecard.assign(verdict=each), CLAIMS).text for each in decided]
    for lines in zip(*(text.splitlines() for text in texts), strict=True):
        assert len(set(lines)) == 3


def test_in_short_the_verdicts_are_said_and_of_a_random_model_those_of_the_published_runs():
    scorecard, none = verdicts.judge_claims(CLAIMS, counterfactuals()), verdicts.judge_claims(CLAIMS, {})
    models = ("hub:a/b", "random:a")
    real, random = (SimpleNamespace(profile=SimpleNamespace(name="p", model=each)) for each in models)
    decided = (verdicts.SUPPORTED, verdicts.NOT_SUPPORTED, verdicts.OPEN)
    texts = {show.short_text(real, scorecard.assign(verdict=each), none).text for each in decided}
    assert len(texts) == 3 and all(each.startswith("**In short.** ") for each in texts)
    rejected, published = (scorecard.assign(verdict=each) for each in (verdicts.NOT_SUPPORTED, verdicts.SUPPORTED))
    text = show.short_text(random, rejected, published).text
    assert "profile `p`" in text and "functions work here" in text and "do not work" not in text
    assert show.short_text(random, rejected, none).text.endswith("say nothing of influence functions.")


def test_a_badge_a_claim_says_its_verdict_and_leads_to_evidence_that_there_is():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    text = show.badges(scorecard, CLAIMS).text
    assert text.count("{bdg-") == len(CLAIMS)
    assert "{bdg-ref-success}`✓ influence lds <sec-counterfactual>; Influence predicts retraining" in text
    assert "{bdg-light}`– undone; A few harmful examples undo the alignment: not testable here`" in text


def test_the_scorecard_has_a_line_a_claim_and_links_only_to_evidence_that_there_is():
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    table = show.scorecard_table(scorecard, CLAIMS, verdicts.judge_claims(CLAIMS, {}))
    cells = {row[0]: row for row in table.rows}
    assert list(cells) == [claim.claim for claim in CLAIMS]
    predicts = cells["Influence predicts retraining, where RepSim does not"]
    assert predicts[2] == "**supported**"
    assert predicts[5] == "{ref}`sec-counterfactual`"
    undone = cells["A few harmful examples undo the alignment"]
    assert undone[2:4] == ["not testable here: table1_asr.csv is missing", ""] and undone[5] == ""
    listed = [show.claims_text(scorecard, CLAIMS, verdict).text for verdict in VERDICTS]
    assert sum(text.count("\n- **") + text.startswith("- **") for text in listed) == len(CLAIMS)


def test_the_figure_says_where_there_is_nothing_to_show(run):
    figure = show.answer_figure(run, counterfactuals())
    assert [bool(axis.texts) for axis in figure.axes] == [True, False, False]
    assert (run.results / "fig_scorecard.svg").exists()
    assert all(axis.texts for axis in show.answer_figure(run, {}).axes)


def test_the_figure_leaves_out_a_method_whose_mean_is_over_other_data_sets(run):
    tables = counterfactuals()
    lds = tables["lds"]
    part = lds[(lds.method == "repsim") & (lds.dataset == lds.dataset.iloc[0])].assign(method="tracin")
    assert lds.dataset.nunique() > 1
    figure = show.answer_figure(run, tables | {"lds": pd.concat([lds, part])})
    assert "TracIn" not in str(figure.axes[1].get_yticklabels())
