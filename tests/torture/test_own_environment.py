"""The book in a home folder and an environment that, passed on, would change what every tool does."""

from tests.study.commands.test_own_environment import hostile_home
from tests.torture.conftest import assert_same_tables


def test_what_a_home_folder_and_variables_set_changes_nothing(make, fresh, intact, tmp_path):
    settings = hostile_home(tmp_path / "home")
    book = make(fresh, "book", **settings)
    assert book.process.returncode == 0, book.output[-3000:]
    assert_same_tables(fresh, intact)
    pictures = sorted(path.relative_to(intact) for path in intact.glob("results/smoke/seed-0/*.png"))
    assert pictures and all((fresh / path).read_bytes() == (intact / path).read_bytes() for path in pictures)
    notebook = make(fresh, "notebook", "NB=facts", "LAB_ARGS=--version", **settings)
    assert notebook.process.returncode == 0, notebook.output
