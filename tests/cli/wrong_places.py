"""Places where no file can be, and values that fail only when something is made of them."""

from sslbolts import Counting, SemiSupervised, SimMIM
from sslbolts.data import CIFAR10MiniDataModule
from tests.cli.wrong import DATA, MODEL, SIMCLR, TINY, TRAINER, Wrong
from tests.helpers.nets import TinyBackbone

VIDEOS = [
    "fit",
    "--model=TimeContrastive",
    *MODEL,
    "--data=VideoFrames",
    "--data.views=tcn",
    *DATA,
    *TRAINER,
    "--trainer.max_epochs=1",
]

WRONG_PLACES_AND_VALUES = [
    Wrong(
        "features into a folder", ["predict", *SIMCLR[1:-1], "--output={files}/folder.npz"], 'folder.npz" is a folder'
    ),
    Wrong(
        "features below a file",
        ["predict", *SIMCLR[1:-1], "--output={files}/notes.ckpt/features.npz"],
        "notes.ckpt is a file, and a folder is needed",
    ),
    Wrong(
        "a logger that is not installed",
        [*SIMCLR, "--trainer.logger=CometLogger"],
        "CometLogger cannot be made: ",
    ),
    Wrong(
        "negative seed",
        [*SIMCLR, "--seed_everything=-5"],
        "--seed_everything -5: a seed is between 0 and 4294967295.",
    ),
    Wrong("negative seed of the demo", ["demo", "--seed=-5"], "--seed -5: a seed is between 0 and 4294967295."),
    Wrong("a demo in a file", ["demo", "--folder={files}/notes.ckpt"], "notes.ckpt is a file, and a folder is needed"),
    Wrong(
        "a run in a file",
        [*SIMCLR, "--trainer.default_root_dir={files}/notes.ckpt"],
        "--trainer.default_root_dir",
    ),
    Wrong(
        "a log below a file",
        [*SIMCLR, "--trainer.logger=CSVLogger", "--trainer.logger.save_dir={files}/notes.ckpt/logs"],
        "notes.ckpt is a file, and a folder is needed",
    ),
    Wrong(
        "checkpoints in a file",
        [*SIMCLR, "--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.dirpath={files}/notes.ckpt"],
        "--trainer.callbacks.dirpath",
    ),
    Wrong(
        "a word for one or several numbers",
        [*SIMCLR, "--trainer.callbacks=KNNMonitor", "--trainer.callbacks.k=abc"],
        'trainer.callbacks.k: expected an integer or a list, got "abc"',
    ),
    Wrong(
        "masked cells that do not fill the image",
        [
            *["fit", "--model=SimMIM", "--model.backbone=vit_tiny_patch16_224", "--model.mask_size=48"],
            *[*DATA, *TRAINER, "--trainer.max_epochs=1"],
        ],
        "mask_size=48: cells are whole numbers of the network's patches of 16 pixels",
        lambda files: SimMIM("vit_tiny_patch16_224", mask_size=48),
    ),
    Wrong(
        "masked cells for a ResNet",
        ["fit", "--model=SimMIM", *MODEL[:2], *DATA, *TRAINER, "--trainer.max_epochs=1"],
        "SimMIM trains vision transformers and Swin of timm, and ResNet is none",
        lambda files: SimMIM("resnet18", backbone_kwargs=TINY),
    ),
    Wrong(
        "counts that need not differ",
        ["fit", "--model=Counting", *MODEL[:2], "--model.margin=0", *DATA, *TRAINER, "--trainer.max_epochs=1"],
        "it must be positive.",
        lambda files: Counting("resnet18", backbone_kwargs=TINY, margin=0.0),
    ),
    Wrong("no name of a method", ["fit", "--model="], "--model has no value: give a name"),
    Wrong(
        "an argument before its model",
        ["fit", "--model.temperature=0.9", "--model=SimCLR"],
        "--model.temperature: it is not known yet of which model: --model or --config must stand before it.",
    ),
    Wrong("no videos", [*VIDEOS, "--data.root={files}/empty"], 'empty" holds no videos: looked for folders of frames'),
    Wrong(
        "a video shorter than its window",
        [*VIDEOS, "--data.root={files}/videos", "--data.batch_size=36"],
        "no sequence has the 36 frames that a batch of 36 frames takes of one; the longest has 10",
    ),
    Wrong(
        "pairs of views of one view",
        [*VIDEOS, "--data.root={files}/videos", "--data.pairs=views", "--model.loss=n_pairs"],
        'pairs="views" needs two views of a sequence, and there is one of each',
    ),
    Wrong(
        "a window in which nothing is negative",
        [*VIDEOS, "--data.root={files}/videos", "--data.image_size=32"],
        "one window of 8 frames, and none is more than negative_radius=12 from another",
    ),
    Wrong(
        "time contrast of images without time",
        ["fit", "--model=TimeContrastive", *MODEL, *DATA, *TRAINER, "--data.views=tcn"],
        "these training images have no time: use VideoFramesDataModule or MovingImagesDataModule",
    ),
    Wrong("the best of a run to come", [*SIMCLR, "--ckpt_path=best"], "--ckpt_path best is known only to the run"),
    Wrong(
        "misspelt method beside the labels",
        ["fit", "--model=SemiSupervised", "--model.method=SimCRL", *DATA, *TRAINER],
        "there is no method 'SimCRL'. Did you mean \"SimCLR\"?",
        lambda files: SemiSupervised(TinyBackbone(), method="SimCRL"),
    ),
    Wrong(
        "a share of labels above all",
        [*SIMCLR, "--data.labels_fraction=1.5"],
        "labels_fraction=1.5: it is a share of every class, in (0, 1].",
        lambda files: CIFAR10MiniDataModule(labels_fraction=1.5),
    ),
    Wrong(
        "labels of two kinds to train on",
        [*SIMCLR, "--data.labels_fraction=0.1", "--data.labels_per_class=3"],
        "each says which images keep their labels; give one of them.",
        lambda files: CIFAR10MiniDataModule(labels_fraction=0.1, labels_per_class=3),
    ),
]
