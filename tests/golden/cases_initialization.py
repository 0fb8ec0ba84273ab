"""Reference case of weights that are rescaled on images."""

from collections.abc import Mapping

from torch import Tensor, nn

from sslbolts.networks.rescaled import balance_, rescale_
from tests.golden.reference import Case, Parameters, Tensors


def _rescaled(i: Tensors, p: Parameters) -> dict[str, Tensor]:
    layers = {"conv1": nn.Conv2d(3, 4, 3, padding=1), "conv2": nn.Conv2d(4, 5, 3, padding=1), "fc": nn.Linear(80, 3)}
    first = nn.Sequential(layers["conv1"], nn.ReLU(), nn.MaxPool2d(2))
    network = nn.Sequential(first, layers["conv2"], nn.ReLU(), nn.Flatten(), layers["fc"]).to(i["data"].dtype)
    for name, layer in layers.items():
        layer.weight.data.copy_(i[f"gauss.{name}"])
    found = {}

    def note(step: str) -> None:
        for name, layer in layers.items():
            for part in ("weight", "bias"):
                found[f"{step}.{name}.{part}"] = getattr(layer, part).detach().clone()

    rescale_(network, i["data"].flatten(0, 1), bias=p["bias"])
    note("step1")
    assert balance_(network, i["data"][0], i["top_diff"]) == p["iterations_used"]
    note("step2")
    return found


CASES: Mapping[str, Case] = {"kraehenbuhl_rescaled": Case(_rescaled)}
