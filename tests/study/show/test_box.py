from ifcore.study.show import box
from tests.study.empirical_study.test_tables import SCORES, attribution


def test_what_ran_names_model_seed_machine_and_minutes(run):
    text = box.what_ran(run, {"mixed_small": attribution(SCORES)}).text
    for words in ("`random:tiny-llama`, float32", "seed 0", "CPU cores"):
        assert words in text
    assert "Minutes: 1.5 (fine-tune 1.0, gradients 0.5)" in text


def test_the_papers_sizes_and_settings_stand_beside_this_runs(run):
    text = box.what_ran(run, {"mixed_small": attribution(SCORES)}).text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    rows = {name: cells for name, *cells in lines}
    # 25 epochs of ceil(40 / 32) steps
    assert rows["Mixed (small): training / validation"] == ["4 / 2, 2 steps (2 epochs)", "40 / 40, up to 50 steps"]
    assert rows["Epochs at most, batch"] == ["25, 32", "25, 32"]
    assert rows["Judge"] == ["refusal phrases", "a BERT-style classifier"]
    assert all(len(cells) == 2 and all(cells) for name, cells in rows.items() if name)
