"""Support vector machines: scikit-learn's own search, VISSL's windows, and small data of one and of several labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import parallel_backend
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC
from torch import nn
from torch.nn import functional as F

from sslbolts import UsageError
from sslbolts.cli import main
from sslbolts.evaluation import Result, evaluate_svm, load_encoder
from sslbolts.evaluation.layers.maps import PooledMaps, average_pooled
from sslbolts.evaluation.svm.machines import COSTS, fit_machines, mean_average_precision
from sslbolts.evaluation.svm.run import voc07_images
from sslbolts.evaluation.transfer.metrics import map_11point
from tests.evaluation.fine_tuning.test_run import colored, module
from tests.evaluation.transfer.test_transfer import fake_voc
from tests.helpers.few_images import use_few_images
from tests.helpers.nets import TinyBackbone


@pytest.fixture(autouse=True)
def _forked() -> Iterator[None]:
    """Machines that are fitted at the same time are so in forks: starting joblib's own processes takes many seconds."""
    with parallel_backend("multiprocessing", n_jobs=1):
        yield


def blobs(rows: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of length 1, and three labels for each of which some are not known."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (rows, 3), generator=drawn)
    x = labels.double() @ torch.randn(3, 10, generator=torch.Generator().manual_seed(9)).double()
    x += 1.5 * torch.randn(rows, 10, generator=drawn, dtype=torch.float64)
    labels[::7, 1] = -1
    return F.normalize(x, dim=1), labels


def searched(x: Any, labels: Any, costs: Any, folds: int = 3) -> Any:
    """Scikit-learn's search, with images of the class weighing twice."""
    machine = LinearSVC(class_weight={1: 2, 0: 1}, dual=True, max_iter=2000, random_state=0)
    return GridSearchCV(machine, {"C": list(costs)}, scoring="average_precision", cv=folds).fit(x, labels)


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_machine_is_scikit_learns_and_unknown_labels_have_no_part(jobs: int) -> None:
    (x, labels), (test_x, test_labels) = blobs(90, seed=0), blobs(60, seed=1)
    costs = [10.0, 0.1, 1.0]
    found = fit_machines(x, labels, test_x, costs=costs, jobs=jobs)
    precisions = []
    for column in range(3):
        known = (labels[:, column] >= 0).numpy()
        search = searched(x.numpy()[known], labels[:, column].numpy()[known], sorted(costs))
        assert found.costs[column] == search.best_params_["C"]
        assert found.validation[column] == pytest.approx(search.best_score_)
        expected = search.decision_function(test_x.numpy())
        np.testing.assert_allclose(found.scores[:, column].numpy(), expected, atol=1e-9)
        asked = (test_labels[:, column] >= 0).numpy()
        precisions.append(average_precision_score(test_labels[:, column].numpy()[asked], expected[asked]))
    assert mean_average_precision(found.scores, test_labels) == pytest.approx(np.mean(precisions))
    assert found.fits == 3 * (3 * 3 + 1)


def test_the_costs_are_vissls() -> None:
    assert COSTS == (0.01, 0.1, 1, 2, 5, 10, 15, 20, 50, 100, 1000)


def test_a_class_of_one_image_takes_a_middle_cost_and_one_without_images_no_machine() -> None:
    x, labels = blobs(40, seed=0)
    labels[:, 0] = 0
    labels[3, 0] = 1
    labels[:, 2] = 0
    found = fit_machines(x, labels, x[:5], costs=[0.1, 2.0])
    assert (found.costs[0], found.validation[0]) == (0.1, None)
    assert (found.costs[2], found.validation[2]) == (None, None)
    assert found.scores[:, 2].isneginf().all()
    assert found.validation[1] is not None
    with pytest.raises(UsageError, match="nothing to learn"):
        fit_machines(x, labels * 0, x)


def test_average_precision_is_right_on_a_case_worked_by_hand() -> None:
    # In order of the scores: yes, no, (not known), yes. The second column has no image.
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    targets = torch.tensor([[1, 0], [0, 0], [-1, 0], [1, -1]])
    assert mean_average_precision(scores, targets) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("channels", "side", "window", "kept"),
    [
        (64, 112, (10, 10, 4), 9216), (256, 56, (16, 8, 0), 9216), (512, 28, (13, 5, 0), 8192),
        (1024, 14, (8, 3, 0), 9216), (2048, 7, (6, 1, 0), 8192),  # ResNet-50
        (96, 55, (19, 4, 0), 9600), (256, 27, (12, 3, 0), 9216), (384, 13, (9, 1, 0), 9600),
        (256, 13, (8, 1, 0), 9216),  # AlexNet
    ],
)  # fmt: skip
def test_windows_are_vissls_and_average(channels: int, side: int, window: tuple[int, int, int], kept: int) -> None:
    maps = torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(0))
    found = average_pooled(maps)
    assert found.flatten(1).shape[1] == kept
    kernel, _, padding = window
    padded = F.pad(maps, (padding,) * 4)
    torch.testing.assert_close(found[:, :, 0, 0], padded[:, :, :kernel, :kernel].mean((2, 3)))


def test_other_maps_are_averaged_over_a_square_of_parts() -> None:
    network = TinyBackbone().eval()
    images = torch.rand(2, 3, 32, 32)
    maps = PooledMaps(network, network, ["layers.0"], values=32, average=True)
    (rows,) = maps(images)
    out = network.layers[0](images)  # (2, 8, 16, 16), pooled to 2 x 2
    expected = out.unflatten(3, (2, -1)).unflatten(2, (2, -1)).mean((3, 5))
    torch.testing.assert_close(rows, expected.flatten(1))
    assert maps.shapes == [(*out.shape[1:], 2)]


def encoder() -> Any:
    torch.manual_seed(0)
    return load_encoder(TinyBackbone(), image_size=32, device="cpu")


def test_the_table_of_one_label_per_image_is_a_direct_computation() -> None:
    network, data = encoder(), module()
    result = evaluate_svm(network, data, layers=["layers.1", "layers.3"], values=100, costs=[0.1, 1.0])
    assert [row["layer"] for row in result.rows] == ["layers.1", "layers.3"]

    mean, std = (torch.tensor(value)[:, None, None] for value in (data.mean, data.std))
    (train, y), (test, test_y) = colored(96).tensors, colored(33, seed=1).tensors
    backbone = network.backbone
    for row, depth in zip(result.rows, (2, 4)):
        features = []
        for images in (train, test):
            with torch.no_grad():
                maps = backbone.layers[:depth]((images.float() / 255 - mean) / std)
            side = int(row["pooled to"].split(" x ")[1])
            features.append(normalize(F.adaptive_avg_pool2d(maps, side).flatten(1).double().numpy()))
        searches = [searched(features[0], (y == label).long().numpy(), [0.1, 1.0]) for label in range(3)]
        scores = np.stack([search.decision_function(features[1]) for search in searches], 1)
        expected = [average_precision_score((test_y == label).numpy(), scores[:, label]) for label in range(3)]
        assert row["map"] == pytest.approx(np.mean(expected), abs=2e-3)
        assert row["validation/map"] == pytest.approx(np.mean([search.best_score_ for search in searches]), abs=2e-3)
        assert row["top1"] == pytest.approx((scores.argmax(1) == test_y.numpy()).mean(), abs=0.04)
    best = max(result.rows, key=lambda row: row["validation/map"])
    assert list(result.metrics)[:2] == ["map", "top1"]
    assert result.metrics["map"] == best["map"] == result.metrics[f"{best['layer']}/map"]
    assert best["layer"] in result.settings["choice"]
    assert result.settings["images"] == '96 labeled of "bank", judged on 33 of "test"'
    apart = evaluate_svm(
        network, data, layers=["layers.1", "layers.3"], values=100, costs=[0.1, 1.0], memory=1e-6, jobs=2
    )
    assert apart.rows == result.rows, "one layer after the other"


def test_only_labeled_images_teach() -> None:
    result = evaluate_svm(encoder(), module(labels_per_class=4), layers=["layers.3"], values=64, costs=[1.0])
    assert result.settings["images"].startswith('12 labeled of "bank", 4 of each class, judged on 33')


class Color(nn.Module):
    """A map of the colors themselves: enough to tell colored fakes apart."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.maps(x).mean((2, 3))


def test_voc_has_several_labels_and_difficult_objects_count_neither_way(tmp_path: Path) -> None:
    fake_voc(tmp_path)
    network = load_encoder(Color(), image_size=32, device="cpu")
    settings: dict[str, Any] = {"layers": ["maps"], "values": 48, "costs": [1.0, 10.0], "image_size": 28}
    result = evaluate_svm(network, voc07=tmp_path, **settings)
    assert list(result.metrics)[:2] == ["map_11point", "map"]
    assert result.metrics["map_11point"] == pytest.approx(1.0), "three colors are told apart"
    assert result.data == "VOC2007"
    assert result.settings["images"].startswith("9 of trainval, judged on 6 of test")
    assert result.settings["preprocessing"].startswith("shorter side 32 bicubic, center crop 28")
    assert result.settings["data"]["folder"] == str(tmp_path)
    train, test, _ = voc07_images(network, tmp_path, image_size=28)
    x, labels = (torch.stack(part) for part in zip(*(train[i] for i in range(len(train)))))  # type: ignore
    test_x, test_labels = (torch.stack(part) for part in zip(*(test[i] for i in range(len(test)))))  # type: ignore
    person = 14
    assert (labels[:, person] == -1).all()
    features = [F.normalize(F.adaptive_avg_pool2d(part, 4).flatten(1), dim=1) for part in (x, test_x)]
    found = fit_machines(features[0], labels, features[1], costs=[1.0, 10.0])
    assert found.costs[person] is None
    assert map_11point(found.scores, test_labels) == result.metrics["map_11point"]


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslbolts.evaluation.svm.machines.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'scikit-learn: pip install "sslbolts\[svm\]"'):
        evaluate_svm(encoder(), module())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"costs": []}, "costs is empty"),
        ({"costs": [0.0]}, "costs=0.0: it must be positive"),
        ({"folds": 1}, "folds=1: it must be a whole number of at least 2"),
        ({"image_size": 32}, "are for voc07"),
        ({"voc07": "nowhere"}, "leave data and test out"),
        ({"layers": ["layers.9"]}, 'no layer "layers.9"'),
        ({"jobs": 0}, "jobs=0: it must be"),
    ],
)
def test_wrong_values_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_svm(encoder(), module(), **{"layers": ["layers.3"], "values": 64, **settings})
    with pytest.raises(UsageError, match="which images"):
        evaluate_svm(encoder())
    with pytest.raises(UsageError, match="VOC2007: it is not in"):
        evaluate_svm(encoder(), voc07="nowhere")


def test_a_class_that_no_training_image_has_is_named() -> None:
    images = torch.rand(12, 3, 32, 32)
    train = torch.utils.data.TensorDataset(images, torch.arange(12) % 2)
    test = torch.utils.data.TensorDataset(images, torch.arange(12) % 3)
    with pytest.raises(UsageError, match="test images have class 2, and no training image"):
        evaluate_svm(encoder(), train, test=test, layers=["layers.3"], values=64, costs=[1.0])


def test_the_command_prints_the_table_and_writes_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_few_images(monkeypatch, train=100, test=50)
    argv = ["evaluate", "svm", "timm/resnet10t", "--untrained", "--device=cpu", "--values=256", "--costs=0.1"]
    packaged = ["--data.image_size=32", "--data.labels_per_class=4", "--layers=layer4"]
    assert main([*argv, *packaged, f"--output={tmp_path}/svm.json"]) == 0
    result = Result.from_json((tmp_path / "svm.json").read_text())
    assert result.protocol == "svm"
    assert "layer4" in capsys.readouterr().out
    fake_voc(tmp_path)
    voc = [f"--voc07={tmp_path}", "--image_size=32", "--layers", "layer3", "layer4"]
    assert main([*argv, *voc, "--init=random", f"--output={tmp_path}/voc.json"]) == 2  # a word of its own
    assert "leave --untrained out" in capsys.readouterr().err
    argv.remove("--untrained")
    for init in ("random", "rescaled"):
        assert main([*argv, *voc, f"--init={init}", f"--output={tmp_path}/{init}.json"]) == 0
        found = json.loads((tmp_path / f"{init}.json").read_text())
        assert found["data"] == "VOC2007"
        assert init in found["settings"]["initialization"]
