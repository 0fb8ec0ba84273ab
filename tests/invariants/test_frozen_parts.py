"""What a method holds in evaluation mode stays in it, whatever mode the method is put into."""

import pytest

from sslbolts.methods.registry import METHODS
from tests.invariants.cases import case_of


@pytest.mark.parametrize("name", list(METHODS))
def test_train_leaves_frozen_networks_in_evaluation_mode(name):
    module = case_of(name).module()
    frozen = [part for part, network in module.named_modules() if not network.training]
    assert bool(frozen) == (name in ("BoWNet", "Distillation")), "methods with a frozen teacher, and no others"
    for mode in (False, True):
        module.train(mode)
        assert [part for part in frozen if module.get_submodule(part).training] == []
