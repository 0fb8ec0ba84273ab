"""The table of multi-task learning: each pretext task alone, and their sums, over one network."""

from functools import partial
from typing import Any

from study import NETWORK, SIZE, Claim, Study, Variant, main

from sslbolts import MultiTask
from sslbolts.transforms import MultiView, View

TASKS: dict[str, dict[str, Any]] = {
    "R": {
        "class_path": "RelativePosition",
        # 2 x 2 patches of 7 pixels: what 16 pixels have room for.
        "init_args": {
            "grid": 2,
            "patch_size": 7,
            "cell_size": 8,
            "jitter": 1,
            "colors": "standardize",
            "low_resolution_p": 0.0,
            "head": "revisiting",
            "hidden_dim": 256,
        },
    },
    "C": {"class_path": "Colorization", "init_args": {"stride": 4, "neighbors": 5, "bias_lr_scale": 1.0}},
    "E": {"class_path": "Exemplar", "init_args": {"output_dim": 128, "color_noise": True}},
}
"""Relative position, colorization and exemplar, by their letters."""

PLAIN = MultiView((View(SIZE, scale=(0.3, 1.0)),) * 2, normalize=False)


def over_one_network(letters: str) -> partial[MultiTask]:
    """The tasks of these letters; features are of images as the first of them sees them."""
    return partial(MultiTask, tasks=[TASKS[letter] for letter in letters], **NETWORK)


STUDY = Study(
    name="multi_task",
    title="Tasks alone and together",
    about="Do several pretext tasks over one network learn better features than each of them? Doersch and Zisserman "
    "2017 (arXiv:1708.07860, ResNet-101 on ImageNet, linear classifier, top-5) found colorization (C) ahead of "
    "relative position (R) and exemplar (E), both pairs that they tried with relative position ahead of their parts, "
    "and all three ahead of the pairs. Here the losses are added without weights.",
    variants=[
        Variant("R", over_one_network("R"), 59.21, PLAIN),
        Variant("C", over_one_network("C"), 62.48, PLAIN),
        Variant("E", over_one_network("E"), 53.08, PLAIN),
        Variant("R + C", over_one_network("RC"), 66.64, PLAIN),
        Variant("R + E", over_one_network("RE"), 65.24, PLAIN),
        Variant("R + C + E", over_one_network("RCE"), 68.65, PLAIN),
        Variant("R + C + E, harmonized", partial(over_one_network("RCE"), harmonize=True), views=PLAIN),
    ],
    claims=[
        Claim("C", "R"),
        Claim("R", "E"),
        Claim("R + C", "C"),
        Claim("R + C", "R"),
        Claim("R + E", "R"),
        Claim("R + C", "R + E"),
        Claim("R + C + E", "R + C"),
        Claim("R + C + E", "R + E"),
    ],
)

if __name__ == "__main__":
    main(STUDY)
