"""Saved models that several tests load. No test writes into these folders: it copies them."""

import pytest

from tests.saved_adapters import lora_config, save_adapter, save_bases


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """The folder of the base models, by name."""
    place = tmp_path_factory.mktemp("bases")
    save_bases(place)
    return place


@pytest.fixture(scope="session")
def saved_lora(bases, tmp_path_factory):
    """The folder of a LoRA adapter on the base, and the model in memory that it was saved from."""
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    return folder, save_adapter(bases / "base", folder, lora_config())
