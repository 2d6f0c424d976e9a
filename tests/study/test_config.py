import sys
from pathlib import Path

import pytest

from study import config

ROOT = Path(__file__).parents[2]
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml"))


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_in_the_tree_is_valid(name):
    assert config.make_run(name, 3, root=ROOT).profile.name == name


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"learning_rte": 1.0}, ["learning_rte", "1.0", "unknown key", "did you mean learning_rate?"]),
        ({"epochs": -3}, ["epochs", "-3", "greater than 0"]),
        ({"datasets": {"mixed_small": {"train": -1, "val": 4}}}, ["datasets.mixed_small.train", "-1"]),
        ({"datasets": {"mixed_small": {"train": {"benign": -1}, "val": 4}}}, ["mixed_small.train.benign", "-1"]),
        ({"datasets": {"grammars": {"train": 1, "val": 1, "classes": 0}}}, ["datasets.grammars.classes", "0"]),
        ({"datasets": {"grammars": {"train": 1, "val": 1, "classes": []}}}, ["grammars.classes", "at least 1"]),
        ({"datasets": {"g": {"train": 1, "val": 1, "classes": ["a", "a"]}}}, ["g.classes", "'a' is named twice"]),
        ({"methods": ["datainf", "trak"]}, ["methods.1", "'trak'", "choose from datainf, lissa"]),
        ({"precision": "float8"}, ["precision", "'float8'", "'bfloat16'"]),
        ({"damping": float("inf")}, ["damping", "inf", "finite"]),
        ({"methods": ["datainf", "lissa", "datainf"]}, ["methods", "'datainf' is named twice"]),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(override, words):
    with pytest.raises(ValueError) as error:
        config.make_run("smoke", 0, override, ROOT)
    message = one_line(error)
    assert all(word in message for word in words), message


def test_an_unknown_profile_names_those_there_are():
    known = "evening, laptop, paper, smoke, workstation"
    with pytest.raises(ValueError, match=f"profile: 'lapptop'; .*choose from {known}"):
        config.make_run("lapptop", root=ROOT)


@pytest.mark.parametrize("seed", ["abc", -1, 1.5, True, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="^seed: .*; must be a whole number, 0 or more, below 2³²$"):
        config.make_run("smoke", seed, root=ROOT)


def test_a_notebook_given_a_profile_whole_or_by_name_is_the_same_run():
    by_name = config.from_notebook({"profile": "smoke", "seed": 2, "_": 1, "sys": sys})
    whole = config.load(ROOT / "notebooks" / "profiles" / "smoke.yaml").model_dump()
    assert config.from_notebook({**whole, "seed": 2}) == by_name


PARAMETERS = 'profile = "smoke"  # or laptop\nseed = 0'
ASK = "from study import config\n\nrun = config.from_notebook(globals())"


@pytest.mark.parametrize(
    ("cells", "epochs"),
    [
        ([PARAMETERS], 3),
        ([PARAMETERS + "\nepochs = 2"], 2),
        ([PARAMETERS, "# Parameters\nepochs = 2\n"], 2),  # papermill's
        ([PARAMETERS, '# Parameters\nprofile = "smoke"\nepochs = 2\n'], 2),
        ([PARAMETERS, "epochs = 2"], 2),  # a cell of one's own
        (['profile, epochs = "smoke", 2'], 2),
        ([PARAMETERS + "\nepochs = 2\nprint(epochs)"], 2),
        ([PARAMETERS + "\nepochs = 2", PARAMETERS], 3),  # the first cell, edited and run again
        ([PARAMETERS + "\nepochs = 2", ASK, "epochs = 2", "%matplotlib inline", PARAMETERS], 3),  # all again
    ],
)
def test_the_parameters_are_those_that_the_first_cell_binds_now(cells, epochs):
    names = {"profile": "smoke", "seed": 0, "epochs": 2, "path": "bound by the notebook", "In": ["", *cells, ASK]}
    assert config.from_notebook(names).profile.epochs == epochs


def test_what_the_notebook_bound_itself_is_no_parameter_and_a_misspelt_one_is_still_named():
    bound = {"profile": "smoke", "seed": 0, "run": config.make_run("smoke", root=ROOT), "value": 1.0, "sede": 3}
    cells = ["", PARAMETERS, ASK, "value = 1.0\nvalue", PARAMETERS, ASK]
    assert config.from_notebook(bound | {"In": cells}).seed == 0
    with pytest.raises(ValueError, match="sede: 3; unknown key"):
        config.from_notebook(bound | {"In": [*cells[:-2], PARAMETERS + "\nsede = 3", ASK]})


def test_a_misspelt_papermill_parameter_is_an_error_not_a_warning():
    with pytest.raises(ValueError, match="sede: 3; unknown key"):
        config.from_notebook({"profile": "smoke", "seed": 0, "sede": 3})


def test_an_overridden_profile_is_kept_apart_from_the_one_it_changes():
    changed = config.make_run("smoke", 0, {"epochs": 2}, ROOT)
    assert changed.profile.epochs == 2
    assert changed.results != config.make_run("smoke", 0, root=ROOT).results
    assert changed.profile.name.startswith("smoke-")


def test_a_file_that_is_not_a_profile_is_named(tmp_path):
    for text, words in (("a: [", "not YAML"), ("- a", "must hold keys and values"), ("model: x", "profile: missing")):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(ValueError, match=f"^mine.yaml: .*{words}") as error:
            config.load(tmp_path / "mine.yaml")
        one_line(error)


def test_of_the_linear_models_sizes_those_not_named_stay_the_profiles():
    run = config.from_notebook({"profile": "smoke", "linear": {"draws": 3}, "two_layer": {"epochs": 4}})
    assert run.profile.linear.draws == 3 and run.profile.linear.points == [5, 10]
    assert run.profile.two_layer.epochs == 4 and run.profile.two_layer.widths == [2, 32]


def test_of_the_alignment_what_is_not_named_stays_the_profiles_and_none_is_none():
    alignment = config.from_notebook({"profile": "smoke", "alignment": {"epochs": 3}}).profile.alignment
    assert (alignment.epochs, alignment.refusals, alignment.benign) == (3, 4, 4)
    assert config.from_notebook({"profile": "smoke", "alignment": None}).profile.alignment is None
    assert config.from_notebook({"profile": "laptop", "alignment": {"refusals": 8}}).profile.alignment.refusals == 8


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("~/mnist", str(Path.home() / "mnist")),
        ("data/mnist", str(ROOT / "data" / "mnist")),
        ("/data/mnist", "/data/mnist"),
        ("path:~/llama", f"path:{Path.home() / 'llama'}"),
        ("path:llama", f"path:{ROOT / 'llama'}"),
        ("hub:some/model", "hub:some/model"),
        ("random:tiny-llama", "random:tiny-llama"),
        (None, None),
    ],
)
def test_a_path_is_the_same_wherever_it_is_given(source, place):
    assert config.make_run("smoke", root=ROOT).located(source) == place
