"""lightning-bolts 0.7.0 against ours, by what it wrote down once (record.py; `make test-bolts` writes it anew)."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbolts import load_backbone
from sslbolts.export import read_backbone
from sslbolts.losses import nt_xent
from sslbolts.optim import LARS, Schedule, warmup_cosine
from tests.bolts.formula import IMAGES, noise, weights

FRESH = os.environ.get("SSLBOLTS_BOLTS_RECORDS")  # a folder of record.py, where `make test-bolts` has just written one
HERE = Path(__file__).parent
STEPS = 20
METHODS = {  # the layout that each is recognized by, and whether it keeps a teacher
    "simclr": ("bolts-simclr", False),
    "byol": ("bolts-byol", True),
    "simsiam": ("bolts-simsiam", False),
    "swav": ("bolts-swav", False),
    "moco": ("bolts-moco", True),
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load((Path(FRESH) if FRESH else HERE) / "recorded.npz") as file:
        return dict(file)


def test_versions_stand_in_the_record(recorded):
    versions = json.loads(str(recorded["versions"]))
    assert versions["lightning-bolts"] == "0.7.0"
    assert versions["pytorch-lightning"] == "1.9.5"


@pytest.mark.parametrize(  # names alone, of all layouts, are in checkpoints/test_foreign.py
    "name", [name if name == "simclr" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_a_checkpoint_with_its_names_and_shapes_gives_its_features(name, recorded, tmp_path):
    layout, has_teacher = METHODS[name]
    said = json.loads(str(recorded[f"layout/{name}"]))
    checkpoint = {"state_dict": weights(said["shapes"]), "hyper_parameters": said["hparams"]}
    torch.save(checkpoint, tmp_path / "theirs.ckpt")
    read = read_backbone(tmp_path / "theirs.ckpt")
    assert read.report.layout == layout
    assert read.report.left_in_network == ()
    images = noise("images", IMAGES)
    networks = {"student": read.network()}
    if has_teacher:
        networks["teacher"] = load_backbone(tmp_path / "theirs.ckpt", teacher=True)
    for part, network in networks.items():
        expected = torch.from_numpy(recorded[f"features/{name}/{part}"])
        torch.testing.assert_close(network(images)[:, :64], expected, rtol=1e-3, atol=1e-4)


def test_teacher_and_student_differ_in_the_record(recorded):
    for name in ("byol", "moco"):
        difference = recorded[f"features/{name}/student"] - recorded[f"features/{name}/teacher"]
        assert np.abs(difference).max() > 0.1


def test_lars_over_twenty_steps(recorded):
    weight, bias = torch.nn.Parameter(noise("weight", (4, 3))), torch.nn.Parameter(noise("bias", (4,)))
    optimizer = LARS([weight, bias], lr=0.4, momentum=0.9, weight_decay=1e-6, trust_coefficient=0.02)
    for step in range(STEPS):
        weight.grad, bias.grad = noise(f"weight {step}", (4, 3)), noise(f"bias {step}", (4,))
        optimizer.param_groups[0]["lr"] = float(recorded["schedule"][step])
        optimizer.step()
        # Its trust ratio is |p| / (|g| + λ|p|), ours |p| / |g + λp|: with λ = 1e-6 they differ by about as much.
        np.testing.assert_allclose(weight.detach().numpy(), recorded["lars/weight"][step], rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(bias.detach().numpy(), recorded["lars/bias"][step], rtol=1e-5, atol=2e-6)


def test_what_to_write_for_its_scheduler(recorded):
    """LinearWarmupCosineAnnealingLR(optimizer, 5, 20, warmup_start_lr=0.04, eta_min=0.008) at lr=0.4."""
    start, end = 0.04 / 0.4, 0.008 / 0.4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)

    def factor(epoch: int) -> float:
        if epoch < 5:
            return start + (1 - start) * epoch / (5 - 1)
        return warmup_cosine(epoch, total=20, warmup=5, floor=end)

    schedule = Schedule(optimizer, factor)
    for step in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(float(recorded["schedule"][step]), rel=1e-9)
        optimizer.step()
        schedule.step()


def test_nt_xent_of_twenty_batches(recorded):
    for step in range(STEPS):
        z1, z2 = (noise(f"z{view} {step}", (6, 8)).double().requires_grad_() for view in (1, 2))
        loss = nt_xent(z1, z2, temperature=0.1 + 0.02 * step)
        loss.backward()
        # In place of masking the similarity to itself it subtracts e^(1/τ), rounded to float32, from a sum.
        assert loss.item() == pytest.approx(float(recorded["nt_xent/loss"][step]), abs=1e-4)
        np.testing.assert_allclose(z1.grad.numpy(), recorded["nt_xent/gradient"][step], atol=1e-4)


@pytest.mark.skipif(FRESH is None, reason="make test-bolts: it needs checkpoints that lightning-bolts has just written")
@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_that_it_just_wrote_gives_the_features_that_it_just_gave(name):
    folder = Path(str(FRESH))
    fresh = torch.load(folder / f"{name}.features.pt", weights_only=True)
    layout, has_teacher = METHODS[name]
    read = read_backbone(folder / f"{name}.ckpt")
    print(read.report)
    assert read.report.layout == layout
    with torch.no_grad():
        torch.testing.assert_close(read.network()(fresh["images"]), fresh["student"], rtol=1e-4, atol=1e-5)
        if has_teacher:
            teacher = load_backbone(folder / f"{name}.ckpt", teacher=True)
            torch.testing.assert_close(teacher(fresh["images"]), fresh["teacher"], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(FRESH is None, reason="make test-bolts: it needs a fresh record")
def test_the_stored_record_is_what_it_gives_today(recorded):
    with np.load(HERE / "recorded.npz") as stored:
        assert set(stored) == set(recorded)
        for name in stored:
            if name.startswith("layout/"):
                assert json.loads(str(stored[name])) == json.loads(str(recorded[name]))
            elif name != "versions":
                np.testing.assert_allclose(recorded[name], stored[name], rtol=1e-4, atol=1e-5, err_msg=name)
