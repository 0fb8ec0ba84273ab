"""Mutants of views and DataModules."""

from functools import partial

from tests.mutants.mutant import Mutant

_views = partial(Mutant, family="views and transforms")
_data = partial(Mutant, family="data")

MUTANTS = (
    _views(
        name="all images of a batch are flipped, or none",
        file="transforms/parameters.py",
        before="flip = uniform(n) < view.flip",
        after="flip = uniform(1).expand(n) < view.flip",
        tests=("tests/transforms/test_parameters.py::test_every_image_of_a_batch_is_flipped_or_not_on_its_own",),
    ),
    _views(
        name="probabilities are decided once for the whole batch",
        file="transforms/parameters.py",
        before="return ranks < (probability * n + uniform(1)).floor_()",
        after="return (uniform(1) < probability).expand(n)",
        tests=(
            "tests/transforms/test_parameters.py::test_larger_batches_have_exact_shares_up_to_one_image_in_random_places",
        ),
    ),
    _views(
        name="color operations always come in one order",
        file="transforms/parameters.py",
        before="order = torch.randint(len(ORDERS), (n,), device=device, generator=generator)",
        after="order = torch.zeros(n, dtype=torch.int64, device=device)",
        tests=(
            "tests/transforms/test_parameters.py::test_all_orders_come_equally_often_and_factors_fill_their_ranges",
        ),
    ),
    _views(
        name="hue turns in one direction only",
        file="transforms/parameters.py",
        before="+ [(-hue, hue)]",
        after="+ [(0.0, hue)]",
        tests=(
            "tests/transforms/test_parameters.py::test_all_orders_come_equally_often_and_factors_fill_their_ranges",
        ),
    ),
    _views(
        name="crops never touch the lower edge",
        file="transforms/parameters.py",
        before="top = torch.minimum((down * (height - h + 1)).floor_(), height - h)",
        after="top = torch.minimum((down * (height - h)).floor_(), height - h)",
        tests=("tests/transforms/test_parameters.py::test_crop_boxes_have_torchvisions_distribution",),
    ),
    _views(
        name="crops of a decoded image are one for all its views",
        file="transforms/crops.py",
        before="tries = torch.rand(len(views), _TRIES, 4, generator=generator).tolist()",
        after="tries = torch.rand(1, _TRIES, 4, generator=generator).expand(len(views), -1, -1).tolist()",
        tests=("tests/transforms/test_crops.py::test_every_view_of_an_image_has_a_crop_of_its_own",),
    ),
    _views(
        name="aspect ratios are uniform instead of their logarithms",
        file="transforms/crops.py",
        before="ratio = math.exp(low + (high - low) * ratio_at)",
        after="ratio = view.ratio[0] + (view.ratio[1] - view.ratio[0]) * ratio_at",
        tests=("tests/transforms/test_parameters.py::test_crop_boxes_have_torchvisions_distribution",),
    ),
    _views(
        name="solarize inverts dark pixels",
        file="transforms/color.py",
        before="above = (images >= threshold / 255 - 1e-6)",
        after="above = (images < threshold / 255 - 1e-6)",
        tests=("tests/transforms/test_operations.py::test_solarize_inverts_levels_from_the_threshold_on",),
    ),
    _views(
        name="contrast is about each channel's own mean",
        file="transforms/color.py",
        before="    gray = mean_luma(images).mul_(1 - factor)\n",
        after="    gray = images.mean((2, 3), keepdim=True).mul_(1 - factor)\n",
        tests=("tests/transforms/test_operations.py::test_color_operations_equal_torchvisions",),
    ),
    _views(
        name="BYOL: the second view is not solarized",
        file="transforms/papers.py",
        before="            blur_p=blur,\n            solarize_p=solarize,\n        )\n\n"
        "    return MultiView((view(blur_p[0], 0.0), view(blur_p[1], 0.2)))\n\n\ndef _moco_v1",
        after="            blur_p=blur,\n            solarize_p=0.0,\n        )\n\n"
        "    return MultiView((view(blur_p[0], 0.0), view(blur_p[1], 0.2)))\n\n\ndef _moco_v1",
        tests=("tests/transforms/test_papers.py::test_views_are_the_papers",),
    ),
    _views(
        name="BYOL: blur is likelier in the second view",
        file="transforms/papers.py",
        before='"byol": {224: _byol(224, blur_p=(1.0, 0.1))',
        after='"byol": {224: _byol(224, blur_p=(0.1, 1.0))',
        tests=("tests/transforms/test_papers.py::test_views_are_the_papers",),
    ),
    _views(
        name="MoCo v2: crops are as small as SimCLR's",
        file="transforms/papers.py",
        before="view = View(size, scale=(0.2, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2, blur_p=blur_p)\n"
        "    return MultiView((view, view))",
        after="view = View(size, scale=(0.08, 1.0), jitter=(0.4, 0.4, 0.4, 0.1), grayscale_p=0.2, blur_p=blur_p)\n"
        "    return MultiView((view, view))",
        tests=("tests/transforms/test_papers.py::test_views_are_the_papers",),
    ),
    _views(
        name="SimCLR: hue is as strong as the other colors",
        file="transforms/papers.py",
        before="jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)\n"
        '    view = View(size, interpolation="bicubic"',
        after="jitter = (0.8 * strength, 0.8 * strength, 0.8 * strength, 0.5 * strength)\n"
        '    view = View(size, interpolation="bicubic"',
        tests=("tests/transforms/test_papers.py::test_views_are_the_papers",),
    ),
    _views(
        name="SwAV: small crops are as large as large ones",
        file="transforms/papers.py",
        before="view(local_size, (0.05, 0.14), local_kernel)",
        after="view(local_size, (0.14, 1.0), local_kernel)",
        tests=("tests/transforms/test_papers.py::test_views_are_the_papers",),
    ),
    _views(
        name="Lab: colors are linear in the stored values",
        file="transforms/lab.py",
        before="((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4",
        after="((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.2",
        tests=("tests/transforms/test_lab.py::test_colors_have_the_values_of_tables",),
    ),
    _data(
        name="every epoch has the images in one order",
        file="data/sampler.py",
        before="drawn = generator(self.seed, _ORDER, epoch)\n",
        after="drawn = generator(self.seed, _ORDER)\n",
        tests=("tests/data/test_sampler.py::test_an_epoch_holds_every_image_once_in_another_order_each_epoch",),
    ),
    _data(
        name="views are the same in every epoch",
        file="data/sampler.py",
        before="mix(self.seed, _VIEWS, epoch, batch, self.rank)",
        after="mix(self.seed, _VIEWS, batch, self.rank)",
        tests=("tests/data/test_sampler.py::test_every_batch_of_every_epoch_and_rank_has_a_seed_of_its_own",),
    ),
    _data(
        name="training images are not normalized",
        file="data/base.py",
        before="            mean=self.mean,\n            std=self.std,\n            color=self.color,",
        after="            mean=None,\n            std=None,\n            color=self.color,",
        tests=("tests/data/test_views.py::test_training_views_are_normalized",),
    ),
    _data(
        name="evaluation images are not normalized",
        file="data/base.py",
        before="batch = normalized(batch, self.image_size, mean=self.mean, std=self.std)",
        after="batch = normalized(batch, self.image_size, mean=None, std=None)",
        tests=("tests/data/test_views.py::test_evaluation_is_normalized_where_views_are",),
    ),
    _data(
        name="evaluation images are flipped at random",
        file="data/evaluation.py",
        before="    return (BatchedEvaluate(untouched(size), mean=mean, std=std)(batch[0]), *batch[1:])",
        after="    flip = torch.rand(len(batch[0])) < 0.5\n"
        "    images = torch.where(flip[:, None, None, None], batch[0].flip(-1), batch[0])\n"
        "    return (BatchedEvaluate(untouched(size), mean=mean, std=std)(images), *batch[1:])",
        tests=("tests/data/test_views.py::test_evaluation_is_normalized_where_views_are",),
    ),
    _data(
        name="evaluation takes the whole image instead of its central part",
        file="transforms/papers.py",
        before="resize=size if size <= _SMALL else round(size * 256 / 224)",
        after="resize=size",
        tests=("tests/transforms/test_papers.py::test_evaluation_takes_the_center",),
    ),
    _data(
        name="the bank is of validation images",
        file="data/base.py",
        before='        return self.evaluation_dataloader("bank")\n',
        after='        return self.evaluation_dataloader("val")\n',
        tests=("tests/data/test_dataset.py::test_splits_go_where_they_belong",),
    ),
    _data(
        name="the images that keep their labels are the first of each class",
        file="data/labels.py",
        before="chosen = rows[torch.randperm(len(rows), generator=generator(seed, _LABELS, label))[:per_class]]",
        after="chosen = rows[:per_class]",
        tests=("tests/data/test_labels.py::test_the_choice_follows_the_seed_alone",),
    ),
    _data(
        name="small clusters' images are drawn once, and the rest is filled up from one cluster",
        file="data/sampler.py",
        before="rows = by_label[(sizes.cumsum(0) - sizes)[which] + turn % sizes[which]]",
        after="rows = by_label[((sizes.cumsum(0) - sizes)[which] + turn) % len(by_label)]",
        tests=("tests/data/test_sampler.py::test_labels_are_drawn_equally_often_and_so_are_the_images_of_a_label",),
    ),
)
