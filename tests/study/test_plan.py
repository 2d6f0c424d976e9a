import subprocess
import sys
from pathlib import Path

import pytest

from ifcore import models
from ifcore.study import config, data, plan

ROOT = Path(__file__).parents[2]


def test_the_number_of_lora_parameters_is_that_of_a_real_adapter():
    model = models.add_lora(models.load("random:tiny-llama")[0], rank=3)
    expected = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert plan.KNOWN["random:tiny-llama"].lora(3) == expected


@pytest.mark.parametrize("name", ["smoke", "laptop", "workstation", "paper"])
def test_every_profile_is_planned_with_the_counts_that_its_data_sets_have(name):
    run = config.make_run(name, root=ROOT)
    text = plan.plan(run)
    for dataset, counts in run.profile.datasets.items():
        split = data.load(dataset, counts.train, counts.val, 0)
        row = next(line for line in text.splitlines() if line.startswith(dataset))
        assert row.split()[1:4] == [str(len(data.classes(dataset))), str(len(split.train)), str(len(split.val))]


def test_the_papers_profile_is_planned_from_the_command_line_without_a_model_at_hand():
    code = "import sys, socket; socket.socket.connect = None; sys.argv[1:] = ['notebooks/profiles/paper.yaml']; "
    code += "from ifcore.study.plan import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "P = 2,097,152" in done.stdout
    assert "fits in 48 GB" in done.stdout
    assert "hub:meta-llama/Llama-2-7b-chat-hf is gated" in done.stdout
