"""The registry of methods, and scores from Gram matrices."""

import pytest
import torch

from ifcore import methods
from ifcore.gram import Gram
from ifcore.methods import METHODS, OF_GRAM


@pytest.mark.parametrize("key", OF_GRAM)
def test_scores_block_by_block_are_those_of_all_blocks_at_once(key):
    generator = torch.Generator().manual_seed(3)
    train, val = ({b: torch.randn(n, 7, generator=generator).double() for b in "abc"} for n in (6, 4))
    train["c"] = torch.zeros_like(train["c"])
    options = {name: {"damping": 0.3, "iterations": 4}[name] for name in METHODS[key].options}
    gram = Gram.from_gradients(train, val)
    expected = METHODS[key].function(gram, **options)
    assert list(methods.gram_scores([gram], [key], 0.3, 4)) == [key]
    assert torch.equal(methods.gram_scores([gram], [key], 0.3, 4)[key], expected)
    torch.testing.assert_close(methods.gram_scores(Gram.by_block(train, val), [key], 0.3, 4)[key], expected)


def test_a_method_needs_something_and_says_where_it_comes_from():
    for method in METHODS.values():
        assert method.needs and method.equation and method.reference and callable(method.function)
        assert set(method.needs) <= {"gradients", "factors", "states", "checkpoints"}
    assert set(OF_GRAM) < set(METHODS)


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        (["nonsense"], {}, "methods: 'nonsense'; choose from datainf, lissa"),
        (["tracin"], {}, "methods: tracin needs checkpoints; name their folder"),
        ([], {}, "methods: none; choose from"),
        (["exact"], {"damping": 0}, "damping: 0; must be a finite number above 0"),
        (["lissa"], {"iterations": -1}, "iterations: -1; must be 0 or more"),
    ],
)
def test_what_cannot_be_computed_is_refused(keys, options, message):
    with pytest.raises(ValueError, match=message):
        methods.check_methods(keys, **({"damping": 0.1, "iterations": 10} | options))
