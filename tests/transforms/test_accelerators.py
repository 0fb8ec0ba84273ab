"""What an accelerator needs and a CPU does not show: everything on one device, fixed shapes, no waiting for values."""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sslbolts.transforms import BatchedAugment, View
from sslbolts.transforms.parameters import ViewParameters, draw_parameters

VIEW = View(32, jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2, blur_p=0.5, solarize_p=0.2)


@pytest.fixture
def fake_accelerator():
    """Tensors that know their shape and device but hold no values: whatever would read one raises."""
    from sslbolts.transforms import batched, blur, color, geometry, linear_color, parameters

    def forget():
        for module in (batched, blur, color, geometry, linear_color, parameters):
            for member in vars(module).values():
                if hasattr(member, "cache_clear"):
                    member.cache_clear()

    forget()
    with FakeTensorMode():
        yield torch.device("cuda")
    forget()


def fake_draws(n, device, crop):
    def empty(*shape, dtype=torch.float32):
        return torch.empty(*shape, dtype=dtype, device=device)

    return ViewParameters(
        box=empty(n, 4) if crop else None,
        flip=empty(n, dtype=torch.bool),
        order=empty(n, dtype=torch.int64),
        factors=empty(n, 4),
        grayscale=empty(n, dtype=torch.bool),
        blur=empty(n, dtype=torch.bool),
        sigma=empty(n),
        solarize=empty(n, dtype=torch.bool),
    )


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 asks a driver for fake CUDA tensors too")
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("color", ["exact", "linear"])
@pytest.mark.parametrize(("size", "side", "crop"), [(32, 32, True), (32, 32, False), (96, 120, True)])
def test_views_are_made_on_the_device_without_reading_a_value(fake_accelerator, channels, color, size, side, crop):
    view = dataclasses.replace(VIEW, size=size)
    augment = BatchedAugment(view, mean=(0.5,) * channels, std=(0.25,) * channels, color=color)
    images = torch.empty(24, channels, side, side, dtype=torch.uint8, device=fake_accelerator)
    result = augment.apply(images, fake_draws(24, fake_accelerator, crop))
    assert result.device.type == "cuda"
    assert result.shape == (24, channels, size, size)
    assert result.dtype == torch.float32


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.called = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.called.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("n", [8, 64])
def test_parameters_are_drawn_without_reading_a_value(n):
    with Recorder() as recorder:
        draw_parameters(VIEW, n, 40, 30, generator=torch.Generator().manual_seed(0))
    assert {"rand", "randint"} <= recorder.called
    assert not recorder.called & {"_local_scalar_dense", "nonzero", "masked_select"}
