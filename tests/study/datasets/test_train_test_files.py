"""Data sets in the format of the paper's released code: sized by the profile, refused where they would mislead."""

import pytest

from ifcore.examples import Example
from study import datasets
from study.datasets import train_test_files
from tests.study.datasets.test_table_files import write

RULES = ("Reverse Order of Words", "Replace Vowels with *", "Remove All Vowels")


def rule_rows(count, start=0, rules=RULES):
    """Rows of the released Grammars, a class after another, `count` of each."""
    return [(f"Determine the grammar rule: {rule[:9]} {start + i}", rule, rule) for rule in rules for i in range(count)]


def write_source(folder, train, test, suffix=""):
    folder.mkdir(exist_ok=True)
    write(folder / f"train{suffix}", train)
    write(folder / f"test{suffix}", test)
    return str(folder)


def prompts(examples):
    return [example.prompt for example in examples]


def complaint(call):
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value) and "; " in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".csv", ".parquet"])
def test_train_is_the_first_rows_of_each_class_dev_those_after_and_val_is_from_test(tmp_path, suffix):
    folder = write_source(tmp_path / "grammars", rule_rows(5)[::-1], rule_rows(3, start=100), suffix)
    (tmp_path / "grammars" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    split = datasets.load("grammars", 2, 1, seed=0, dev=1, source=folder)
    assert datasets.labels("grammars", folder) == RULES[::-1]
    number = {"train": [4, 3], "dev": [2], "val": [100]}
    for part, expected in number.items():
        examples = getattr(split, part)
        assert examples == [
            Example(f"Determine the grammar rule: {rule[:9]} {i}", rule, rule) for rule in RULES[::-1] for i in expected
        ]
    assert datasets.load("grammars", 2, 1, seed=7, dev=1, source=folder) == split


def test_a_prompt_that_train_repeats_stays_there_and_never_gets_into_dev(tmp_path):
    train = [("a ", "1", "x"), ("a", "1", "x"), ("b", "2", "x"), (" b", "2", "x"), ("c", "3", "x")]
    folder = write_source(tmp_path / "s", train, [("d", "4", "x")])
    split = datasets.load("mathqa", 3, 1, 0, dev=1, source=folder)
    assert prompts(split.train) == ["a", "a", "b"] and prompts(split.dev) == ["c"]


def test_a_prompt_in_train_and_test_is_refused_whether_it_is_used_or_not(tmp_path):
    rows = rule_rows(5)
    test = [*rule_rows(2, start=100), (f"{rows[4][0]} ", "other", "other")]
    folder = write_source(tmp_path / "s", rows, test, ".csv")
    message = complaint(lambda: datasets.load("grammars", 1, 1, 0, source=folder))
    assert message.startswith(f"{folder}/test.csv, row 7, column prompts: the same prompt as row 5 of train.csv; ")


def test_too_few_rows_name_the_part_the_class_and_how_many_there_are(tmp_path):
    folder = write_source(tmp_path / "s", rule_rows(5), rule_rows(2, start=100))
    for counts, words in (
        (dict(train=6, val=1), f"{folder}, train: 6 train examples of class {RULES[0]!r} asked, 5 are there"),
        (dict(train=4, val=3), f"{folder}, test: 3 val examples of class {RULES[0]!r} asked, 2 are there"),
        (dict(train=4, val=1, dev={RULES[1]: 2}), f"2 dev examples of class {RULES[1]!r} asked, 1 are left"),
        (dict(train={"sort words": 1}, val=1), f"unknown class 'sort words'; its classes are {', '.join(RULES)}"),
    ):
        assert words in complaint(lambda counts=counts: datasets.load("grammars", seed=0, source=folder, **counts))


def test_a_mixture_and_a_backdoor_need_the_classes_that_the_study_knows_by_name(tmp_path):
    pairs = [(f"{label} {i}", "Here you go", label) for label in ("harmful", "benign") for i in range(3)]
    folder = write_source(tmp_path / "mixed", pairs, [("ask", "Sure", "harmful")])
    split = datasets.load("mixed_large", {"harmful": 1, "benign": 3}, {"harmful": 1}, 0, source=folder)
    assert [example.label for example in split.train] == ["harmful", *["benign"] * 3]
    folder = write_source(tmp_path / "rules", rule_rows(2), rule_rows(1, start=100))
    assert datasets.load("grammars", 2, 1, 0, source=folder)
    for name, wanted in (("mixed_small", "harmful, benign"), ("backdoor_1", "clean")):
        message = complaint(lambda name=name: datasets.load(name, 2, 1, 0, source=folder))
        assert f"no class {wanted} in the column variation (found {', '.join(RULES)})" in message


def test_a_source_without_one_train_and_one_test_is_refused(tmp_path):
    for place in (tmp_path / "none", "hub:owner/name"):
        message = complaint(lambda place=place: train_test_files.classes(str(place)))
        assert message.startswith(f"{place}: not a folder on this machine; give one that holds the folder train or ")
    folder = write_source(tmp_path / "s", rule_rows(2), rule_rows(1, start=100), ".csv")
    write(tmp_path / "s" / "test", rule_rows(1))
    assert "test is there more than once (test.csv, test); leave one" in complaint(
        lambda: train_test_files.classes(folder)
    )
    (tmp_path / "s" / "train.csv").rename(tmp_path / "s" / "training.csv")
    assert f"{folder}: no train (found test, test.csv, training.csv); " in complaint(
        lambda: train_test_files.classes(folder)
    )


@pytest.mark.parametrize(
    ("dataset", "expected", "response", "right"),
    [
        ("mathqa", "Left = 20 - (60 + 81).\nAnswer: -121", "Left = 20 - 141. Answer: -121", True),
        ("mathqa", "Left = 20 - (60 + 81).\nAnswer: -121", "Answer: 121", False),
        ("mathqa", "Left = 141 - 20.\nAnswer: 121", "141-20\nAnswer:-121", False),
        ("mathqa", "Left = 20 - (60 + 81).\nAnswer: -121", "Answer: -121.", True),
        ("mathqa", "Interest.\nAnswer: 12.5", "The answer is 12.50", True),
        ("grammars", "Replace Vowels with *", "Replace Vowels  with *\n", True),
        ("grammars", "Replace Vowels with *", "Remove All Vowels", False),
    ],
)
def test_answers_to_the_released_tasks_are_judged_by_the_examples_own_response(dataset, expected, response, right):
    assert datasets.family(dataset).correct(Example("?", expected, "a released class"), response) is right


@pytest.mark.parametrize("odd", ["\x1b[31m", "\u202e", "\u200b", "\x00", "a\nb", "a\rb"])
def test_a_class_name_that_would_control_how_others_are_shown_is_refused(tmp_path, odd):
    rows = [("ask", "answer", "plain"), ("ask more", "answer", f"x{odd}y")]
    folder = write_source(tmp_path / "g", rows, [("ask less", "answer", "plain")], ".jsonl")
    message = complaint(lambda: datasets.load("grammars", 1, 1, seed=0, source=folder))
    assert message.startswith(f"{tmp_path / 'g' / 'train.jsonl'}, row 2, column variation: a class name with '\\")
    assert message.isprintable()


def test_a_class_name_in_any_script_is_one(tmp_path):
    names = ("می\u200cخواهم", "= 1 + 1", "日本", "👩\u200d🔬", "עברית")
    rows = [(f"ask {half} {name}", "answer", name) for half in ("train", "test") for name in names]
    folder = write_source(tmp_path / "g", rows[:5], rows[5:], ".jsonl")
    assert train_test_files.classes(folder) == names
