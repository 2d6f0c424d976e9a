from study.claims import scorecard, verdicts
from study.claims.claims import claims
from tests.study.claims.test_evidence import counterfactuals

CLAIMS = claims()


def test_each_claim_has_a_line_and_links_only_to_evidence_that_there_is():
    table = scorecard.scorecard_table(verdicts.judge_claims(CLAIMS, counterfactuals()), CLAIMS)
    rows = {row[0].split("<br>")[0]: row for row in table.rows}
    assert list(rows) == [claim.claim for claim in CLAIMS]
    predicts = rows["Influence predicts retraining, where RepSim does not"]
    assert predicts[2] == "**supported**" and predicts[5] == "{ref}`sec-counterfactual`"
    undone = rows["A few harmful examples undo the alignment"]
    assert undone[2:4] == ["**not testable here**: table1_asr.csv is missing", ""] and undone[5] == ""


def test_the_figure_has_each_estimate_at_its_place_and_none_where_there_is_none(run):
    judged = verdicts.judge_claims(CLAIMS, counterfactuals())
    figure = scorecard.scorecard_figure(run, judged, CLAIMS)
    labels = [text.get_text() for axis in figure.axes for text in axis.get_yticklabels()]
    assert len(labels) == judged.value.notna().sum()
    points = {round(line.get_xdata()[0], 6) for axis in figure.axes for line in axis.lines if line.get_marker() == "o"}
    assert round(judged.set_index("claim").value.influence_lds, 6) in points
    assert (
        "No claim"
        in scorecard.scorecard_figure(run, verdicts.judge_claims(CLAIMS, {}), CLAIMS).axes[0].texts[0].get_text()
    )


def test_the_counts_are_those_of_the_verdicts():
    judged = verdicts.judge_claims(CLAIMS, counterfactuals())
    text = scorecard.counts_text(judged).text
    assert f"{(judged.verdict == 'supported').sum()} supported" in text
    assert "Open: " in scorecard.counts_text(verdicts.judge_claims(CLAIMS, counterfactuals(seeds=[0]))).text
