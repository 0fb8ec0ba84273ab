"""The views of methods that hide, turn, color or move images, as a table; a part of the papers' views."""

from sslbolts.transforms.recipes import MultiCrop, MultiView, View

__all__ = ["TASKS"]


def _plain(size: int, *, flip: float) -> View:
    # Only a central square covers the whole area in every try.
    return View(size, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=flip)


def _mae(size: int, *, scale: float) -> MultiView:
    return MultiView((View(size, scale=(scale, 1.0), interpolation="bicubic"),))


def _rotnet(size: int) -> MultiView:
    return MultiView((View(size),))


def _moved(size: int) -> View:
    # Of an image with a border of 1/8 on each side, as much as the image had: (8 / 10) squared.
    return View(size, scale=(0.64, 0.64), ratio=(1.0, 1.0), padding=1 / 8)


def _exemplar(size: int) -> MultiView:
    view = View(size, scale=(0.05, 1.0), ratio=(0.75, 1.33))  # TensorFlow's
    return MultiView((view,) * 8, normalize=False)


def _simmim(size: int) -> MultiView:
    return MultiView((View(size, scale=(0.67, 1.0)),))


def _counting(size: int) -> MultiView:
    return MultiView((View(size, scale=(0.5, 0.8), ratio=(1.0, 1.0), grayscale_p=0.67),))


def _relative_position(view: View) -> MultiView:
    return MultiView((view,), normalize=False)


def _jigsaw(size: int, *, flip: float) -> MultiView:
    return MultiView((_plain(size, flip=flip),), normalize=False)


def _jigsaw_vissl(size: int) -> MultiView:
    # Of a square image three quarters or more; of one of 3x4, all of its shorter side, at a random place.
    return MultiView((View(size, scale=(0.75, 1.0), ratio=(1.0, 1.0), grayscale_p=0.66),))


def _denoising_autoencoder(size: int) -> MultiView:
    return MultiView((View(size, scale=(0.5, 1.0)),), normalize=False)


def _context_encoder(size: int, *, scale: tuple[float, float]) -> MultiView:
    return MultiView((View(size, scale=scale, ratio=(1.0, 1.0)),), normalize=False)


def _bigan(size: int, *, least: float) -> MultiView:
    return MultiView((View(size, scale=(least, 0.79), ratio=(1.0, 1.0), flip=0.0),), normalize=False)


def _multi_task(size: int) -> MultiView:
    # Colors stay as they are, since they are to be predicted; tasks that need others change them.
    return MultiView((View(size, scale=(0.3, 1.0)),) * 2, normalize=False)


def _tcn(size: int, *, least: float) -> MultiView:
    jitter = (32 / 255, 0.0, 0.5, 0.0)
    return MultiView((View(size, scale=(least, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=jitter, jitter_p=1.0),))


def _colorization(size: int, *, least: float, most: float, ratio: float) -> MultiView:
    return MultiView((View(size, scale=(least, most), ratio=(1 / ratio, ratio)),), normalize=False)


def _split_brain(size: int, *, least: float, most: float, ratio: float) -> MultiView:
    return MultiView((View(size, scale=(least, most), ratio=(1 / ratio, ratio)),), normalize=False)


TASKS: dict[str, dict[int, MultiView | MultiCrop]] = {
    "mae": {224: _mae(224, scale=0.2), 32: _mae(32, scale=0.08)},
    "simmim": {224: _simmim(224), 32: _simmim(32)},
    "relative_position": {
        224: _relative_position(View(224, scale=(0.7626, 0.7626), flip=0.0)),
        32: _relative_position(_plain(32, flip=0.5)),
    },
    "jigsaw": {224: _jigsaw(224, flip=0.0), 32: _jigsaw(32, flip=0.5)},
    "jigsaw_vissl": {224: _jigsaw_vissl(224), 32: _jigsaw_vissl(32)},
    "rotnet": {224: _rotnet(224), 32: MultiView((_moved(32),))},
    "exemplar": {224: _exemplar(224), 32: _exemplar(32)},
    # Squares of 180 pixels out of 256.
    "colorization": {
        224: _colorization(224, least=0.4944, most=0.4944, ratio=1.0),
        32: _colorization(32, least=0.5, most=1.0, ratio=4 / 3),
    },
    "split_brain": {
        224: _split_brain(224, least=0.4944, most=0.4944, ratio=1.0),
        32: _split_brain(32, least=0.5, most=1.0, ratio=4 / 3),
    },
    "context_encoder": {224: _context_encoder(224, scale=(0.1, 0.134)), 32: _context_encoder(32, scale=(0.6, 1.0))},
    "denoising_autoencoder": {224: _denoising_autoencoder(224), 32: _denoising_autoencoder(32)},
    "counting": {224: _counting(224), 32: _counting(32)},
    "bigan": {224: _bigan(224, least=0.59), 32: _bigan(32, least=0.59)},
    "multi_task": {224: _multi_task(224), 32: _multi_task(32)},
    "tcn": {224: _tcn(224, least=1.0), 32: _tcn(32, least=1.0)},
    "tcn_multiview": {224: _tcn(224, least=0.8), 32: _tcn(32, least=0.8)},
}
"""The views by name and size (32 and 224 pixels).

- mae: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, arXiv:2111.06377: one bicubic crop and
  flip. The 32 pixel form is solo-learn's, with crops of 0.08 and more in place of 0.2.
- simmim: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, CVPR 2022, arXiv:2111.09886: one crop of
  most of the image, and flip.
- relative_position: Doersch et al., Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015,
  arXiv:1505.05192, as in Kolesnikov et al., CVPR 2019, arXiv:1901.09005: a crop of 255 of 292 pixels per side, not
  flipped. The official code first stretches the image to a square; here the crop is stretched. The method cuts patches
  and takes colors away. Up to 64 pixels the whole image, flipped or not.
- jigsaw: Noroozi and Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016,
  arXiv:1603.09246: the central square, not flipped (the official code cuts 255 of 256 pixels); the method cuts tiles
  and takes colors away. Up to 64 pixels it is flipped or not.
- jigsaw_vissl: the same task in Goyal et al., ICCV 2019, arXiv:1905.01235: a random square, two of three gray, and
  normalized as a whole. The official crop has 255 of the 256 pixels of the shorter side; here three quarters of the
  area or more.
- rotnet: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018,
  arXiv:1803.07728: one view, crop and flip; up to 64 pixels the whole image with a black border of 1/8, moved by up to
  that, and flipped. The method turns what it is given.
- exemplar: Kolesnikov et al., Revisiting Self-Supervised Visual Representation Learning, CVPR 2019, arXiv:1901.09005:
  eight crops, each flipped on its own. Inputs stay in [0, 1]: the method takes the color away, from all crops of an
  image or none, and standardizes each.
- colorization: Zhang et al., Colorful Image Colorization, ECCV 2016, arXiv:1603.08511: one crop and flip, in [0, 1];
  the method makes Lab of it. The official code resizes images to squares of 256 pixels and cuts 180 out of them; here a
  square of that area is cut out of the image. The 32 pixel form is not the paper's.
- split_brain: Zhang et al., Split-Brain Autoencoders, CVPR 2017, arXiv:1611.09842: colorization's, for its own are not
  known.
- context_encoder: Pathak et al., Context Encoders, CVPR 2016, arXiv:1604.07379: one square crop and flip, in [0, 1].
  The official code cuts 128 pixels out of images whose shorter side has 350: 0.134 of the area of a square image, and
  0.1 of one of 4:3, which are the bounds here. Up to 64 pixels, where there is no official form, 0.6 and more.
- denoising_autoencoder: Vincent et al., Stacked Denoising Autoencoders, JMLR 11, 2010, has images as they are; here
  one crop of half of the image or more, and flip, in [0, 1].
- counting: Noroozi et al., Representation Learning by Learning to Count, ICCV 2017, arXiv:1708.06734: one square crop,
  flip, mostly gray. The paper crops 228 pixels of images whose shorter side has 256: 0.79 of a square image's area.
- bigan: Donahue et al., Adversarial Feature Learning, ICLR 2017, arXiv:1605.09782: one square crop, not flipped, in
  [0, 1]. The official code cuts 64 pixels out of images whose shorter side has 72 (or 112 out of 128): 0.79 of the area
  of a square image, and 0.59 of one of 4:3, which are the bounds here.
- tcn, tcn_multiview: Sermanet et al., Time-Contrastive Networks, ICRA 2018, arXiv:1704.06888: the central square of a
  frame, or, for pairs of views, 0.8 and more of its area; colors; no flip. The
  official code adds up to 32/255 to the brightness where torchvision multiplies, by as much of 1, and half of the time
  shows frames of tcn_multiview from farther away, in a black border, up to three times their area, which is left out
  here.
"""
