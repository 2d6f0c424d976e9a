from ifcore.study.show import box
from tests.study.empirical_study.test_tables import SCORES, attribution


def test_what_ran_names_model_sizes_seed_machine_and_minutes(run):
    text = box.what_ran(run, {"mixed_small": attribution(SCORES)}).text
    for words in ("`random:tiny-llama` in float32", "4 training and 2 validation examples", "seed 0", "CPU cores"):
        assert words in text
    assert "Minutes: 1.5 (fine-tune 1.0, gradients 0.5)" in text
