import pytest


def test_make_alone_lists_the_commands(make):
    listed = make().stdout
    for command in ("setup", "book", "test", "notebook", "run", "sweep", "clean"):
        assert f"make {command} " in listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("book", "SEED=abc"), ["SEED=abc", "not a whole number", "SEED=1"]),
        (("sweep", "SEEDS=0 x"), ["'x'", "not a whole number", 'SEEDS="0 1 2"']),
        (("book", "PROFILE=lapptop"), ["PROFILE=lapptop", "choose from", "laptop", "smoke"]),
        (("run", "NB=study"), ["NB=study", "choose from", "empirical_study"]),
    ],
)
def test_wrong_input_fails_in_one_line_and_leaves_nothing(make, checkout, arguments, words):
    before = sorted(checkout.iterdir())
    done = make(*arguments)
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words)
    assert sorted(checkout.iterdir()) == before


def test_a_wrong_profile_ends_the_build_in_one_line(make, checkout, book):
    file = checkout / "notebooks" / "profiles" / "broken.yaml"
    file.write_text((file.parent / "smoke.yaml").read_text().replace("smoke", "broken") + "lerning_rate: 1\n")
    done = make("book", "PROFILE=broken")
    file.unlink()
    assert done.returncode != 0
    line = [line for line in done.stdout.splitlines() if not line.startswith("make:")][-1]
    assert line == "broken.yaml: lerning_rate: 1; unknown key, did you mean learning_rate?"
    assert not (checkout / "results" / "broken").exists()


def test_a_second_build_recomputes_nothing(make, checkout, book):
    made = [book / "index.html", checkout / "book" / "executed" / "empirical_study.ipynb"]
    made += list((checkout / "artifacts").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in made]
    assert make("book", "PROFILE=smoke").returncode == 0
    assert [path.stat().st_mtime_ns for path in made] == before
