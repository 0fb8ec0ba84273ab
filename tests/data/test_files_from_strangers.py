"""Image files that somebody made to do harm, or of which a decoder would silently give a part."""

import os
import resource
import struct
import sys
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
import torchvision
from PIL import EpsImagePlugin, Image

import sslbolts.data as sets
from sslbolts.checks import read_regular
from sslbolts.cli import main
from sslbolts.data.decode import as_image, decode
from sslbolts.data.files import FileImages, find_images
from sslbolts.data.pixels import PixelForm
from sslbolts.errors import UsageError
from sslbolts.evaluation.detection.data import VOCBoxes
from sslbolts.evaluation.transfer.images import PreparedImages
from sslbolts.evaluation.transfer.sets import transfer_set
from tests.data.helpers import pixels, small, write_folder, write_image
from tests.helpers.deep_folders import DEPTH, deep_folders

PROGRAM = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def read(path, **settings):
    return FileImages([str(path)], [0], **({"form": PixelForm(), "on_bad_image": "raise"} | settings)).read(0)[0]


# Doors


def test_a_pipe_a_device_and_a_huge_file_are_refused_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**41)  # on the disk it takes nothing
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in (
        ("pipe", "no regular file"),
        ("endless", "no regular file"),
        ("huge", "2,199,023,255,552 bytes"),
    ):
        with pytest.raises(UsageError, match=f"{name}.jpg cannot be read as an image .OSError: it .*{reason}"):
            read(tmp_path / f"{name}.jpg")
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / "folder.jpg")
    assert len(find_images("root", [str(tmp_path)])) == 3


def test_the_whole_of_a_regular_file_is_read_also_through_a_link(tmp_path):
    content = np.random.default_rng(0).bytes(300_000)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b") == content
    assert read_regular(tmp_path / "b", 300_000) == content
    with pytest.raises(OSError, match="300,000 bytes, more than the 299,999"):
        read_regular(tmp_path / "b", 299_999)


def test_a_postscript_program_is_not_started(tmp_path, monkeypatch):
    def started(*_, **__):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    path = tmp_path / "JPEGImages" / "x.jpg"
    path.parent.mkdir()
    path.write_bytes(PROGRAM)
    with pytest.raises(AssertionError, match="was started"):
        Image.open(path).load()
    with pytest.raises(UsageError, match="content is none of JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM"):
        read(path)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "x.xml").write_text("<annotation/>")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("x\n")
    boxes = VOCBoxes(tmp_path, ["train"])
    with pytest.raises(UsageError, match="content is none of JPEG"):
        boxes[0]
    path.write_bytes(tiff(bytes(range(16)), channels=4, photometric=2, extra=[(338, 3, 1, 0)]))
    with pytest.raises(UsageError, match=r"x.jpg.*4 channels, of which Pillow reads 3"):
        boxes[0]


def test_nor_where_torchvision_opens_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "/usr/bin/env")  # a Ghostscript that would be started
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(PROGRAM)
    prepared = PreparedImages(torchvision.datasets.ImageFolder(str(tmp_path)), size=8)
    pillows_own = Image.open
    with pytest.raises(UsageError, match="image 0 of ImageFolder cannot be read: its content is none of JPEG, PNG"):
        prepared[0]
    assert Image.open is pillows_own


@pytest.mark.parametrize("opener", [torchvision.datasets.folder.default_loader, lambda path: Image.open(path)])
def test_transfer_reads_what_other_loaders_read_and_refuses_what_they_refuse(tmp_path, opener):
    files = {
        "whole": (jpeg(), None),
        "large": (declared(jpeg(progressive=True), 10_000, 9_000), "more than 89,478,485 pixels"),
        "larger": (declared(jpeg(exif=True), 20_000, 20_000), "more than 89,478,485 pixels"),
        "infrared": (tiff(bytes(range(16)), channels=4, photometric=2, extra=[(338, 3, 1, 0)]), "4 channels, of which"),
        "signed": (tiff(bytes(4), extra=[(339, 3, 1, 2)]), "signed numbers"),
        "ten bits": (b"P6 2 1 1023\n" + bytes(12), "more than 8 bits"),
        "sixteen bits": (saved([Image.fromarray(np.zeros((4, 4), np.uint16))], "png"), "more than 8 bits"),
    }
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    files["first frame"] = (saved(frames, "png"), None)
    for name, (content, refusal) in files.items():
        (tmp_path / name).write_bytes(content)
        prepared = PreparedImages(Opened(str(tmp_path / name), opener), size=4)
        if refusal is None:
            assert prepared[0][0].shape == (3, 4, 4)
        else:
            with pytest.raises(UsageError, match=f"image 0 of Opened cannot be read: it.*{refusal}"):
                prepared[0]
    assert prepared[0][0][:, 0, 0].tolist() == [1, 0, 0]


class Opened(list):
    """A data set that opens its only file by itself, as torchvision's do."""

    def __init__(self, path, opener):
        self.path, self.opener = path, opener

    def __getitem__(self, index):
        return self.opener(self.path), 0


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_a_torchvision_set_with_a_file_without_an_end_is_refused_before_it_is_opened(tmp_path, kind):
    for folder in ("cifar-10-batches-py", "stl10_binary", "dtd/dtd/labels"):
        (tmp_path / folder).mkdir(parents=True)
        path = tmp_path / folder / "train1.txt"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            with path.open("wb") as file:
                file.truncate(2**41)
    said = "2,199,023,255,552 bytes" if kind == "huge" else "no regular file"
    for name in ("CIFAR10", "STL10"):
        with pytest.raises(UsageError, match=f"train1.txt.*{said}"):
            getattr(sets, f"{name}DataModule")(str(tmp_path), download=False).prepare_data()
    with pytest.raises(UsageError, match=f"train1.txt.*{said}"):
        transfer_set("DTD").load(str(tmp_path), False, 0)


def declared(data, width, height):
    """A JPEG file that says that it has another size."""
    at = next(place for place in range(len(data)) if data[place : place + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def jpeg(exif=False, **settings):
    file = BytesIO()
    extra = {}
    if exif:
        extra["exif"] = Image.Exif()
        extra["exif"][0x0112] = 1
    Image.new("RGB", (16, 16), "white").save(file, "jpeg", **extra, **settings)
    return file.getvalue()


@pytest.mark.parametrize("pillow_only", [False, True])
@pytest.mark.parametrize("exif", [False, True])
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 9_000)])
def test_a_declared_size_is_looked_at_before_anything_is_decoded(pillow_only, exif, size, monkeypatch):
    if pillow_only:
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"more than 89,478,485 pixels: make it smaller, or set PIL\.Image\."):
        decode(declared(jpeg(exif, progressive=True), *size))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


def test_the_largest_size_is_that_of_pillow_for_all_decoders(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 16)
    assert decode(jpeg()).shape == decode(jpeg(exif=True)).shape == (3, 16, 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 16 - 1)
    for data in (jpeg(), jpeg(exif=True)):
        with pytest.raises(UsageError, match="more than 255 pixels"):
            decode(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(jpeg()).shape == (3, 16, 16)


def test_folders_of_any_depth_are_gone_through(tmp_path):
    with deep_folders(tmp_path):
        Image.new("RGB", (4, 4)).save("x.png")
        (found,) = find_images("root", [str(tmp_path)])
        assert found.path == f"{tmp_path}{'/d' * DEPTH}/x.png"
        with pytest.raises(UsageError, match=r'nested too deep for "\*\*". Give the folder itself'):
            find_images("root", [f"{tmp_path}/**/*.png"])


def test_one_long_path_does_not_make_all_paths_long():
    paths = [f"folder/{number}.jpg" for number in range(20_000)] + ["é" * 1850]
    files = FileImages(paths, [0] * len(paths), form=PixelForm(), on_bad_image="skip")
    assert files.paths == paths
    held = sum(len(part) if isinstance(part, bytes) else getattr(part, "nbytes", 0) for part in vars(files).values())
    assert held < 40 * len(paths)  # bytes of all its blocks; an array of equal widths takes 3,700 for each


# One stray picture


def test_a_picture_beside_class_folders_is_named_since_it_takes_their_labels(tmp_path):
    write_folder(tmp_path)
    write_image(tmp_path / "stray.png")
    with pytest.warns(UserWarning, match=r'stray.png" beside 2 folders of images: so these are no classes, and no im'):
        found = find_images("root", [str(tmp_path)])
    assert {image.class_name for image in found} == {None}
    with pytest.warns(UserWarning, match="stray.png"), pytest.raises(UsageError, match=r'stray.png" has no class'):
        _ = small(tmp_path / "cat", labeled_train=str(tmp_path)).class_names


def test_one_folder_of_images_beside_empty_ones_is_named_since_it_has_no_labels(tmp_path):
    write_image(tmp_path / "cat" / "a.png")
    (tmp_path / "dog" / "deeper").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r'images in "cat" alone, and nothing in dog: .* no image has a label'):
        assert [image.class_name for image in find_images("root", [str(tmp_path)])] == [None]
    (tmp_path / "dog" / "deeper" / "boxes.xml").touch()  # annotations, and no class that lacks its images
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find_images("root", [str(tmp_path)])
    write_image(tmp_path / "emu" / "b.png")
    (tmp_path / "ferret").mkdir()
    assert {image.class_name for image in find_images("root", [str(tmp_path)])} == {"cat", "emu"}


@pytest.mark.parametrize("second", ["--data.root=B", "--data.init_args.root=B"])
def test_a_place_given_twice_on_the_command_line_is_an_error(second, capsys):
    command = ["fit", "--model", "SimCLR", "--data", "ImageFolder", "--data.root", "A", second]
    assert main(command) == 2
    assert "--data.root is given twice, and one would be forgotten: give a list" in capsys.readouterr().err


# Images of which a part would be lost


def png(width, height, bits, kind, rows, *more):
    """A PNG file written by hand; ``more`` are chunks that stand before the pixels."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [header, *(chunk(*one) for one in more), chunk(b"IDAT", content), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(pixel_bytes, *, bits=8, channels=1, photometric=1, extra=(), more_pages=0):
    """An uncompressed TIFF file of 2 x 2 pixels, written by hand."""
    bits_at = 8 if channels > 2 else struct.unpack("<I", struct.pack("<HH", bits, bits if channels == 2 else 0))[0]
    body = struct.pack(f"<{channels}H", *[bits] * channels) if channels > 2 else b""
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, channels, bits_at), (259, 3, 1, 1), (262, 3, 1, photometric)]
    entries += [
        (273, 4, 1, 8 + len(body)),
        (277, 3, 1, channels),
        (278, 3, 1, 2),
        (279, 4, 1, len(pixel_bytes)),
        *extra,
    ]
    body += pixel_bytes
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    at = 8 + len(body)
    pages = b"".join(
        ifd + struct.pack("<I", 0 if page == more_pages else at + (page + 1) * (len(ifd) + 4))
        for page in range(more_pages + 1)
    )
    return struct.pack("<2sHI", b"II", 42, at) + body + pages


def test_a_hand_written_tiff_is_read_as_it_was_written():
    assert decode(tiff(bytes([0, 1, 200, 255])), 1).tolist() == [[[0, 1], [200, 255]]]
    colors = decode(tiff(bytes(range(12)), channels=3, photometric=2))
    assert colors.permute(1, 2, 0).flatten().tolist() == list(range(12))


@pytest.mark.parametrize("in_chans", [1, 3, 4])
def test_a_fourth_channel_that_is_no_alpha_is_not_left_out(in_chans):
    near_infrared = tiff(bytes(range(16)), channels=4, photometric=2, extra=[(338, 3, 1, 0)])
    with pytest.raises(UsageError, match=r'4 channels, of which Pillow reads 3 \("RGB"\)|mode "RGBX"'):
        decode(near_infrared, in_chans)


def test_signed_numbers_do_not_wrap():
    with pytest.raises(UsageError, match="signed numbers"):
        decode(tiff(bytes([0, 1, 127, 128]), extra=[(339, 3, 1, 2)]), 1)


@pytest.mark.parametrize(("largest", "bits"), [(1023, 10), (65535, 16), (256, 9)])
@pytest.mark.parametrize("kind", ["P3", "P6"])
def test_a_ppm_of_more_than_eight_bits_is_refused(largest, bits, kind):
    body = struct.pack(">6H", *[largest] * 6) if kind == "P6" else f"{largest} ".encode() * 6
    with pytest.raises(UsageError, match=rf"more than 8 bits \({bits} per channel\)"):
        decode(f"{kind} 2 1 {largest}\n".encode() + body)
    gray = struct.pack(">2H", 1, 2) if kind == "P6" else b"1 2 "
    with pytest.raises(UsageError, match="more than 8 bits"):
        decode(f"{'P5' if kind == 'P6' else 'P2'} 2 1 {largest}\n".encode() + gray, 1)


def test_a_ppm_of_at_most_eight_bits_is_scaled_to_eight():
    assert decode(b"P6 2 1 255\n" + bytes(range(6))).permute(1, 2, 0).flatten().tolist() == list(range(6))
    assert decode(b"P6 2 1 15\n" + bytes([0, 1, 15] * 2)).permute(1, 2, 0).flatten().tolist() == [0, 17, 255] * 2


@pytest.mark.parametrize(
    ("kind", "transparent", "row", "colors", "bits"),
    [
        (2, struct.pack(">3H", 1, 2, 3), bytes([1, 2, 3, 4, 5, 6]), [[1, 2, 3, 0], [4, 5, 6, 255]], 8),
        (0, struct.pack(">H", 7), bytes([7, 9]), [[7, 7, 7, 0], [9, 9, 9, 255]], 8),
        (0, struct.pack(">H", 7), bytes([0x79]), [[119, 119, 119, 0], [153, 153, 153, 255]], 4),
        (0, struct.pack(">H", 2), bytes([0xB0]), [[170, 170, 170, 0], [255, 255, 255, 255]], 2),
        (0, struct.pack(">H", 1), bytes([0x80]), [[255, 255, 255, 0], [0, 0, 0, 255]], 1),
    ],
)
def test_a_transparent_color_is_transparent(kind, transparent, row, colors, bits):
    veiled = png(2, 1, bits, kind, [row], (b"tRNS", transparent))
    for in_chans in (1, 3) if kind == 0 else (3,):
        with pytest.raises(UsageError, match="alpha channel that is not opaque"):
            decode(veiled, in_chans)
    assert decode(veiled, 4)[:, 0].T.tolist() == colors
    if bits < 8:
        return
    unused = png(2, 1, bits, kind, [row], (b"tRNS", bytes([0, 99] * (len(transparent) // 2))))
    assert decode(unused, 3)[:, 0].T.tolist() == [color[:3] for color in colors]


def saved(frames, kind, **settings):
    file = BytesIO()
    frames[0].save(file, kind, save_all=len(frames) > 1, append_images=frames[1:], **settings)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_several_frames_or_pages_are_refused_and_one_is_read(kind):
    frames = [Image.fromarray(pixels(20, 24, seed=seed)).convert("P" if kind == "gif" else "RGB") for seed in (1, 2)]
    with pytest.raises(UsageError, match="several frames or pages: give each a file of its own"):
        decode(saved(frames, kind))
    assert decode(saved(frames[:1], kind)).shape == (3, 20, 24)
    with pytest.raises(UsageError, match="several frames"):
        as_image(Image.open(BytesIO(saved(frames, kind))), 3)


def test_of_a_hand_written_tiff_of_two_pages_none_is_taken():
    with pytest.raises(UsageError, match="several frames or pages"):
        decode(tiff(bytes(4), more_pages=1), 1)


@pytest.mark.parametrize("exif", [False, True])
def test_of_a_camera_file_the_picture_is_read_and_not_its_previews(exif):
    first, second = (Image.fromarray(pixels(20, 24, seed=seed)) for seed in (1, 2))
    settings = {"exif": Image.Exif()} if exif else {}
    if exif:
        settings["exif"][0x0112] = 1
    alone, both = saved([first], "jpeg"), saved([first, second], "mpo", **settings)
    assert Image.open(BytesIO(both)).n_frames == 2
    assert torch.equal(decode(both), decode(alone))


def test_a_palette_of_more_than_eight_bits_is_refused():
    def with_palette(colors):
        data = tiff(bytes([0, 1, 2, 3]), photometric=3, extra=[(320, 3, 768, 8 + 4)])
        shift = len(colors)  # the palette is put behind the four pixels, and the directory behind it
        data = data[:12] + colors + data[12:]
        return data[:4] + struct.pack("<I", 12 + shift) + data[8:]

    shades = np.arange(256)
    twice = np.tile(shades * 257, 3).astype("<u2").tobytes()
    assert decode(with_palette(twice), 1).tolist() == [[[0, 1], [2, 3]]]
    finer = np.tile(shades * 250, 3).astype("<u2").tobytes()
    with pytest.raises(UsageError, match="more than 8 bits"):
        decode(with_palette(finer), 1)


def test_a_picture_of_a_dataset_is_held_to_the_same():
    with pytest.raises(UsageError, match=r"more than 8 bits \(16 per channel\)"):
        as_image(Image.open(BytesIO(png(1, 1, 16, 2, [bytes(6)]))), 3)
    with pytest.raises(UsageError, match="signed numbers"):
        as_image(Image.open(BytesIO(tiff(bytes(4), extra=[(339, 3, 1, 2)]))), 1)
