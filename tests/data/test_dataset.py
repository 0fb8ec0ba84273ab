"""Anybody's dataset."""

import multiprocessing
import threading
import zipfile
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from sslbolts import SimCLR
from sslbolts.callbacks import AugmentationSheet, KNNMonitor, NeighborSheet
from sslbolts.data import DatasetDataModule
from sslbolts.data.apart import Apart
from sslbolts.data.decode import ImageError
from sslbolts.errors import UsageError
from sslbolts.evaluation import load_encoder
from sslbolts.evaluation.features import EncodedData
from sslbolts.evaluation.fingerprint import fingerprint
from sslbolts.evaluation.splits import labeled_splits
from tests.data.helpers import Recorder, pixels, quiet_trainer
from tests.helpers.nets import TinyBackbone


class Items(Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


ARRAYS = [pixels(32, 32, seed) for seed in range(8)]


def kinds():
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in ARRAYS]
    return {
        "PIL": [Image.fromarray(array) for array in ARRAYS],
        "numpy": ARRAYS,
        "uint8": tensors,
        "float": [tensor / 255 for tensor in tensors],
        "(image,)": [(tensor,) for tensor in tensors],
        "(image, int)": [(tensor, 1) for tensor in tensors],
        "(image, tensor)": [(tensor, torch.tensor(1)) for tensor in tensors],
        "[image, numpy, more]": [[tensor, np.int64(1), "more"] for tensor in tensors],
        "(image, None, text)": [(tensor, None, "a caption") for tensor in tensors],
    }


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_item_gives_the_same_images(kind, in_memory):
    data = DatasetDataModule(Items(kinds()[kind]), batch_size=8, num_workers=0, in_memory=in_memory, seed=0)
    images, targets, _ = next(iter(data.predict_dataloader()))
    assert (images.permute(0, 2, 3, 1).numpy() == np.stack(ARRAYS)).all()
    assert set(targets.tolist()) == ({1} if kind in list(kinds())[5:8] else {-1})
    batch = next(iter(data.train_dataloader()))
    assert [view.shape for view in batch.views] == [(8, 3, 32, 32)] * 2
    assert sorted(batch.indices.tolist()) == list(range(8))


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_labels_and_indices_stay_together(in_memory):
    flat = torch.arange(8, dtype=torch.uint8)[:, None, None, None].expand(8, 3, 32, 32) * 30
    still = Items([(image, 7 - number) for number, image in enumerate(flat)])
    from sslbolts.transforms import MultiView, View

    views = MultiView((View(32), View(16)), normalize=False)  # crops and flips of one-colored images change nothing
    data = DatasetDataModule(still, batch_size=8, views=views, num_workers=0, in_memory=in_memory)
    batch = next(iter(data.train_dataloader()))
    for view in batch.views:
        assert torch.allclose(view.mean((1, 2, 3)), batch.indices * 30 / 255, atol=1e-6)
    assert (batch.targets == 7 - batch.indices).all()


def test_splits_go_where_they_belong():
    parts = {name: TensorDataset(torch.zeros(n, 3, 32, 32), torch.arange(n)) for n, name in enumerate("abcd", start=8)}
    data = DatasetDataModule(
        parts["a"], val=parts["b"], test=parts["c"], bank=parts["d"], num_classes=11, num_workers=0, batch_size=8
    )
    sizes = [len(loader.dataset) for loader in (data.val_dataloader(), data.test_dataloader(), data.bank_dataloader())]
    assert (data.num_train_images, sizes) == (8, [9, 10, 11])
    alone = DatasetDataModule(parts["a"], num_workers=0)
    assert (alone.val_dataloader(), alone.test_dataloader()) == ([], [])
    assert len(alone.bank_dataloader().dataset) == 8


def test_number_of_classes_comes_from_the_argument_or_the_dataset():
    labeled = [(ARRAYS[0], 0)] * 4
    assert DatasetDataModule(Items(labeled), num_classes=5).num_classes == 5
    data = DatasetDataModule(Items(labeled, classes=["cat", "dog"]))
    assert (data.num_classes, data.class_names) == (2, ("cat", "dog"))
    with pytest.raises(UsageError, match="no num_classes: give num_classes="):
        DatasetDataModule(Items(labeled)).num_classes  # noqa: B018
    with pytest.raises(UsageError, match="no labeled training images for a bank"):
        DatasetDataModule(Items(ARRAYS)).bank_dataloader()


class Counted(Items):
    read = 0

    def __getitem__(self, index):
        self.read += 1
        return self.items[index]


@pytest.mark.parametrize(
    ("labels", "labeled"),
    [
        ([-1, -1, 2, -1], True),
        ([None, None, None, 1], True),
        ([torch.tensor(-1), np.int64(3)] * 2, True),
        ([-1, -1, -1, -1], False),
        ([None] * 4, False),
        ([-100, float("nan"), None, -1], False),
    ],
)
def test_one_labeled_image_makes_a_labeled_dataset(labels, labeled):
    dataset = Counted([(ARRAYS[0], label) for label in labels])
    data = DatasetDataModule(dataset, num_classes=4, batch_size=2, num_workers=0)
    assert data.images("bank").labeled is labeled
    if labeled:
        targets = [batch[1] for batch in data.bank_dataloader()]
        assert torch.cat(targets).tolist() == [-1 if label is None else int(label) for label in labels]


@pytest.mark.parametrize(("attribute", "labels"), [("targets", [-1, 3] * 4), ("labels", np.array([-1, 3] * 4))])
def test_labels_that_a_dataset_lists_are_believed_unread(attribute, labels):
    dataset = Counted([(ARRAYS[0], label) for label in labels])
    setattr(dataset, attribute, labels)
    data = DatasetDataModule(dataset, image_size=32, num_classes=4)
    before = dataset.read
    assert data.images("bank").labeled
    assert dataset.read == before
    setattr(dataset, attribute, ["cat"] * 8)  # names, whose numbers are in the items
    assert DatasetDataModule(dataset, num_classes=4).images("bank").labeled


def test_image_size_is_that_of_small_square_images_and_else_224():
    for shape, size in (((32, 32), 32), ((96, 96), 96), ((97, 97), 224), ((32, 40), 224)):
        assert DatasetDataModule(Items([np.zeros((*shape, 3), np.uint8)])).image_size == size
    assert DatasetDataModule(Items(ARRAYS), image_size=48).image_size == 48


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_item_is_named_in_one_line(workers):
    items = [*ARRAYS[:5], torch.randn(3, 32, 32), *ARRAYS[6:]]
    data = DatasetDataModule(Items(items), batch_size=8, num_workers=workers)
    with pytest.raises(ImageError, match=r"^item 5 of the train dataset is not usable: .*\[0, 1\] or uint8.*\.$"):
        next(iter(data.train_dataloader()))


def test_images_of_several_sizes_cannot_be_held_as_one_tensor():
    data = DatasetDataModule(Items([*ARRAYS, pixels(30, 32, 0)]), in_memory=True)
    with pytest.raises(UsageError, match=r"item 8 .* \(3, 30, 32\), the first of \(3, 32, 32\)"):
        data.train_dataloader()


class Endless(IterableDataset):
    def __iter__(self):
        yield ARRAYS[0]


def test_a_dataset_without_length_is_refused():
    with pytest.raises(UsageError, match="train=Endless must be a map-style dataset"):
        DatasetDataModule(Endless())
    with pytest.raises(UsageError, match="val=int"):
        DatasetDataModule(Items(ARRAYS), val=3)


def test_an_empty_dataset_is_refused():
    with pytest.raises(UsageError, match='no images in its "train" split'):
        DatasetDataModule(Items([])).train_dataloader()


# A file that the dataset opens when its first item is read


class LazyFile(Dataset):
    """Images of 4 x 4 pixels, one behind the other in a file, or each in a zip file, an HDF5 file or LMDB."""

    def __init__(self, path, item_labels):
        self.path = path
        self.item_labels = item_labels
        self.file = None
        self.transform = lambda image: image  # which cannot be pickled

    def __len__(self):
        return len(self.item_labels)

    def __getitem__(self, index):
        if self.path.suffix == ".zip":
            self.file = self.file or zipfile.ZipFile(self.path)
            image = np.asarray(Image.open(BytesIO(self.file.read(str(index)))))
        elif self.path.suffix == ".h5":
            import h5py

            self.file = self.file or h5py.File(self.path)
            image = self.file["images"][index]
        elif self.path.suffix == ".lmdb":
            import lmdb

            self.file = self.file or lmdb.open(str(self.path), readonly=True, lock=False)
            with self.file.begin() as reading:
                image = np.frombuffer(bytearray(reading.get(b"%d" % index)), np.uint8).reshape(4, 4, 3)
        else:
            self.file = self.file or self.path.open("rb", buffering=0)
            self.file.seek(index * 48)
            image = np.frombuffer(bytearray(self.file.read(48)), np.uint8).reshape(4, 4, 3)
        return self.transform(image), self.item_labels[index]


@pytest.mark.parametrize("kind", ["raw", "zip", "h5", "lmdb"])
def test_nothing_is_read_before_the_workers_so_they_share_no_file(tmp_path, kind):
    expected = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 3), dtype=np.uint8)
    if kind == "h5":
        with pytest.importorskip("h5py").File(tmp_path / "images.h5", "w") as file:
            file["images"] = expected
    if kind == "lmdb":
        database = pytest.importorskip("lmdb").open(str(tmp_path / "images.lmdb"))
        with database.begin(write=True) as writing:
            for index, image in enumerate(expected):
                writing.put(b"%d" % index, image.tobytes())
        database.close()
    expected.tofile(tmp_path / "images.raw")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        for index, image in enumerate(expected):
            Image.fromarray(image).save(content := BytesIO(), "png")
            file.writestr(str(index), content.getvalue())
    labels = [None] * 399 + [7]
    dataset = LazyFile(tmp_path / f"images.{kind}", labels)
    data = DatasetDataModule(dataset, num_classes=8, batch_size=20, num_workers=1)
    assert data.image_size == 4
    assert data.images("bank").labeled
    assert data.targets("bank").tolist() == [-1] * 399 + [7]
    shown = data.train_images_dataloader().dataset.stored([3, 5], 2)
    assert (torch.stack(shown).permute(0, 2, 3, 1).numpy() == expected[[3, 5]]).all()
    cut = data.bank_dataloader().dataset.cut([399])
    assert (cut[0].permute(1, 2, 0).numpy() == expected[399]).all()
    held = DatasetDataModule(dataset, in_memory=True).images("train").data
    assert (held.permute(0, 2, 3, 1).numpy() == expected).all()
    assert fingerprint(dataset) == fingerprint(LazyFile(dataset.path, labels)) is not None
    assert fingerprint(data.bank_dataloader().dataset) is not None
    assert dataset.file is None
    several = DatasetDataModule(dataset, num_classes=8, batch_size=20, num_workers=2)
    ours = torch.cat([images for images, *_ in several.bank_dataloader()]).permute(0, 2, 3, 1)
    forked = DataLoader(dataset, 20, num_workers=2, collate_fn=list, multiprocessing_context="fork")
    plain = [image for batch in forked for image, _ in batch]
    assert (ours.numpy() == expected).all()
    assert (np.stack(plain) == expected).all()


def test_nor_does_a_run_with_monitors_and_pictures_read_here(tmp_path):
    np.random.default_rng(0).integers(0, 256, 48 * 48, dtype=np.uint8).tofile(tmp_path / "images.raw")
    train, val = (LazyFile(tmp_path / "images.raw", [index % 4 for index in range(48)]) for _ in range(2))
    data = DatasetDataModule(train, val=val, num_classes=4, image_size=16, batch_size=16, num_workers=1)
    seen = [KNNMonitor(k=3, max_bank=40), NeighborSheet(1, 2), AugmentationSheet(images=2, draws=2)]
    run = quiet_trainer(max_epochs=1, callbacks=seen, default_root_dir=tmp_path)
    run.fit(SimCLR(TinyBackbone(), hidden_dim=8, output_dim=4), data)
    assert {path.name[:8] for path in (tmp_path / "pictures").iterdir()} == {"augmenta", "neighbor"}
    assert (train.file, val.file) == (None, None)


class Traced(Items):
    """Says whether it was read in this process."""

    read = False

    def __getitem__(self, index):
        self.read = True
        return super().__getitem__(index)


def test_where_workers_are_not_forked_a_copy_is_read_that_shares_its_tensors(monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: "spawn")
    dataset = Traced([(torch.zeros(3, 8, 8), 2)] * 3)
    data = DatasetDataModule(dataset, num_classes=3)
    assert data.images("bank").labeled
    assert (data.image_size, dataset.read) == (8, False)
    (address,) = Apart(lambda given, row: given.items[row][0].data_ptr(), dataset, [0])
    assert address == dataset.items[0][0].data_ptr()
    dataset.lock = threading.Lock()  # of which there is no copy
    assert (DatasetDataModule(dataset).image_size, dataset.read) == (8, True)


class HereAlone(Items):
    """Items that another process cannot read."""

    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        return super().__getitem__(index)


def test_each_fresh_fit_has_the_seed_of_its_time(monkeypatch):
    """One DataModule, two runs: the orders are those of the two seeds, and a seed of its own stays."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)  # of a seed_everything before
    orders = {}
    for seed in (None, 5):
        data = DatasetDataModule(Items(ARRAYS), batch_size=8, num_workers=0, in_memory=True, seed=seed)
        for run in (1, 2):
            torch.manual_seed(run)
            quiet_trainer(max_epochs=1).fit(module := Recorder(), data)
            orders[seed, run] = [batch.indices.tolist() for batch in module.batches]
    assert orders[None, 1] != orders[None, 2]
    assert orders[5, 1] == orders[5, 2]


def test_numbers_with_gaps_become_ranks_and_names_keep_them():
    labels = [7, 100_000, -1, 70_000, 7, 7, 100_000, None]
    dataset = Items([(array, label) for array, label in zip(ARRAYS, labels)])
    dataset.targets = [-1 if label is None else label for label in labels]
    data = DatasetDataModule(dataset, val=Items([(ARRAYS[0], 8)]), num_workers=0, batch_size=8)
    assert (data.class_names, data.num_classes) == (("7", "70000", "100000"), 3)
    assert data.targets("bank").tolist() == [0, 2, -1, 1, 0, 0, 2, -1]
    assert data.images("bank").labeled
    with pytest.raises(UsageError, match=r"item 0 of the val dataset .*: 8 is none of the 3 labels that the labeled"):
        next(iter(data.val_dataloader()))
    splits = labeled_splits(
        EncodedData(
            load_encoder(torch.nn.Flatten(), image_size=2, device="cpu"),
            TensorDataset(torch.rand(3, 3, 2, 2), torch.tensor([100_000, 7, 7])),
            test=TensorDataset(torch.rand(2, 3, 2, 2), torch.tensor([70_000, 7])),
        )
    )
    assert (splits.y.tolist(), splits.test_y.tolist(), splits.num_classes) == ([2, 0, 0], [1, 0], 3)


def test_names_that_a_dataset_lists_become_numbers():
    items = [(array, name) for array, name in zip(ARRAYS, ["emu", "cat"] * 4)]
    listed = Items(items)
    listed.labels = [name for _, name in items]
    for data in (DatasetDataModule(listed), DatasetDataModule(Items(items, classes=["cat", "emu"]))):
        assert data.class_names == ("cat", "emu")
        assert data.targets("bank").tolist() == [1, 0] * 4


def test_items_that_are_mappings_are_read_by_their_keys():
    data = DatasetDataModule([{"image": array, "label": 1} for array in ARRAYS], num_classes=2, num_workers=0)
    assert data.targets("train").tolist() == [1] * 8
    with pytest.raises(
        UsageError, match=r"item 0 of the train dataset has photo, kind, and none of image, img.*image_key="
    ):
        DatasetDataModule([{"photo": ARRAYS[0], "kind": 1}])
    with pytest.raises(
        UsageError, match=r'item 0 of the train dataset has image, and no "kind": give another label_key='
    ):
        DatasetDataModule([{"image": ARRAYS[0]}], label_key="kind")


def test_what_another_process_cannot_read_is_read_here():
    data = DatasetDataModule(HereAlone([(array, 1) for array in ARRAYS]), num_workers=0, batch_size=8)
    assert data.image_size == 32
    assert data.targets("train").tolist() == [1] * 8


# Labels

ITEM_LABELS = {
    "(1,)": (torch.tensor([2]), 2),
    "one-hot": (torch.tensor([0.0, 0.0, 1.0]), 2),
    "one-hot booleans": (np.array([False, False, True]), 2),
    "float": (2.0, 2),
    "float tensor": (torch.tensor(2.0), 2),
    "boolean": (True, 1),
    "uint8": (np.uint8(2), 2),
    "multi-hot": (
        torch.tensor([0, 1, 1]),
        r"\[0, 1, 1\], which marks 2 classes is no label: give the number of one class",
    ),
    "no class": (torch.zeros(3), "which marks no class is no label"),
    "shares": (np.array([0.25, 0.75]), r"\[0.25, 0.75\] is no label: .* a vector has a single 1"),
    "half": (1.5, "1.5 is no label: round it"),
    "name": ("cat", r'"cat" is no label: .* names.index\("cat"\) of the sorted names, or None where there is none'),
    "dictionary": ({"boxes": []}, "of type dict"),
    "map": (torch.zeros(4, 4), r"an array \(4, 4\) is no label"),
}


@pytest.mark.parametrize("kind", ITEM_LABELS)
def test_a_label_means_one_class_or_is_refused_by_name(kind, monkeypatch):
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none=False: "spawn")  # no process per door
    label, expected = ITEM_LABELS[kind]
    items = [(torch.zeros(3, 8, 8), 0)] * 3 + [(torch.zeros(3, 8, 8), label)]
    data = DatasetDataModule(items, num_classes=3, batch_size=4, num_workers=0)
    doors = [
        lambda: next(iter(data.train_dataloader())).targets.sum().item(),
        lambda: next(iter(data.bank_dataloader()))[1].tolist()[3],
        lambda: data.targets("train").tolist()[3],
        lambda: DatasetDataModule(items, in_memory=True).targets("train").tolist()[3],
    ]
    for door in doors:
        if isinstance(expected, int):
            assert door() == expected
        else:
            with pytest.raises(
                UsageError, match=rf"^item 3 of the (train|bank) dataset is not \(image, label\): .*{expected}"
            ):
                door()
