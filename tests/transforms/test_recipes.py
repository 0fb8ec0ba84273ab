import dataclasses

import jsonargparse
import pytest

from sslbolts.errors import UsageError
from sslbolts.transforms import Evaluation, MultiCrop, MultiView, View


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 0}, "size=0"),
        ({"size": 32.0}, "size=32.0"),
        ({"flip": 1.5}, "flip=1.5 is no probability"),
        ({"jitter_p": -0.1}, "jitter_p=-0.1"),
        ({"grayscale_p": 2}, "grayscale_p=2"),
        ({"blur_p": 1.01}, "blur_p=1.01"),
        ({"solarize_p": -1}, "solarize_p=-1"),
        ({"scale": (1.0, 0.08)}, r"scale=\(1.0, 0.08\) must be \(least, greatest\)"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"scale": (0.5, 1.5)}, "<= 1"),
        ({"scale": (0.5,)}, "2 numbers"),
        ({"scale": "big"}, "2 numbers"),
        ({"ratio": (1.3, 0.7)}, "ratio"),
        ({"blur_sigma": (2.0, 0.1)}, "blur_sigma"),
        ({"blur_sigma": (0.0, 0.1)}, "blur_sigma"),
        ({"jitter": (0.4, 0.4, 0.4)}, "4 numbers"),
        ({"jitter": (0.4, 0.4, 0.4, 0.6)}, "hue at most 0.5"),
        ({"jitter": (0.4, -0.4, 0.4, 0.1)}, "none negative"),
        ({"blur_kernel": 4}, "blur_kernel=4 must be odd"),
        ({"blur_kernel": -3}, "blur_kernel=-3"),
        ({"blur_kernel": 65, "blur_p": 0.5}, "less than twice size=32"),
        ({"padding": -0.1}, "padding=-0.1 must be from 0 to 1"),
        ({"padding": 0.1, "color_first": True}, "0 with color_first=True"),
        ({"solarize_threshold": 256}, "solarize_threshold=256"),
        ({"interpolation": "bicubik"}, 'Did you mean "bicubic"'),
    ],
)
def test_a_view_refuses_what_cannot_be(wrong, says):
    with pytest.raises(UsageError, match=says):
        View(**({"size": 32} | wrong))


def test_recipes_refuse_what_is_no_view():
    with pytest.raises(UsageError, match="one or more View"):
        MultiView(())
    with pytest.raises(UsageError, match="one or more View"):
        MultiView(("simclr",))
    with pytest.raises(UsageError, match="local_view"):
        MultiCrop((View(32),), None, 2)
    with pytest.raises(UsageError, match="num_local=-1"):
        MultiCrop((View(32),), View(16), -1)


def test_evaluation_refuses_a_crop_that_does_not_fit():
    with pytest.raises(UsageError, match="size=256 cannot be cut out of resize=224"):
        Evaluation(resize=224, size=256)
    with pytest.raises(UsageError, match="bilinear"):
        Evaluation(resize=224, size=224, interpolation="nearest")


@pytest.mark.parametrize(("size", "kernel"), [(224, 23), (96, 9), (32, 3), (16, 3), (40, 5), (50, 5), (60, 7)])
def test_the_blur_kernel_is_an_odd_tenth_of_the_side_and_at_least_three(size, kernel):
    assert View(size).kernel == kernel
    assert View(size, blur_kernel=13).kernel == 13


def test_recipes_are_frozen_comparable_and_take_lists():
    view = View(32, scale=[0.2, 1.0], jitter=[0.4, 0.4, 0.4, 0.1])
    assert view == View(32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1))
    assert hash(MultiView([view, view])) == hash(MultiView((view, view)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.flip = 0.1


def test_multicrop_puts_global_views_first():
    first, second, local = View(32, flip=0.1), View(32, flip=0.2), View(16)
    assert MultiCrop((first, second), local, 3).views == (first, second, local, local, local)
    assert MultiCrop((first,), local, 0).views == (first,)


def parser():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--views", type=str | MultiView | MultiCrop, default="simclr")
    return parser


def parsed(yaml):
    arguments = parser()
    return arguments.instantiate(arguments.parse_string(yaml)).views


def test_yaml_says_a_name():
    assert parsed("views: byol") == "byol"


def test_yaml_says_a_multiview_with_nested_tuples():
    views = parsed(
        """
        views:
          views:
            - {size: 32, scale: [0.2, 1.0], jitter: [0.4, 0.4, 0.4, 0.1], blur_kernel: 5}
            - {size: 32, interpolation: bicubic, flip: 0.0}
          normalize: false
        """
    )
    first = View(32, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), blur_kernel=5)
    assert views == MultiView((first, View(32, interpolation="bicubic", flip=0.0)), normalize=False)


def test_yaml_says_a_multicrop():
    views = parsed(
        """
        views:
          global_views: [{size: 64, blur_p: 1.0}, {size: 64, solarize_p: 0.2}]
          local_view: {size: 24, scale: [0.05, 0.4]}
          num_local: 4
        """
    )
    expected = MultiCrop((View(64, blur_p=1.0), View(64, solarize_p=0.2)), View(24, scale=(0.05, 0.4)), num_local=4)
    assert views == expected


def test_yaml_with_a_misspelt_or_impossible_field_is_refused():
    with pytest.raises(Exception, match="color_p"):
        parsed("views: {views: [{size: 32, color_p: 0.1}]}")
    with pytest.raises(Exception, match="flip=2"):
        parsed("views: {views: [{size: 32, flip: 2.0}]}")


def test_recipes_survive_printing_as_yaml():
    arguments = parser()
    config = arguments.parse_string("views: {global_views: [{size: 64}], local_view: {size: 24}, num_local: 2}")
    again = arguments.parse_string(arguments.dump(config))
    assert arguments.instantiate(again).views == MultiCrop((View(64),), View(24), 2)
