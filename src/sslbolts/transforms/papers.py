"""The views that the papers train with, as a frozen table."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sslbolts.errors import UsageError, did_you_mean
from sslbolts.transforms.papers_of_tasks import TASKS
from sslbolts.transforms.recipes import Evaluation, MultiCrop, MultiView, View

__all__ = ["RECIPES", "evaluation", "recipe"]

# The largest size that takes the form for small images: no blur, and evaluation on the untouched image.
_SMALL = 64


# Every paper's views are written out in full. What one took over from another would change with it, unseen.


def _simclr(size: int, *, strength: float, blur_p: float) -> MultiView:
    jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    view = View(size, interpolation="bicubic", jitter=jitter, grayscale_p=0.2, blur_p=blur_p)
    return MultiView((view, view), normalize=False)


def _byol(size: int, *, blur_p: tuple[float, float]) -> MultiView:
    def view(blur: float, solarize: float) -> View:
        return View(
            size,
            interpolation="bicubic",
            jitter=(0.4, 0.4, 0.2, 0.1),
            grayscale_p=0.2,
            blur_p=blur,
            solarize_p=solarize,
        )

    return MultiView((view(blur_p[0], 0.0), view(blur_p[1], 0.2)))


def _moco_v1(size: int) -> MultiView:
    view = View(size, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, grayscale_p=0.2)
    return MultiView((view, view))


def _moco_v2(size: int, *, blur_p: float) -> MultiView:
    view = View(size, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2, blur_p=blur_p)
    return MultiView((view, view))


def _moco_v3(size: int, *, least: float, blur_p: tuple[float, float]) -> MultiView:
    def view(blur: float, solarize: float) -> View:
        return View(
            size,
            scale=(least, 1.0),
            interpolation="bilinear",
            jitter=(0.4, 0.4, 0.2, 0.1),
            grayscale_p=0.2,
            blur_p=blur,
            solarize_p=solarize,
        )

    return MultiView((view(blur_p[0], 0.0), view(blur_p[1], 0.2)))


def _npid(size: int, *, flip: float) -> MultiView:
    view = View(size, scale=(0.2, 1.0), flip=flip, jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0, grayscale_p=0.2)
    return MultiView((view,))


def _swav(size: int, local_size: int, *, strength: float, blur_p: float, local_kernel: int | None) -> MultiCrop:
    def view(side: int, scale: tuple[float, float], kernel: int | None) -> View:
        return View(
            side,
            scale=scale,
            interpolation="bilinear",
            jitter=(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength),
            grayscale_p=0.2,
            blur_p=blur_p,
            blur_kernel=kernel,
        )

    large = view(size, (0.14, 1.0), None)
    return MultiCrop((large, large), view(local_size, (0.05, 0.14), local_kernel), num_local=6)


def _dino(
    size: int,
    local_size: int,
    *,
    scales: tuple[float, float] = (0.05, 0.4),
    blur_p: tuple[float, float, float],
    local_kernel: int | None,
) -> MultiCrop:
    def view(side: int, scale: tuple[float, float], blur: float, solarize: float, kernel: int | None) -> View:
        return View(
            side,
            scale=scale,
            interpolation="bicubic",
            jitter=(0.4, 0.4, 0.2, 0.1),
            grayscale_p=0.2,
            blur_p=blur,
            blur_kernel=kernel,
            solarize_p=solarize,
        )

    large = (scales[1], 1.0)
    return MultiCrop(
        (view(size, large, blur_p[0], 0.0, None), view(size, large, blur_p[1], 0.2, None)),
        view(local_size, scales, blur_p[2], 0.0, local_kernel),
        num_local=8,
    )


def _weak(size: int) -> MultiView:
    return MultiView((View(size, scale=(0.2, 1.0)),))


def _crop_and_flip(size: int, *, scale: float) -> MultiView:
    return MultiView((View(size, scale=(scale, 1.0)),))


def _cpc(size: int) -> MultiView:
    return MultiView((View(size, scale=(0.75, 1.0)),))


def _amdim(size: int, *, hue: float) -> MultiView:
    view = View(
        size,
        scale=(0.3, 1.0),
        ratio=(0.7, 1.4),
        interpolation="bicubic",
        jitter=(0.4, 0.4, 0.4, hue),
        grayscale_p=0.25,
    )
    return MultiView((view, view), shared_flip=True)


def _mean_teacher(size: int, *, scale: tuple[float, float], strength: float) -> MultiView:
    view = View(size, scale=scale, jitter=(strength, strength, strength, strength / 4), jitter_p=1.0)
    return MultiView((view, view))


def _wmse(size: int, views: int, *, least: float, strength: float, grayscale_p: float, blur_p: float) -> MultiView:
    view = View(
        size,
        scale=(least, 1.0),
        interpolation="bicubic",
        jitter=(strength, strength, strength, strength / 4),
        grayscale_p=grayscale_p,
        blur_p=blur_p,
        color_first=True,
    )
    return MultiView((view,) * views)


def _wmse_imagenet100(views: int) -> MultiView:
    return _wmse(224, views, least=0.08, strength=0.8, grayscale_p=0.2, blur_p=0.5)


def _wmse_cifar(views: int) -> MultiView:
    return _wmse(32, views, least=0.2, strength=0.4, grayscale_p=0.1, blur_p=0.0)


def _plain(size: int, *, flip: float) -> View:
    # Only a central square covers the whole area in every try.
    return View(size, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=flip)


def _obow(size: int, crop_size: int, whole_size: int, *, blur_p: float) -> MultiView:
    jitter = (0.4, 0.4, 0.4, 0.1)
    crop = View(crop_size, scale=(0.08, 0.6), jitter=jitter, grayscale_p=0.2, blur_p=blur_p)
    whole = View(whole_size, scale=(0.6, 1.0), jitter=jitter, grayscale_p=0.2)  # the patches are not blurred
    return MultiView((_plain(size, flip=0.5), crop, crop, whole))


def _bownet(size: int) -> MultiView:
    perturbed = View(size, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2)
    return MultiView((_plain(size, flip=0.0), perturbed))


def _deepcluster(size: int) -> MultiView:
    return MultiView((View(size),))


_PAPERS: dict[str, dict[int, MultiView | MultiCrop]] = {
    "simclr": {224: _simclr(224, strength=1.0, blur_p=0.5), 32: _simclr(32, strength=0.5, blur_p=0.0)},
    "moco_v1": {224: _moco_v1(224), 32: _moco_v1(32)},
    "moco_v2": {224: _moco_v2(224, blur_p=0.5), 32: _moco_v2(32, blur_p=0.0)},
    "byol": {224: _byol(224, blur_p=(1.0, 0.1)), 32: _byol(32, blur_p=(0.0, 0.0))},
    "npid": {224: _npid(224, flip=0.5), 32: _npid(32, flip=0.0)},
    "moco_v3": {
        224: _moco_v3(224, least=0.08, blur_p=(1.0, 0.1)),
        32: _moco_v3(32, least=0.08, blur_p=(0.0, 0.0)),
    },
    "moco_v3_resnet": {
        224: _moco_v3(224, least=0.2, blur_p=(1.0, 0.1)),
        32: _moco_v3(32, least=0.2, blur_p=(0.0, 0.0)),
    },
    # The published code blurs the small crops with the kernel of the large ones.
    "swav": {
        224: _swav(224, 96, strength=1.0, blur_p=0.5, local_kernel=23),
        32: _swav(32, 16, strength=0.5, blur_p=0.0, local_kernel=None),
    },
    "dino": {
        224: _dino(224, 96, blur_p=(1.0, 0.1, 0.5), local_kernel=23),
        32: _dino(32, 16, blur_p=(0.0, 0.0, 0.0), local_kernel=None),
    },
    "dino_resnet50": {
        224: _dino(224, 96, scales=(0.05, 0.14), blur_p=(1.0, 0.1, 0.5), local_kernel=23),
        32: _dino(32, 16, scales=(0.05, 0.14), blur_p=(0.0, 0.0, 0.0), local_kernel=None),
    },
    "obow": {224: _obow(224, 160, 256, blur_p=0.5), 32: _obow(32, 24, 40, blur_p=0.0)},
    "bownet": {224: _bownet(224), 32: _bownet(32)},
    "wmse": {224: _wmse_imagenet100(2), 32: _wmse_cifar(2)},
    "wmse4": {224: _wmse_imagenet100(4), 32: _wmse_cifar(4)},
    "deepcluster": {224: _deepcluster(224), 32: _deepcluster(32)},
    "simreg": {224: _weak(224), 32: _weak(32)},
    "cpc": {224: _cpc(224), 32: _cpc(32)},
    "amdim": {224: _amdim(224, hue=0.1), 32: _amdim(32, hue=0.2)},
    "s4l": {224: _crop_and_flip(224, scale=0.05), 32: _crop_and_flip(32, scale=0.2)},
    "mean_teacher": {
        224: _mean_teacher(224, scale=(0.08, 1.0), strength=0.4),
        32: _mean_teacher(32, scale=(0.6, 1.0), strength=0.0),
    },
}
_SAME_AS = {"simsiam": "moco_v2", "barlow_twins": "byol", "vicreg": "byol", "deepcluster_v2": "swav"}

RECIPES: Mapping[str, Mapping[int, MultiView | MultiCrop]] = MappingProxyType(
    {name: MappingProxyType((_PAPERS | TASKS)[_SAME_AS.get(name, name)]) for name in (*_PAPERS, *TASKS, *_SAME_AS)}
)
"""The papers' views by name and size (32 and 224 pixels).

Those of methods that hide, turn, color or move images are in :data:`sslbolts.transforms.papers_of_tasks.TASKS`.

- simclr: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
  arXiv:2002.05709. Inputs stay in [0, 1]; the 32 pixel form halves the color strength and leaves the blur out. The
  official code, in TensorFlow, has contrast about each channel's mean, saturation in HSV, and no antialiasing.
- moco_v1: He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020, arXiv:1911.05722.
  The official code takes the color away before it changes brightness, contrast, saturation and hue; here, as in all
  recipes, after that. Either way the view is gray, but saturation and hue change its brightness here.
- moco_v2: Chen et al., Improved Baselines with Momentum Contrastive Learning, arXiv:2003.04297; simsiam: Chen and He,
  Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv:2011.10566, has the same views.
- byol: Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, arXiv:2006.07733: the asymmetric pair (blur always or
  rarely, solarize never or sometimes). barlow_twins (Zbontar et al., ICML 2021, arXiv:2103.03230) and vicreg (Bardes
  et al., ICLR 2022, arXiv:2105.04906) have the same pair. The official code of BYOL adds to the brightness where
  torchvision multiplies, has contrast about each channel's mean, and saturation in HSV, with the same numbers; the
  other two have torchvision's, as here.
- moco_v3: Chen et al., ICCV 2021, arXiv:2104.02057: BYOL's pair but for the crop, which is bilinear.
- moco_v3_resnet: the same with crops of at least a fifth of the image, for MoCo v3 with a ResNet.
- npid: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
  arXiv:1805.01978: one view with the crop and the colors of MoCo v1 (the order, too, on ImageNet; on CIFAR it is as
  here); not flipped up to 64 pixels.
- swav: Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster Assignments, NeurIPS 2020,
  arXiv:2006.09882: two large and six small crops; deepcluster_v2, of the same paper, has the same.
- dino: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, arXiv:2104.14294: two
  large and eight small crops; dino_resnet50 has the areas of its ResNet-50, 0.14 to 1 and 0.05 to 0.14.
- obow: Gidaris et al., OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning, CVPR 2021,
  arXiv:2012.11552: the plain image for the teacher, two smaller crops, and most of the image enlarged, not blurred, of
  which the method cuts patches. The official plain image is the central 7/8 of the shorter side; here it is the whole
  side.
- bownet: Gidaris et al., Learning Representations by Predicting Bags of Visual Words, CVPR 2020, arXiv:2002.12247: the
  plain image for the teacher, a crop with changed colors for the student.
- wmse, wmse4: Ermolov et al., Whitening for Self-Supervised Representation Learning, ICML 2021, arXiv:2007.06346: two
  views, and four; colors come before the crop. Up to 64 pixels the views for CIFAR, STL-10 and Tiny ImageNet, above
  those for ImageNet-100.
- deepcluster: Caron et al., Deep Clustering for Unsupervised Learning of Visual Features, ECCV 2018, arXiv:1807.05520:
  one view, crop and flip.
- simreg: Navaneet et al., SimReg, BMVC 2021, arXiv:2201.05131: one weakly augmented view, crop and flip.
- cpc: Henaff et al., Data-Efficient Image Recognition with Contrastive Predictive Coding, ICML 2020, arXiv:1905.09272:
  one view, most of the image. The method cuts its patches and changes their colors one by one: what all patches of an
  image had in common would give them away.
- amdim: Bachman et al., Learning Representations by Maximizing Mutual Information Across Views, NeurIPS 2019,
  arXiv:1906.00910: one flip for both views. Up to 64 pixels the views for STL-10, above those for ImageNet at 128
  pixels. The official code has STL-10's colors for CIFAR too, but only translates its images; here they are cropped.
- mean_teacher: Tarvainen and Valpola, Mean Teachers are Better Role Models, NeurIPS 2017, arXiv:1703.01780: crops,
  flips and, above 64 pixels, colors. The paper translates small images by up to 2 pixels, its later code by up to 4;
  here they are cropped.
- s4l: Zhai et al., S4L: Self-Supervised Semi-Supervised Learning, ICCV 2019, arXiv:1905.03670: one crop and flip;
  above 64 pixels of 0.05 of the image and more, as in TensorFlow's Inception. The official pixels are in [-1, 1].

The 32 pixel forms follow what the field does on CIFAR: the paper's crops, flips and colors without blur; small crops
are half the size of large ones.
"""


def recipe(name: str, size: int) -> MultiView | MultiCrop:
    """The paper's views at any size: up to 64 pixels from its 32 pixel form, above from its 224 pixel form.

    Views of other sizes (small crops) keep their proportion, rounded to a multiple of 4 pixels (up to 64) or 16
    (above), so that a vision transformer's patches fit.

    Args:
        name: a key of :data:`RECIPES`.
        size: side of the first view, pixels.

    Raises:
        UsageError: for a name that is not in the table.

    Example:
        >>> [view.size for view in recipe("swav", 128).views]
        [128, 128, 48, 48, 48, 48, 48, 48]
    """
    if name not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise UsageError(f'There are no views named "{name}"; there are {known}.{did_you_mean(name, RECIPES)}')
    form, grid = (32, 4) if size <= _SMALL else (224, 16)
    paper = RECIPES[name][form]
    if size == form:
        return paper

    def scaled(view: View) -> View:
        if view.size == form:
            return replace(view, size=size)
        # Where small crops are blurred with the kernel of the large ones, so they are at any size.
        kernel = None if view.blur_kernel is None else View(size).kernel
        return replace(view, size=max(grid, round(view.size * size / form / grid) * grid), blur_kernel=kernel)

    if isinstance(paper, MultiView):
        return replace(paper, views=tuple(map(scaled, paper.views)))
    return replace(paper, global_views=tuple(map(scaled, paper.global_views)), local_view=scaled(paper.local_view))


def evaluation(size: int) -> Evaluation:
    """The field's evaluation view: untouched up to 64 pixels, above a center crop of 7/8 of the shorter side.

    Args:
        size: side of the view, pixels.

    Example:
        >>> evaluation(224)
        Evaluation(resize=256, size=224, interpolation='bilinear')
        >>> evaluation(32)
        Evaluation(resize=32, size=32, interpolation='bilinear')
    """
    return Evaluation(resize=size if size <= _SMALL else round(size * 256 / 224), size=size)
