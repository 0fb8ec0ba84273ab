"""Wrong uses of what works on unlabeled folders: near-duplicates, diagnosis, pictures."""

from sslbolts.data import ImageFolderDataModule
from sslbolts.evaluation import find_duplicates, load_encoder
from tests.cli.wrong import Wrong
from tests.helpers.nets import TinyBackbone

_DUPLICATES = ["duplicates", "{files}/simclr.ckpt", "--device=cpu"]
_SMALL = ["--data=ImageFolder", "--data.num_workers=0", "--data.image_size=32"]
_FLAT = [*_SMALL, "--data.root={files}/flat"]


def _flat(files):
    return ImageFolderDataModule(str(files / "flat"), num_workers=0, image_size=32)


WRONG_UNLABELED = [
    Wrong("near-duplicates of nothing", ["duplicates"], "required: source"),
    Wrong(
        "near-duplicates by a network of words",
        ["duplicates", "{files}/words.ckpt", "--device=cpu", *_FLAT],
        "learns from text, and what is measured here is features of images",
        lambda files: load_encoder(files / "words.ckpt", device="cpu"),
    ),
    Wrong(
        "near-duplicates by no checkpoint",
        ["duplicates", "{files}/nowhere.ckpt", *_FLAT],
        "nowhere.ckpt",
        lambda files: load_encoder(files / "nowhere.ckpt"),
    ),
    Wrong(
        "near-duplicates above a similarity of 1",
        [*_DUPLICATES, *_FLAT, "--threshold=1.5"],
        "threshold=1.5: a cosine similarity is in (0, 1].",
        lambda files: find_duplicates(load_encoder(TinyBackbone(), device="cpu"), _flat(files), threshold=1.5),
    ),
    Wrong(
        "near-duplicates above no similarity",
        [*_DUPLICATES, *_FLAT, "--threshold=0"],
        "threshold=0.0: a cosine similarity is in (0, 1].",
    ),
    Wrong("near-duplicates that are very similar", [*_DUPLICATES, *_FLAT, "--threshold=very"], "threshold: expected"),
    Wrong(
        "no pairs of near-duplicates",
        [*_DUPLICATES, *_FLAT, "--max_pairs=0"],
        "max_pairs=0: it must be a whole number of at least 1",
        lambda files: find_duplicates(load_encoder(TinyBackbone(), device="cpu"), _flat(files), max_pairs=0),
    ),
    Wrong(
        "near-duplicates in a folder without images",
        [*_DUPLICATES, "--data=ImageFolder", "--data.root={files}/empty"],
        "empty",
        lambda files: find_duplicates(
            load_encoder(TinyBackbone(), device="cpu"), ImageFolderDataModule(str(files / "empty"))
        ),
    ),
    Wrong(
        "near-duplicates of a single image",
        [*_DUPLICATES, *_SMALL, "--data.root={files}/flat/[3].png"],
        "has 1 image: near-duplicates are sought among two or more.",
    ),
    Wrong(
        "near-duplicates of texts", [*_DUPLICATES, "--data=Text"], "does not correspond to a subclass of SSLDataModule"
    ),
    Wrong("near-duplicates into a table of text", [*_DUPLICATES, "--output=pairs.txt"], "the file must end in .csv."),
    Wrong("near-duplicates into a folder", [*_DUPLICATES, "--output={files}/folder.csv"], "is a folder: give the name"),
    Wrong(
        "near-duplicates into a file below a file",
        [*_DUPLICATES, "--output={files}/notes.ckpt/pairs.csv"],
        "notes.ckpt is a file, and a folder is needed",
    ),
    Wrong("a picture of near-duplicates that is none", [*_DUPLICATES, "--picture=pairs.jpg"], "must end in .png."),
    Wrong("a picture of too many near-duplicates", [*_DUPLICATES, "--rows=500"], "--rows 500: it must be in 0 to 96."),
    Wrong("misspelt option of duplicates", [*_DUPLICATES, "--treshold=1"], 'Did you mean "--threshold"?'),
    Wrong(
        "diagnosis of a few unlabeled images",
        ["diagnose", "{files}/simclr.ckpt", "--device=cpu", *_SMALL, "--data.root={files}/flat/[0-4].png"],
        "has 5 images and none of them held out: a diagnosis takes 8.",
    ),
    Wrong("a picture of neighborhoods", ["pictures", "timm/resnet18", "--what=neighborhood"], "--what has no"),
]
