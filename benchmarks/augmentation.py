"""Time per image of making the views, beside other libraries, in one run.

    python benchmarks/augmentation.py                  # everything, some minutes
    python benchmarks/augmentation.py --only small     # 32 pixel images in memory
    python benchmarks/augmentation.py --only jpeg      # JPEG files to two views and to multi-crop

One thread, CPU time, variants taken in turn in every round. A ratio is the reference's time by the variant's time of
the same round; the median over the rounds is printed, and the least and greatest. The reference is torchvision on PIL
images, one at a time. Libraries that are not installed are named as absent; kornia takes batches of images of one
size, so it has no row for files. The images are made here.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import augmentation_peers as peers
import torch
import torch.nn.functional as F
from augmentation_peers import MEAN, STD
from torch import Tensor

from sslbolts.transforms import BatchedAugment, View, random_crops, recipe, tune_malloc

# A function that makes the views of so many images.
Variant = tuple[Callable[[], object], int]
REFERENCE = "torchvision, PIL (reference)"


def photos(n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """``(n, 3, height, width)`` uint8 with the spectrum of photographs: amplitude falls as 1 / frequency."""
    noise = torch.fft.rfft2(torch.randn(n, 3, height, width, generator=generator))
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    pixels = torch.fft.irfft2(noise / (y**2 + x**2).sqrt().clamp_min(1 / max(height, width)), (height, width))
    colors = torch.tensor([[1.0, 0.25, 0.1], [1.0, 0.0, -0.1], [1.0, -0.25, 0.1]])  # gray varies most
    pixels = torch.einsum("oc,nchw->nohw", colors, pixels)
    return (pixels / pixels.std() * 55 + 120).clamp(0, 255).to(torch.uint8)


def jpegs(n: int, generator: torch.Generator) -> list[bytes]:
    """Encoded photos of about 400 x 500 pixels."""
    from PIL import Image

    files = []
    for _ in range(n):
        height, width = (int(torch.randint(low, low + 100, (), generator=generator)) for low in (350, 450))
        file = io.BytesIO()
        picture = photos(1, height, width, generator)[0].permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(picture).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def decode_to_pil(file: bytes) -> object:
    from PIL import Image

    return Image.open(io.BytesIO(file)).convert("RGB")


def decode_to_array(file: bytes) -> object:
    """``(H, W, 3)`` uint8, with the fastest decoder that equals PIL bit for bit."""
    import simplejpeg

    return simplejpeg.decode_jpeg(file, colorspace="RGB")


def decode(file: bytes) -> Tensor:
    """``(3, H, W)`` uint8, channels last in memory."""
    return torch.from_numpy(decode_to_array(file)).permute(2, 0, 1)


def small_variants(views: Sequence[View], images: Tensor, slow: int) -> Iterator[tuple[str, Callable[[], Variant]]]:
    """Views of images that are in memory; the per-image libraries get the first ``slow`` of them."""
    from PIL import Image

    few = images[:slow]
    arrays = [image.permute(1, 2, 0).contiguous().numpy() for image in few]
    pictures = [Image.fromarray(array) for array in arrays]
    floats = images.float() / 255

    def one_by_one(transform: Callable[[object], object], inputs: Sequence[object]) -> Variant:
        return lambda: [transform(image) for image in inputs], len(inputs)

    def ours(color: str) -> Variant:
        generator = torch.Generator().manual_seed(0)
        augments = [BatchedAugment(view, mean=MEAN, std=STD, color=color) for view in views]
        return lambda: [augment(images, generator=generator) for augment in augments], len(images)

    def kornia() -> Variant:
        transform = peers.kornia(views)
        return lambda: transform(floats), len(images)

    yield REFERENCE, lambda: one_by_one(peers.torchvision_pil(views), pictures)
    yield "torchvision v2, uint8 tensors", lambda: one_by_one(peers.torchvision_v2(views), list(few))
    yield "lightly", lambda: one_by_one(peers.lightly(views), pictures)
    yield "kornia, batches of floats (other semantics)", kornia
    yield "albumentations", lambda: one_by_one(peers.albumentations(views), arrays)
    yield "sslbolts, exact", lambda: ours("exact")
    yield "sslbolts, linear color", lambda: ours("linear")


def jpeg_variants(views: Sequence[View], files: Sequence[bytes]) -> Iterator[tuple[str, Callable[[], Variant]]]:
    """Views of encoded images."""

    def one_by_one(transform: Callable[[object], object], decoder: Callable[[bytes], object]) -> Variant:
        return lambda: [transform(decoder(file)) for file in files], len(files)

    def crops(decoder: Callable[[bytes], Tensor]) -> Callable[[], list[Tensor]]:
        generator = torch.Generator().manual_seed(0)

        def batch() -> list[Tensor]:
            out = [torch.empty(len(files), view.size, view.size, 3, dtype=torch.uint8) for view in views]
            for row, file in enumerate(files):
                slots = [view[row].permute(2, 0, 1) for view in out]
                random_crops(decoder(file), views, generator=generator, out=slots)
            return [view.permute(0, 3, 1, 2) for view in out]

        return batch

    def crops_and_colors() -> Variant:
        generator = torch.Generator().manual_seed(0)
        augments = [BatchedAugment(view, mean=MEAN, std=STD) for view in views]
        batch = crops(decode)

        def both() -> list[Tensor]:
            pairs = zip(augments, batch(), strict=True)
            return [augment(images, generator=generator, crop=False) for augment, images in pairs]

        return both, len(files)

    def from_pil(file: bytes) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor

        return pil_to_tensor(decode_to_pil(file))

    yield REFERENCE, lambda: one_by_one(peers.torchvision_pil(views), decode_to_pil)
    yield "torchvision v2, uint8 tensors", lambda: one_by_one(peers.torchvision_v2(views), decode)
    yield "lightly", lambda: one_by_one(peers.lightly(views), decode_to_pil)
    yield "albumentations, simplejpeg", lambda: one_by_one(peers.albumentations(views), decode_to_array)
    yield "sslbolts, worker's part (uint8), PIL", lambda: (crops(from_pil), len(files))
    yield "sslbolts, worker's part (uint8), simplejpeg", lambda: (crops(decode), len(files))
    yield "sslbolts, all on one core (float), simplejpeg", crops_and_colors
    yield "decoding alone, simplejpeg", lambda: one_by_one(lambda image: image, decode)


def microseconds(variant: Variant) -> float:
    """CPU time of one call, per image."""
    function, images = variant
    start = time.process_time()
    function()
    return (time.process_time() - start) / images * 1e6


def compare(title: str, variants: Iterator[tuple[str, Callable[[], Variant]]], rounds: int) -> None:
    """Times the variants in turn and prints a table."""
    ready: dict[str, Variant] = {}
    absent = []
    for name, make in variants:
        try:
            ready[name] = make()
            microseconds(ready[name])  # the first call fills caches
        except ImportError as missing:
            absent.append(f"{name} ({missing.name} is not installed)")
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, variant in ready.items():
            times[name].append(microseconds(variant))
    print(f"\n### {title}\n\n| variant | us per image | images/s | times the reference (least to greatest) |")
    print("|---|---|---|---|")
    for name, taken in times.items():
        ratios = [reference / own for reference, own in zip(times[REFERENCE], taken, strict=True)]
        middle = statistics.median(taken)
        spread = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {middle:.0f} | {1e6 / middle:.0f} | {spread} |")
    if absent:
        print(f"\nAbsent: {'; '.join(absent)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=512, help="32 pixel images per batch")
    parser.add_argument("--slow", type=int, default=64, help="32 pixel images per round for per-image libraries")
    parser.add_argument("--files", type=int, default=16, help="JPEG files per round")
    parser.add_argument("--only", choices=["small", "jpeg"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_malloc()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, one thread, CPU time, medians of {options.rounds} rounds")

    if options.only != "jpeg":
        images = F.interpolate(photos(options.batch, 64, 64, generator).float(), (32, 32), mode="area")
        images = images.to(torch.uint8)
        for name, size in (("CIFAR SimCLR (half color strength, no blur)", 32), ("full SimCLR (with blur)", 224)):
            view = View(**{**vars(recipe("simclr", size).views[0]), "size": 32})
            variants = small_variants([view, view], images, options.slow)
            compare(f"32 x 32 pixels in memory, batch {options.batch}, two views: {name}", variants, options.rounds)
    if options.only != "small":
        files = jpegs(options.files, generator)
        size = sum(map(len, files)) / len(files) / 1000
        print(f"\n{len(files)} JPEG files of {size:.0f} kB on average, about 400 x 500 pixels.")
        for title, name in (("two views of 224 (SimCLR)", "simclr"), ("2 x 224 + 6 x 96 (SwAV)", "swav")):
            compare(f"JPEG to {title}", jpeg_variants(recipe(name, 224).views, files), options.rounds)


if __name__ == "__main__":
    main()
