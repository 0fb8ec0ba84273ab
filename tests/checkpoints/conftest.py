"""The names of small networks, as every reader in this room finds them."""

from collections.abc import Iterator

import pytest

from sslbolts.checkpoints.foreign import architectures
from tests.checkpoints.narrow import NARROW_RESNETS, SHORT_VITS


@pytest.fixture(autouse=True, scope="package")
def _narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "_RESNETS", architectures._RESNETS | NARROW_RESNETS)
        patch.setattr(architectures, "_VITS", architectures._VITS | SHORT_VITS)
        yield
