"""The same views made by other libraries, for ``augmentation.py``. Not part of the package.

Each maker takes a list of :class:`~sslbolts.transforms.View` and a data set's mean and std, and returns a function from
one image (or, with ``batched = True``, from a batch) to its views. A maker whose library is missing raises ImportError.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from sslbolts.transforms import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_pil(views: Sequence[View]) -> Callable[[Any], list[torch.Tensor]]:
    """The reference: what lightly, solo-learn and most papers' code do for each image on its own."""
    from torchvision import transforms as T

    def one(view: View) -> T.Compose:
        jitter = T.RandomApply([T.ColorJitter(*view.jitter)], p=view.jitter_p)
        steps = [T.RandomResizedCrop(view.size, view.scale, view.ratio), T.RandomHorizontalFlip(view.flip), jitter]
        steps.append(T.RandomGrayscale(view.grayscale_p))
        if view.blur_p:
            steps.append(T.RandomApply([_PILBlur(view.blur_sigma)], p=view.blur_p))
        return T.Compose([*steps, T.ToTensor(), T.Normalize(MEAN, STD)])

    transforms = [one(view) for view in views]
    return lambda image: [transform(image) for transform in transforms]


class _PILBlur:
    def __init__(self, sigma: tuple[float, float]) -> None:
        self.sigma = sigma

    def __call__(self, image: Any) -> Any:
        from PIL import ImageFilter

        low, high = self.sigma
        return image.filter(ImageFilter.GaussianBlur(low + (high - low) * torch.rand(()).item()))


def torchvision_v2(views: Sequence[View]) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Version 2 of torchvision's transforms on uint8 tensors, each image on its own."""
    from torchvision.transforms import v2

    def one(view: View) -> v2.Compose:
        crop = v2.RandomResizedCrop(view.size, view.scale, view.ratio, antialias=True)
        jitter = v2.RandomApply([v2.ColorJitter(*view.jitter)], p=view.jitter_p)
        steps = [crop, v2.RandomHorizontalFlip(view.flip), jitter, v2.RandomGrayscale(view.grayscale_p)]
        if view.blur_p:
            steps.append(v2.RandomApply([v2.GaussianBlur(view.kernel, view.blur_sigma)], p=view.blur_p))
        return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])

    transforms = [one(view) for view in views]
    return lambda image: [transform(image) for transform in transforms]


def lightly(views: Sequence[View]) -> Callable[[Any], list[torch.Tensor]]:
    """Lightly's transforms, which wrap torchvision's, on PIL images."""
    from lightly.transforms import SimCLRTransform, SwaVTransform

    first, last = views[0], views[-1]
    brightness, contrast, saturation, hue = first.jitter
    colors = {
        "cj_prob": first.jitter_p,
        "cj_strength": 1.0,
        "cj_bright": brightness,
        "cj_contrast": contrast,
        "cj_sat": saturation,
        "cj_hue": hue,
        "random_gray_scale": first.grayscale_p,
        "gaussian_blur": first.blur_p,
        "sigmas": first.blur_sigma,
        "hf_prob": first.flip,
    }
    if first.size == last.size:
        return SimCLRTransform(input_size=first.size, min_scale=first.scale[0], **colors)
    large = sum(view.size == first.size for view in views)
    return SwaVTransform(
        crop_sizes=(first.size, last.size),
        crop_counts=(large, len(views) - large),
        crop_min_scales=(first.scale[0], last.scale[0]),
        crop_max_scales=(first.scale[1], last.scale[1]),
        **colors,
    )


def kornia(views: Sequence[View]) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Kornia on batches of floats: one order of color operations per batch, crops without antialiasing."""
    from kornia import augmentation as K

    def one(view: View) -> torch.nn.Sequential:
        steps = [
            K.RandomResizedCrop((view.size, view.size), view.scale, view.ratio, cropping_mode="resample"),
            K.RandomHorizontalFlip(p=view.flip),
            K.ColorJitter(*view.jitter, p=view.jitter_p),
            K.RandomGrayscale(p=view.grayscale_p),
        ]
        if view.blur_p:
            steps.append(K.RandomGaussianBlur((view.kernel, view.kernel), view.blur_sigma, p=view.blur_p))
        return torch.nn.Sequential(*steps, K.Normalize(MEAN, STD))

    transforms = [one(view) for view in views]
    return lambda images: [transform(images) for transform in transforms]


def albumentations(views: Sequence[View]) -> Callable[[Any], list[torch.Tensor]]:
    """Albumentations on NumPy arrays: OpenCV, crops without antialiasing."""
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)

    def one(view: View) -> A.Compose:
        *three, hue = view.jitter
        brightness, contrast, saturation = [(max(0.0, 1 - strength), 1 + strength) for strength in three]
        steps = [
            A.RandomResizedCrop(size=(view.size, view.size), scale=view.scale, ratio=view.ratio),
            A.HorizontalFlip(p=view.flip),
            A.ColorJitter(brightness, contrast, saturation, (-hue, hue), p=view.jitter_p),
            A.ToGray(p=view.grayscale_p),
        ]
        if view.blur_p:
            steps.append(
                A.GaussianBlur(blur_limit=(view.kernel, view.kernel), sigma_limit=view.blur_sigma, p=view.blur_p)
            )
        return A.Compose([*steps, A.Normalize(MEAN, STD)])

    def to_tensor(array: Any) -> torch.Tensor:
        return torch.from_numpy(array.transpose(2, 0, 1).copy())

    transforms = [one(view) for view in views]
    return lambda array: [to_tensor(transform(image=array)["image"]) for transform in transforms]
