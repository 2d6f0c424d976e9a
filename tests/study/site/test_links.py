from nbformat import v4

from study.site import links


def cell(source, tags, made):
    output = v4.new_output("display_data", {"text/markdown": "| a |"}, metadata={"made": made})
    return v4.new_code_cell(source, outputs=[output], metadata={"tags": tags})


def notebook(root):
    (root / "results").mkdir()
    (root / "results" / "a.csv").write_text("x\n1\n")
    cells = [
        cell("show.a(run)", ["remove-input"], ["results/a.csv"]),
        cell("b = 1\nb", [], []),
        cell("show.c(run)", ["remove-cell"], ["results/a.csv"]),
    ]
    return v4.new_notebook(cells=cells)


def test_under_an_output_stand_its_file_and_the_cell_that_the_page_leaves_out(tmp_path):
    page = notebook(tmp_path)
    links.add_links(page, tmp_path, tmp_path / "book")
    kinds = [cell.cell_type for cell in page.cells]
    assert kinds == ["code", "markdown", "code", "code"]
    line = page.cells[1].source
    assert "{download}`a.csv <files/a.csv>`" in line and "show.a(run)" in line
    assert (tmp_path / "book" / "files" / "a.csv").read_text() == "x\n1\n"
    assert links.linked_files(line) == {"a.csv"}


def test_a_file_that_is_beside_the_notebook_is_not_copied(tmp_path):
    page = notebook(tmp_path)
    links.add_links(page, tmp_path, tmp_path / "results")
    assert "<a.csv>" in page.cells[1].source
    assert not (tmp_path / "results" / "files").exists()


def test_a_figure_says_when_what_it_shows_was_computed(tmp_path):
    page = notebook(tmp_path)
    page.cells[0].outputs[0].metadata["computed"] = "from what was computed on 1 May 2026, 10:00 UTC"
    links.add_links(page, tmp_path, tmp_path / "book")
    assert "{download}`a.csv <files/a.csv>` · from what was computed on 1 May 2026" in page.cells[1].source
