from dataclasses import replace

from study.chapters.empirical_study import readings
from study.paper import paper
from study.pipeline.attack import Attack
from tests.study.chapters.empirical_study.test_tables import (
    REFUSES,
    RIGHT,
    SCORES,
    WRONG,
    attribution,
    scores_table,
    ten_requests,
)


def text(run, task, number=2):
    attributions = {task.dataset: task}
    return readings.scores_text(scores_table(number, run, attributions).frame, attributions).text


def test_the_sentence_says_where_repsim_is_ahead_not_told_apart_and_behind(run):
    sentence = text(run, ten_requests(SCORES))
    # RepSim finds all of the two, GradSim one of two for each of ten: 1/2, by Newcombe's interval of a paired change
    assert "RepSim is ahead of the paper's other methods on Mixed (small) (nearest " in sentence
    assert "In the paper it is ahead as well." in sentence
    assert "Not clearly above chance: DataInf, LiSSA, GradSim on Mixed (small)." in sentence
    sentence = text(run, ten_requests(SCORES | {"gradsim": [RIGHT, RIGHT]}))
    assert "without a clear lead on Mixed (small) (GradSim +0.0 [" in sentence  # ten that agree may do so by luck
    assert "In the paper it is ahead everywhere." in sentence
    sentence = text(run, ten_requests(SCORES | {"repsim": [WRONG, WRONG]}))
    assert "behind on Mixed (small) (DataInf −50.0 [" in sentence and "GradSim −50.0 [" in sentence


def test_fewer_than_six_examples_decide_nothing(run):
    answers = [str(number) for number in range(5)]  # all right, one constant response for none but one
    scores = {method: [rows[0]] * 5 for method, rows in SCORES.items()} | {"datainf": [WRONG] * 5}
    task = attribution(scores, "grammars")
    val = [replace(task.val[0], response=answer) for answer in answers]
    sentence = text(run, replace(task, val=val, before=["?"] * 5, after=answers), number=3)
    assert sentence == "Not learnt, so left out: Grammars."


def test_what_was_not_learnt_gets_no_verdict_and_is_named_with_the_numbers_that_say_why(run):
    assert text(run, ten_requests(SCORES, after=REFUSES)) == ("Not learnt, so left out: Mixed (small).")
    assert "left out" not in text(run, ten_requests(SCORES))


def test_over_seeds_the_differences_are_those_of_the_seeds(run):
    scores = {"gradsim": [WRONG, WRONG], "repsim": [RIGHT, RIGHT]}
    profile = run.profile.model_copy(update={"methods": ["gradsim", "repsim"]})
    for seed, change in enumerate(({}, {"gradsim": [RIGHT, WRONG]}, {"gradsim": [RIGHT, RIGHT]})):
        sentence = text(replace(run, seed=seed, profile=profile), ten_requests(scores | change))
    assert "(GradSim +50.0 [−74.2, +174.2] points)" in sentence  # 50 ± 4.303 · 50/√3


def test_chance_in_the_released_matrices_is_the_class_share_of_their_training_examples():
    for dataset, share in (("mixed_small", 20 / 40), ("mixed_large", 20 / 260), ("mathqa", 90 / 900)):
        (released,) = (table[dataset] for table in paper()["released"].values() if dataset in table)
        assert released["chance"] == round(100 * share, 1)


def test_what_fine_tuning_does_to_attacks_has_an_interval_and_a_verdict():
    hits = {"nothing": 0, "benign": 1, "harmful": 20, "mixed": 12}
    answers = {name: [True] * count + [False] * (20 - count) for name, count in hits.items()}
    attacks = [Attack("hub:a/m, aligned", name, ["p"] * 20, ["r"] * 20, success) for name, success in answers.items()]
    text = readings.attack_text(attacks).text
    assert "- m, taught to refuse, 0.0 % before: on benign examples +5.0 [" in text
    assert "points (inconclusive); on harmful examples +100.0 [" in text
    assert text.count("(more attacks succeed)") == 2
    turned = [replace(attack, success=[not hit for hit in attack.success]) for attack in attacks]
    assert readings.attack_text(turned).text.count("(fewer succeed)") == 2
