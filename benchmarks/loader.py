"""How fast training batches come, alone and while a network trains on them.

    python benchmarks/loader.py [--batch-size 256] [--rounds 5] [--folder FOLDER]

Two SimCLR views at 32 pixels of the packaged images (or of a folder of image files), and a tiny convolutional encoder.
Prints images per second of the loader alone, of the training step alone (on a batch that is there already), and of both
together, for each place where the augmentation can run. Rounds are interleaved, medians are printed: other work on the
machine then hits all rows alike.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sslbolts.batch import ViewBatch
from sslbolts.data import CIFAR10MiniDataModule, ImageFolderDataModule, SSLDataModule
from sslbolts.losses import nt_xent


class Step:
    """One SimCLR step of a tiny encoder."""

    def __init__(self, device: torch.device) -> None:
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 64),
        ).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1)

    def __call__(self, views: list[Tensor]) -> None:
        z1, z2 = self.network(torch.cat(views)).chunk(2)
        loss = nt_xent(z1, z2, temperature=0.5)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Source:
    """Finished batches of a DataModule, epoch after epoch."""

    def __init__(self, data: SSLDataModule, device: torch.device) -> None:
        self.data = data
        self.device = device
        self.loader = data.train_dataloader()
        self.batches = self._forever()

    def _forever(self) -> Iterator[ViewBatch]:
        epoch = 0
        while True:
            self.loader.sampler.set_epoch(epoch)
            for batch in self.loader:
                yield self.data.on_after_batch_transfer(move(batch, self.device), 0)
            epoch += 1


def move(batch: ViewBatch, device: torch.device) -> ViewBatch:
    first, *others = batch
    tensors = [tensor.to(device, non_blocking=True) for tensor in first]
    return type(batch)(tensors, *(x.to(device) if isinstance(x, Tensor) else x for x in others))


def rate(run, images: int, device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=19, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="image files instead of the packaged images")
    parser.add_argument("--color", default="exact", choices=["exact", "linear"])
    parser.add_argument("--threads", type=int, default=None, help="of the training process")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def data(**settings) -> SSLDataModule:
        common = {"batch_size": args.batch_size, "color": args.color, "seed": 0, **settings}
        if args.folder:
            return ImageFolderDataModule(args.folder, image_size=32, **common)
        return CIFAR10MiniDataModule(**common)

    places = {
        "one worker": data(augment_on="worker", num_workers=1),
        "in the training process": data(augment_on="worker", num_workers=0),
    }
    if device.type != "cpu":
        places["on the device"] = data(augment_on="device")
    sources = {name: Source(module, device) for name, module in places.items()}
    step = Step(device)
    images = args.batch_size * args.batches
    ready = next(next(iter(sources.values())).batches).views
    rates: dict[str, list[float]] = {}

    def measure(name: str, run) -> None:
        rates.setdefault(name, []).append(rate(run, images, device))

    def take(source: Source, train: bool) -> None:
        for _ in range(args.batches):
            views = next(source.batches).views
            if train:
                step(views)

    for round_ in range(args.rounds + 1):
        if round_ == 1:
            rates.clear()  # the first round warms up
        measure("step", lambda: [step(ready) for _ in range(args.batches)])
        for name, source in sources.items():
            measure(f"loader, {name}", lambda source=source: take(source, train=False))
            measure(f"both, {name}", lambda source=source: take(source, train=True))

    median = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, batch {args.batch_size}, {args.color}"
    )
    print(f"{'':28}{'images/s':>10}{'of the step alone':>20}")
    for name, value in median.items():
        part = statistics.median(a / b for a, b in zip(rates[name], rates["step"]))
        print(f"{name:28}{value:10,.0f}{part:20.0%}")


if __name__ == "__main__":
    main()
