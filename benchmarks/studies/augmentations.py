"""SimCLR's figure 5: pairs of augmentations as a heat map."""

from dataclasses import replace
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

from study import NETWORK, SIZE, Claim, Study, Variant, main

from sslbolts import SimCLR
from sslbolts.pictures.style import INK, new_figure, save, tidy
from sslbolts.transforms import MultiView, View

WHOLE = View(SIZE, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
OPERATIONS = {
    "crop": {"scale": (0.2, 1.0), "ratio": (3 / 4, 4 / 3), "flip": 0.5},
    "color": {"jitter": (0.4, 0.4, 0.4, 0.1), "jitter_p": 1.0},
    "gray": {"grayscale_p": 0.5},
    "blur": {"blur_p": 0.5, "blur_kernel": 3},
    "solarize": {"solarize_p": 0.5},
}


def name_of(first: str, second: str) -> str:
    return first if first == second else f"{first} + {second}"


def heat_map(ridge: dict[str, float], path: Path) -> None:
    """Ridge accuracy of every pair; single operations on the diagonal."""
    names = list(OPERATIONS)
    figure = new_figure(6.0, 5.0)
    axes = figure.subplots()
    value = {(a, b): 100 * ridge[name_of(a, b)] for a, b in combinations_with_replacement(names, 2)}
    grid = [[value[min((a, b), (b, a), key=lambda pair: pair not in value)] for b in names] for a in names]
    image = axes.imshow(grid, cmap="viridis")
    middle = (min(map(min, grid)) + max(map(max, grid))) / 2
    for row, values in enumerate(grid):
        for column, number in enumerate(values):
            axes.text(column, row, f"{number:.1f}", ha="center", va="center", color="w" if number < middle else INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    tidy(axes, title="Pairs of augmentations: ridge accuracy (%)", xlabel="", ylabel="")
    axes.grid(visible=False)
    figure.colorbar(image)
    save(figure, path)


STUDY = Study(
    name="augmentations",
    title="Pairs of augmentations",
    about="Which augmentations make the task hard enough? Chen et al. 2020 (arXiv:2002.05709, figure 5) found no "
    "single one to suffice, and crop with color ahead of all other pairs. There one branch is augmented and "
    "the other only cropped; here both branches are augmented, and without crop they are whole images.",
    variants=[
        Variant(
            name_of(a, b),
            partial(SimCLR, hidden_dim=256, temperature=0.2, **NETWORK),
            views=MultiView((replace(WHOLE, **OPERATIONS[a], **(OPERATIONS[b] if a != b else {})),) * 2),
        )
        for a, b in combinations_with_replacement(OPERATIONS, 2)
    ],
    claims=[
        Claim("crop + color", "crop"),
        Claim("crop + color", "color"),
        *(Claim("crop + color", name_of("crop", other)) for other in ("gray", "blur", "solarize")),
        *(Claim("crop + color", name_of("color", other)) for other in ("gray", "blur", "solarize")),
    ],
    epochs=4,
    draw=heat_map,
)

if __name__ == "__main__":
    main(STUDY)
