"""Data of any number of channels and of any type of number, from items and from files of every format."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from sslbolts.data import DatasetDataModule, ImageFolderDataModule, TensorImages
from sslbolts.data.formats import MissingPackage, read_image
from sslbolts.data.formats.dicom import windowed_values
from sslbolts.data.measured import measured
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.transforms import MultiView, View
from tests.data.helpers import write_image


def numbers(*shape, low=0, high=65536, dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def held(values, low, high, most=65535):
    """What a value range says, number by number."""
    flat = [round(min(max((float(value) - low) / (high - low), 0), 1) * most) for value in np.ravel(values)]
    return torch.tensor(flat).view(*np.shape(values))


def same(image, expected, *, within=0):
    assert image.shape == expected.shape
    assert (image.int() - expected.int()).abs().max() <= within


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (numbers(2, 3, 4), 0, 65535),
        (numbers(2, 3, 4, high=256, dtype=np.uint8), 10, 200),
        (numbers(2, 3, 4, low=-2000, high=4000, dtype=np.int16), -1000, 3000),
        (numbers(2, 3, 4, high=2**31, dtype=np.int32), 5, 2**30),
        ((numbers(2, 3, 4) / 1000).astype(np.float32), 3.5, 60.25),
        (numbers(2, 3, 4) * 1e-9, 0.0, 5e-5),
    ],
)
def test_values_become_levels_of_their_range(values, low, high):
    image = PixelForm(2, (low, high)).levels(values)
    assert image.dtype == torch.uint16
    same(image, held(values, low, high), within=1)
    same(PixelForm(2, (low, high)).levels(values, inverted=True), 65535 - image.int())


def test_every_channel_may_have_a_range_of_its_own():
    values = numbers(2, 3, 4, high=1000)
    image = PixelForm(2, [(0, 1000), (100, 300)]).levels(values)
    same(image, torch.stack([held(values[0], 0, 1000), held(values[1], 100, 300)]), within=1)


@pytest.mark.parametrize(
    ("form", "values", "says"),
    [
        (PixelForm(1), numbers(1, 2, 2), r"uint16, from \d+ to \d+, and the type does not say their range"),
        (PixelForm(1), np.zeros((1, 2, 2), np.float32), "give value_range="),
        (PixelForm(5), numbers(4, 2, 2, high=9, dtype=np.uint8), "it has 4 channels, but in_chans=5"),
        (PixelForm(1, (0, 4095)), numbers(1, 2, 2, high=9, dtype=np.uint8), "uint8, 0 to 255, which cannot fill"),
        (PixelForm(1, (-5, 9)), numbers(1, 2, 2), "cannot fill value_range from -5 to 9"),
        (PixelForm(1, (0, 1)), np.full((1, 2, 2), np.nan), "not finite"),
        (PixelForm(1, (0, 1)), np.zeros((1, 2, 2), complex), "complex128, which are no numbers of a picture"),
    ],
)
def test_numbers_of_no_declared_range_are_refused(form, values, says):
    with pytest.raises(UsageError, match=says):
        form.levels(values)


@pytest.mark.parametrize("given", [(1, 0), (0,), 3, "all", (0, float("nan")), (0, True), [(0, 1)], [(0, 1), (0,)], []])
def test_a_range_that_is_none_is_refused(given):
    with pytest.raises(UsageError, match=r"value_range=.* give \(low, high\)"):
        PixelForm(2, given)


def test_mean_and_deviation_are_those_of_all_pixels():
    data = torch.from_numpy(numbers(20, 3, 5, 7))
    found = measured(TensorImages(data))
    pixels = data.numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1) / 65535
    np.testing.assert_allclose(found.mean, pixels.mean(1), atol=1e-5)
    np.testing.assert_allclose(found.std, pixels.std(1), atol=1e-5)
    assert found.images == 20


# ---------------------------------------------------------------- items of datasets


class Arrays(torch.utils.data.Dataset):
    """Items ``(H, W, C)`` of a numpy array, with labels."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index], index % 2


def batches(**arguments):
    settings = {"batch_size": 8, "num_workers": 0, "seed": 0, "num_classes": 2, "views": "byol"}
    data = DatasetDataModule(**(settings | arguments))
    train = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    return data, train, data.on_after_batch_transfer(next(iter(data.bank_dataloader())), 0)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_dataset_of_13_channels_is_normalized_by_what_was_measured(kind, in_memory):
    values = numbers(8, 24, 24, 13, high=10001)
    channels_first = torch.from_numpy(values.transpose(0, 3, 1, 2).astype(np.float32))
    dataset = Arrays(values) if kind == "array" else TensorDataset(channels_first, torch.arange(8) % 2)
    workers = {"num_workers": None} if in_memory else {}
    data, train, bank = batches(
        train=dataset, in_chans=13, value_range=(0, 10000), in_memory=in_memory, color_channels=[3, 2, 1], **workers
    )
    scaled = channels_first.double() / 10000
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3), correction=0)
    torch.testing.assert_close(torch.tensor(data.mean).double(), mean, atol=2e-5, rtol=0)
    expected = (scaled - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(bank[0].double(), expected, atol=5e-4, rtol=0)
    assert [tuple(view.shape) for view in train.views] == [(8, 13, 24, 24)] * 2
    assert data.state_dict()["mean"] == list(data.mean)
    assert data.state_dict()["value_range"] == [[0.0, 10000.0]]


def test_what_was_measured_comes_from_the_checkpoint():
    data, _, _ = batches(train=Arrays(numbers(8, 16, 16, 5)), in_chans=5, value_range=(0, 65535))
    state = data.state_dict()
    fresh = {"in_chans": 5, "views": "byol", "num_workers": 0, "value_range": (0, 65535)}
    other = DatasetDataModule(Arrays(numbers(8, 16, 16, 5, high=100)), **fresh)
    other.load_state_dict(state)
    assert other.mean == data.mean
    given = DatasetDataModule(Arrays(numbers(8, 16, 16, 5)), mean=[0.5] * 5, std=[0.2] * 5, **fresh)
    given.load_state_dict(state)
    assert given.mean == (0.5,) * 5


def test_statistics_of_rgb_images_are_measured_on_request_alone():
    dataset = TensorDataset(torch.randint(0, 40, (8, 3, 16, 16), dtype=torch.uint8))
    assert DatasetDataModule(dataset, views="byol").mean == (0.485, 0.456, 0.406)
    own = DatasetDataModule(dataset, views="byol", measure_statistics=True).mean
    assert max(own) < 40 / 255
    assert DatasetDataModule(dataset, views="simclr").mean is None


def test_transforms_of_torchvision_reach_their_own_view_and_their_cost_is_said(monkeypatch):
    said = []
    monkeypatch.setattr("sslbolts.data.loader.rank_zero_info", said.append)
    images = torch.randint(0, 256, (8, 5, 24, 24), dtype=torch.uint8)
    views = MultiView(([v2.CenterCrop(16)], View(16)), normalize=False)
    dataset = TensorDataset(images, torch.arange(8) % 2)
    for in_memory in (False, True):
        _, train, _ = batches(train=dataset, in_chans=5, views=views, in_memory=in_memory, num_workers=0)
        expected = images[train.indices][..., 4:20, 4:20] / 255
        torch.testing.assert_close(train.views[0], expected)
        assert not torch.allclose(train.views[1], expected)
        assert "1 of 2 views are made by torchvision's transforms, image by image" in said[-1]


def test_color_operations_that_the_channels_lack_are_said_or_refused():
    dataset = TensorDataset(torch.zeros(8, 1, 16, 16, dtype=torch.uint8))
    hue = MultiView((View(16, jitter=(0.4, 0.4, 0.0, 0.1)),), normalize=False)
    with pytest.raises(UsageError, match="in_chans=1 with one color channel have no hue, which views= asks for"):
        DatasetDataModule(dataset, in_chans=1, views=hue)
    DatasetDataModule(dataset, in_chans=1, views="simclr")  # a paper's recipe, as far as it goes


# ---------------------------------------------------------------- files


def saved(write):
    file = BytesIO()
    write(file)
    return file.getvalue()


def tiff(values, **settings):
    tifffile = pytest.importorskip("tifffile")
    return saved(lambda file: tifffile.imwrite(file, values, **settings))


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_files_of_any_channels_and_numbers(channels, dtype):
    values = numbers(channels, 6, 8, high=256, dtype=dtype)
    expected = held(values, 0, 255)
    form = PixelForm(channels, (0, 255))
    planar = tiff(values if channels > 1 else values[0], photometric="minisblack", planarconfig="separate")
    same(read_image(planar, form), expected)
    assert read_image(planar, form).dtype == torch.uint16
    if dtype == np.uint8:
        same(read_image(planar, PixelForm(channels)), torch.from_numpy(values))
    if channels > 1:
        interleaved = tiff(np.moveaxis(values, 0, -1), photometric="minisblack", planarconfig="contig")
        same(read_image(interleaved, form), expected)
        # pages, as a file written without further words has them
        same(read_image(tiff(values, photometric="minisblack"), form), expected)


def test_pages_that_are_no_channels_are_said():
    volume = numbers(12, 6, 8)
    with pytest.raises(UsageError, match=r"several pages: 12 \(of pages\).*or in_chans=12 if they are channels"):
        read_image(tiff(volume, photometric="minisblack"), PixelForm(1, (0, 65535)))
    with pytest.raises(UsageError, match=r"several pages: 12 \(depth\)"):
        read_image(tiff(volume, imagej=True, metadata={"axes": "ZYX"}), PixelForm(12, (0, 65535)))
    same(
        read_image(tiff(volume, imagej=True, metadata={"axes": "CYX"}), PixelForm(12, (0, 65535))), torch.tensor(volume)
    )


def test_white_may_be_the_lowest_value():
    values = numbers(6, 8)
    same(
        read_image(tiff(values, photometric="miniswhite"), PixelForm(1, (0, 65535))),
        65535 - held(values, 0, 65535)[None],
    )


def test_png_files_of_16_bits_keep_them():
    from PIL import Image

    values = numbers(6, 8)
    gray = saved(lambda file: Image.fromarray(values).save(file, "png"))
    same(read_image(gray, PixelForm(1, (0, 65535))), torch.tensor(values.astype(int))[None])
    same(read_image(gray, PixelForm(3, (0, 65535))), torch.tensor(values.astype(int)).expand(3, -1, -1))
    with pytest.raises(UsageError, match=r"more than 8 bits \(.*\): give value_range"):
        read_image(gray, PixelForm(1))
    for kind, channels in ((2, 3), (4, 2), (6, 4)):
        colors = numbers(6, 8, channels)
        form = PixelForm(channels, (0, 65535))
        same(read_image(png(colors, kind), form), torch.tensor(colors.astype(int)).permute(2, 0, 1))
    with pytest.raises(UsageError, match="alpha channel that is not opaque, but in_chans=3"):
        read_image(png(colors, 6), PixelForm(3, (0, 65535)))
    colors[..., 3] = 65535
    same(read_image(png(colors, 6), PixelForm(3, (0, 65535))), torch.tensor(colors.astype(int)).permute(2, 0, 1)[:3])


def png(values, kind):
    """A file as the specification (ISO/IEC 15948) has it, of 16 bits and without filters."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">II5B", width, height, 16, kind, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_jpeg_file_has_no_five_channels(tmp_path):
    data = write_image(tmp_path / "photo.jpg").read_bytes()
    with pytest.raises(UsageError, match="which alone are read with in_chans=5"):
        read_image(data, PixelForm(5))
    with pytest.raises(UsageError, match="uint8, 0 to 255, which cannot fill"):
        read_image(data, PixelForm(3, (0, 4095)))


def geotiff(values, **profile):
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("tifffile")
    scales = profile.pop("scales", None)
    count, height, width = values.shape
    with rasterio.MemoryFile() as memory:
        place = rasterio.transform.from_origin(0, 0, 10, 10)
        with memory.open(
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=values.dtype,
            crs="EPSG:32632",
            transform=place,
            **profile,
        ) as file:
            file.write(values)
            if scales:
                file.scales = scales
        return memory.read()


def test_geotiff_files_give_their_bands():
    values = numbers(5, 6, 8, low=1, high=10001)
    same(read_image(geotiff(values, compress="lzw"), PixelForm(5, (0, 10000))), held(values, 0, 10000), within=1)
    values[:, 0, 0] = 0
    hidden = read_image(geotiff(values, nodata=0), PixelForm(5, (1, 10000)))
    assert not hidden.int()[:, 0, 0].any()
    same(hidden, held(values, 1, 10000), within=1)
    scaled = read_image(geotiff(values, scales=[0.0001] * 5), PixelForm(5, (0, 1)))
    same(scaled, held(values, 0, 10000), within=1)


def dicom(values, kind="MONOCHROME2", **tags):
    pydicom = pytest.importorskip("pydicom", minversion="3.0")
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    bits = 8 * values.dtype.itemsize
    file.Rows, file.Columns = values.shape[:2] if kind == "RGB" else values.shape[-2:]
    file.SamplesPerPixel = 3 if kind == "RGB" else 1
    if kind == "RGB":
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = kind
    file.BitsAllocated = file.BitsStored = bits
    file.HighBit, file.PixelRepresentation = bits - 1, int(values.dtype.kind == "i")
    file.PixelData = values.tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    return saved(lambda out: file.save_as(out, enforce_file_format=True))


def test_dicom_files_are_seen_through_their_window_or_the_range_that_is_given():
    stored = numbers(6, 8, low=0, high=3000, dtype=np.int16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    units = 2.0 * stored - 1024
    file = dicom(stored, WindowCenter=[40, 600], WindowWidth=[400, 2000], **tags)
    # PS3.3 C.11.2.1.2.1, pixel by pixel
    shown = [
        0 if x <= 39.5 - 199.5 else 255 if x > 39.5 + 199.5 else ((x - 39.5) / 399 + 0.5) * 255 for x in np.ravel(units)
    ]
    expected = torch.tensor(shown).round().view(1, 6, 8)
    image = read_image(file, PixelForm(1))
    assert image.dtype == torch.uint8
    same(image, expected, within=1)
    same(read_image(file, PixelForm(1, (-1000, 3000))), held(units, -1000, 3000)[None], within=1)
    inverted = dicom(stored, "MONOCHROME1", WindowCenter=40, WindowWidth=400, **tags)
    same(read_image(inverted, PixelForm(1)), 255 - expected, within=1)
    with pytest.raises(UsageError, match=r"it has no window.*give value_range"):
        read_image(dicom(stored, **tags), PixelForm(1))
    with pytest.raises(UsageError, match="it has 2 frames"):
        read_image(dicom(numbers(2, 6, 8), NumberOfFrames=2), PixelForm(1))
    colors = numbers(6, 8, 3, high=256, dtype=np.uint8)
    same(read_image(dicom(colors, "RGB"), PixelForm(3)), torch.from_numpy(colors).permute(2, 0, 1))


def test_the_functions_of_a_window():
    x = np.array([-300.0, 40.0, 140.0, 500.0])
    assert windowed_values(x, 40, 400, "LINEAR_EXACT").tolist() == [0.0, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(windowed_values(x, 40, 400, "SIGMOID"), 1 / (1 + np.exp(-4 * (x - 40) / 400)))
    with pytest.raises(UsageError, match="function CUBIC"):
        windowed_values(x, 40, 400, "CUBIC")


def test_a_missing_package_is_named_with_its_extra_even_where_bad_images_are_skipped(tmp_path, monkeypatch):
    (tmp_path / "scan.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingPackage, match=r'pip install "sslbolts\[formats\]"'):
        read_image((tmp_path / "scan.dcm").read_bytes(), PixelForm(1))
    data = ImageFolderDataModule(str(tmp_path), in_chans=1, on_bad_image="skip", image_size=16)
    with pytest.raises(
        UsageError, match=r"scan.dcm cannot be read: DICOM files are read by pydicom.*sslbolts\[formats"
    ):
        data.images("train")


def test_a_folder_of_deep_images_trains_and_evaluates(tmp_path):
    from PIL import Image

    values = numbers(6, 20, 24, high=4096)
    for number, image in enumerate(values):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    settings = {"image_size": 16, "batch_size": 3, "num_workers": 0, "views": "byol", "in_chans": 1}
    data = ImageFolderDataModule(str(tmp_path), value_range=(0, 4095), **settings)
    view = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0).views[0]
    assert view.shape == (3, 1, 16, 16)
    assert abs(data.mean[0] - values.mean() / 4095) < 1e-4
    with pytest.raises(UsageError, match=r"0\.png is not usable: its pixels have more than 8 bits.*value_range"):
        ImageFolderDataModule(str(tmp_path), **settings).images("train").read(0)
