"""Speed and memory of training: with real images and views against views that are ready on the device."""

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from gpu_parts.plan import Row, Setup
from sslbolts import SSLModule
from sslbolts._lightning import Callback, Trainer
from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, ImageFolderDataModule, SSLDataModule, TensorImages
from sslbolts.methods import METHODS, get_method


@dataclass(frozen=True)
class Network:
    """A backbone, and the images that it learns from.

    Attributes:
        arguments: of every method.
        small: of every method, in a trial of the script.
        size: side of an image, pixels.
        batch: images per step; halved until it fits.
    """

    arguments: dict[str, Any]
    small: dict[str, Any]
    size: int
    batch: int
    methods: tuple[str, ...] = field(default=("SimCLR", "BYOL", "DINO"))


_TINY_RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8], "stem_type": "deep", "stem_width": 4}
_TINY_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}

NETWORKS = {
    "ResNet-18, 32 pixels": Network(
        {"backbone": "resnet18", "stem": "cifar"}, {"backbone": "resnet18", "backbone_kwargs": _TINY_RESNET}, 32, 512
    ),
    "ResNet-50, 224 pixels": Network(
        {"backbone": "resnet50"}, {"backbone": "resnet18", "backbone_kwargs": _TINY_RESNET}, 224, 256
    ),
    "ViT-S/16, 224 pixels": Network(
        {"backbone": "vit_small_patch16_224"},
        {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": _TINY_VIT},
        224,
        256,
        ("SimCLR", "BYOL", "DINO", "MAE"),
    ),
}
SPEED_ITEMS = [f"{method}, {name}" for name, network in NETWORKS.items() for method in network.methods]
_NARROW = {"DINO": {"output_dim": 32, "hidden_dim": 16, "bottleneck_dim": 16}, "MAE": {"decoder_heads": 2}}


def speed(item: str, setup: Setup) -> Row:
    """Images per second of a method: with a loader that makes views, and with views that are on the device."""
    method, _, name = item.partition(", ")
    network = NETWORKS[name]
    data = images(network, METHODS[method].views, setup)
    for batch in batches(network, setup):
        try:
            ready = run(make(method, network, setup), ReadyViews.of(data, batch, setup), setup)
            data.batch_size = batch
            loaded = run(make(method, network, setup), data, setup, warm=4 if setup.small else 40)
        except torch.OutOfMemoryError:
            free()
            continue
        return {
            "batch": batch,
            "views of each image": len(data.views.views),
            "images/s, ready views": ready.rate,
            "images/s, loader and views": loaded.rate,
            "share of the ceiling": loaded.rate / ready.rate,
            "ms per step, ready views": 1e3 * batch / ready.rate,
            "peak memory (GiB)": loaded.peak,
        }
    raise RuntimeError("not even the smallest batch fits into the memory of the device")


def compiled(name: str, setup: Setup) -> Row:
    """Images per second of SimCLR with ready views, with the backbone as it is and compiled."""
    network = NETWORKS[name]
    data = images(network, METHODS["SimCLR"].views, setup)
    for batch in batches(network, setup):
        views = ReadyViews.of(data, batch, setup)
        try:
            eager = run(make("SimCLR", network, setup), views, setup)
            method = make("SimCLR", network, setup)
            method.backbone.compile(backend="aot_eager" if setup.small else "inductor")
            began = time.perf_counter()
            fast = run(method, views, setup)
        except torch.OutOfMemoryError:
            free()
            continue
        return {
            "batch": batch,
            "images/s": eager.rate,
            "images/s, compiled": fast.rate,
            "ratio": fast.rate / eager.rate,
            "seconds until the first measured step": fast.began - began,
            "peak memory (GiB)": eager.peak,
            "peak memory, compiled (GiB)": fast.peak,
        }
    raise RuntimeError("not even the smallest batch fits into the memory of the device")


# ------------------------------------------------------------------------------------------------------- pieces


class Stopwatch(Callback):
    """Counts images between the first measured step and the last, and waits for the device at these two alone.

    Args:
        warm: steps before.
        seconds: between the two.
        batch: images per step.
        cuda: whether there is a device to wait for.
    """

    def __init__(self, warm: int, seconds: float, batch: int, cuda: bool) -> None:
        self.warm, self.seconds, self.batch, self.cuda = warm, seconds, batch, cuda
        self.steps = 0
        self.began = self.rate = 0.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        if self.steps == self.warm:
            self.began = self._now()
        elif self.steps > self.warm + 1 and time.perf_counter() - self.began > self.seconds:
            elapsed = self._now() - self.began
            self.rate = self.batch * (self.steps - self.warm) / elapsed
            trainer.should_stop = True

    @property
    def peak(self) -> float:
        """Memory of the device since the run began, GiB; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self.cuda else 0.0

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


@dataclass(frozen=True)
class Pace:
    """Of a run: images per second, peak memory in GiB, and when the first measured step began."""

    rate: float
    peak: float
    began: float


def run(method: SSLModule, data: Any, setup: Setup, *, warm: int | None = None) -> Pace:
    """Train until the stopwatch has seen enough.

    Args:
        method: under test.
        data: a DataModule, or a loader; with a ``batch_size``.
        setup: of the benchmark.
        warm: steps before the first measured one. The loader has batches in advance then, which it must use up first.
    """
    cuda = setup.device == "cuda"
    if cuda:
        free()
        torch.cuda.reset_peak_memory_stats()
    batch = data.batch_size if isinstance(data, SSLDataModule) else data.dataset.images
    watch = Stopwatch(warm or (2 if setup.small else 15), 0.2 if setup.small else 12.0, batch, cuda)
    trainer = Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision="bf16-mixed" if cuda else "32-true",
        max_epochs=1_000,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[watch],
    )
    trainer.fit(method, data)
    if not watch.rate:
        raise RuntimeError(f"the run ended after {watch.steps} steps, before it was measured")
    return Pace(watch.rate, watch.peak, watch.began)


def make(method: str, network: Network, setup: Setup) -> SSLModule:
    """The method with the published widths of its heads, or in a trial with narrow ones."""
    torch.manual_seed(0)
    arguments = {**network.small, **_NARROW.get(method, {})} if setup.small else network.arguments
    return get_method(method)(lr_scaling="none", **arguments)  # ready views come without the size of their batch


def batches(network: Network, setup: Setup) -> list[int]:
    """Sizes of a batch that are tried, until one fits."""
    return [8] if setup.small else [network.batch // 2**i for i in range(5)]


class ReadyViews(IterableDataset[ViewBatch]):
    """One batch of noise on the device, again and again."""

    def __init__(self, views: list[torch.Tensor]) -> None:
        self.images = len(views[0])
        device = views[0].device
        targets, indices = torch.zeros(self.images), torch.arange(self.images)
        self.batch = ViewBatch(views, targets.long().to(device), indices.to(device))

    def __len__(self) -> int:
        return 100_000

    def __iter__(self) -> Iterator[ViewBatch]:
        return (self.batch for _ in range(len(self)))

    @classmethod
    def of(cls, data: SSLDataModule, batch: int, setup: Setup) -> DataLoader[ViewBatch]:
        """Views of the sizes that a DataModule's recipe has."""
        sizes = [view.size for view in data.views.views]
        made = [torch.randn(batch, 3, size, size, device=setup.device) for size in sizes]
        return DataLoader(cls(made), batch_size=None)


def images(network: Network, views: str, setup: Setup) -> SSLDataModule:
    """Images of a network's size: at 32 pixels 50,000 in memory, else JPEG files of 500 x 375 pixels."""
    if network.size == 32:
        data = CIFAR10MiniDataModule(views=views, seed=0, num_workers=None)
        packaged = data.images("train")
        times = 1 if setup.small else 10
        return data.with_images(
            train=TensorImages(packaged.data.repeat(times, 1, 1, 1), packaged.targets.repeat(times))
        )
    side = 32 if setup.small else network.size
    workers = 0 if setup.small else None
    return ImageFolderDataModule(str(photos(setup)), views=views, image_size=side, seed=0, num_workers=workers)


def photos(setup: Setup) -> Path:
    """A folder of JPEG files: packaged images, enlarged to 500 x 375 pixels; several names lead to each file."""
    written, names = (24, 48) if setup.small else (1024, 16_384)
    folder = setup.folder / ("few_photos" if setup.small else "photos")
    done = folder / "written"
    if not done.exists():
        pixels = CIFAR10MiniDataModule().images("train").data
        (folder / "files").mkdir(parents=True, exist_ok=True)
        (folder / "names").mkdir(exist_ok=True)
        for number in range(written):
            image = Image.fromarray(pixels[number].permute(1, 2, 0).numpy()).resize(
                (500, 375), Image.Resampling.BICUBIC
            )
            image.save(folder / "files" / f"{number}.jpg", quality=90)
        for number in range(names):
            link = folder / "names" / f"{number}.jpg"
            link.unlink(missing_ok=True)
            link.hardlink_to(folder / "files" / f"{number % written}.jpg")
        done.touch()
    return folder / "names"


def free() -> None:
    """Give the device's memory back, that of a failed run too."""
    gc.collect()
    torch.cuda.empty_cache()
