import pytest

from study import config, datasets
from study.commands import plan
from study.commands.check import check, check_book
from study.pipeline import attributions
from tests.study.datasets.test_train_test_files import rule_rows, write_source
from tests.study.pipeline.test_attributions import make_run


def test_wrong_input_leaves_nothing_behind(tmp_path):
    run = make_run(tmp_path)
    with pytest.raises(ValueError, match="dataset: 'nope'; .* has mixed_small"):
        attributions.compute_attribution(run, "nope")
    (tmp_path / "bad.csv").write_text("goal\nsomething\n")
    for override, message in (
        ({"model": "path:/no/such"}, "/no/such is not a folder"),
        ({"further_models": ["hub:no-owner"]}, "hub:OWNER/NAME"),
        ({"harmful_source": "bad.csv"}, "target"),
        ({"harmful_source": "none.csv"}, "none.csv"),
        ({"datasets": {"no_such": {"train": 1, "val": 4}}}, "no_such.*choose one of mixed_small"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            check(make_run(tmp_path, **override))
        assert "\n" not in str(error.value)
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"layers_on": "grammar"}, "layers_on: 'grammar'; choose from mixed_small"),
        ({"linear": {"parameters": [10, 1_234]}}, r"linear.parameters.*1234; it should be a multiple of 10"),
        ({"layers_on": "mixed_small", "two_layer": {"points": 1_500}}, r"1500 \+ 750 asked; lower points"),
        ({"layers_on": "mixed_small", "digits_source": "nowhere"}, "no IDX files of MNIST"),
    ],
)
def test_what_section_4_needs_is_checked_before_anything_long_starts(tmp_path, overrides, words):
    with pytest.raises(ValueError, match=words):
        check(make_run(tmp_path, **overrides))


def test_a_book_needs_sizes_for_every_data_set_but_grammars_in_the_texts_form(tmp_path):
    with pytest.raises(ValueError, match="^datasets: no sizes for .*; .* need all but grammars$") as error:
        check_book(make_run(tmp_path, layers_on="mixed_small"))
    lacking = str(error.value).split("; ")[0].removeprefix("datasets: no sizes for ").split(", ")
    assert set(lacking) == set(datasets.NAMES) - {"mixed_small", "grammars"}
    sizes = config.load(tmp_path / "notebooks" / "profiles" / "smoke.yaml").model_dump()["datasets"]
    needed = {name: counts for name, counts in sizes.items() if name != "grammars"}
    check_book(make_run(tmp_path, datasets=needed))
    (tmp_path / "_toc.yml").touch()  # a book without chapters
    assert "together" in plan.minutes(make_run(tmp_path, datasets=needed))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"by": ["gradsim", "repsim"]}, "counterfactual.by: no lissa; add it, claims are about it"),
        ({"by": ["lissa", "mine"]}, "counterfactual.by: 'mine'; choose from datainf"),
        ({"retrainings": {"facts": 2}}, "counterfactual.retrainings: 'facts'; choose from mixed_small"),
    ],
)
def test_what_the_claims_are_about_is_among_what_is_removed_by(tmp_path, asked, words):
    with pytest.raises(ValueError, match=words):
        check(
            make_run(tmp_path, layers_on="mixed_small", counterfactual={"halves": 4, "again": 4, "removed": 1} | asked)
        )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"batch_size": 2}, "mixed_small, train, harmful: 3; can't be had in 4 steps an epoch, .*; choose a multiple"),
        ({"datasets": {"mixed_small": {"train": {"harmful": 3}, "val": 1}}}, "mixed_small, train, benign: 0; can't"),
        ({"alignment": {"refusals": 9_999}}, "alignment, refusals: 9999 asked, there are .*; ask for fewer"),
        ({"alignment": {"held_out": 9_999}}, "alignment, held_out: 9999 asked, there are .*; ask for fewer"),
    ],
)
def test_what_tables_1_and_6_need_is_checked_before_anything_long_starts(tmp_path, overrides, words):
    with pytest.raises(ValueError, match=words) as error:
        check(make_run(tmp_path, layers_on="mixed_small", **overrides))
    assert "\n" not in str(error.value)


def test_a_source_in_the_released_format_is_read_before_anything_long_starts(tmp_path):
    write_source(tmp_path / "rules", [*rule_rows(2), ("a", "b", "")], rule_rows(1, start=100), ".jsonl")
    sizes = {"datasets": {"grammars": {"train": 2, "val": 1}}, "layers_on": "grammars"}
    with pytest.raises(ValueError, match="rules/train.jsonl, row 7, column variation: empty; fill it in or delete"):
        check(make_run(tmp_path, **sizes, grammars_source="rules"))
    with pytest.raises(ValueError, match="^mathqa_source: '.*/rules'; .* has no sizes for mathqa; "):
        check(make_run(tmp_path, **sizes, mathqa_source="rules"))
    write_source(tmp_path / "rules", rule_rows(2), rule_rows(1, start=100), ".jsonl")
    check(make_run(tmp_path, **sizes, grammars_source="rules"))
    assert not (tmp_path / "artifacts").exists()
