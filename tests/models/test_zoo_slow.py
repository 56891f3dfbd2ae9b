"""Laws of every ranking model that compile, export, differentiate numerically or resume it; make test checks them."""

from __future__ import annotations

import pytest
import zoo
from test_zoo import RANKING, SLOW

from torch_rechub.testing import check_model


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("law", sorted(SLOW))
def test_a_model_keeps_the_slow_law(name, law):
    """Every ranking model keeps every law of torch_rechub.testing that takes seconds to check."""
    check_model(zoo.model(name), zoo.tensors(12, name=name), only=[law])
