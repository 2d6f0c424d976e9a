"""An empty run, for tests of tables and figures."""

import pytest

from study import config
from study.profile import Profile


@pytest.fixture
def run(tmp_path):
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    profile = Profile(profile="p", model="random:tiny-llama", datasets={})
    return config.Run(profile, 0, tmp_path)
