"""Image files and items of datasets as uint8 tensors."""

import struct
import sys
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from sslbolts.data.decode import ImageError, as_image, decode
from sslbolts.errors import UsageError
from tests.data.helpers import pixels


def saved(image, kind, **settings):
    file = BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def oriented(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(pixels(30, 47, seed=1)), kind, exif=exif)


@pytest.fixture(params=["simplejpeg", "pillow"])
def decoder(request, monkeypatch):
    if request.param == "pillow":
        monkeypatch.setitem(sys.modules, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return request.param


@pytest.mark.parametrize("settings", [{"quality": 75}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
def test_jpeg_equals_pillow(decoder, settings):
    data = saved(Image.fromarray(pixels(57, 83, seed=2)), "jpeg", **settings)
    assert (decode(data).permute(1, 2, 0).numpy() == np.asarray(Image.open(BytesIO(data)))).all()


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_whatever_decodes(decoder, kind, orientation):
    data = oriented(orientation, kind)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
    assert upright.shape[:2] == ((30, 47) if orientation < 5 else (47, 30))
    assert (decode(data).permute(1, 2, 0).numpy() == upright).all()


def test_orientation_in_xmp_alone_is_applied_too(decoder):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(Image.fromarray(pixels(30, 47, seed=1)), "jpeg", xmp=xmp)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    assert decode(data).shape[1:] == (upright.height, upright.width)


@pytest.mark.parametrize(
    ("mode", "kind", "in_chans"),
    [
        ("L", "jpeg", 1),
        ("L", "png", 3),
        ("L", "jpeg", 3),
        ("1", "png", 1),
        ("P", "png", 3),
        ("CMYK", "jpeg", 3),
        ("RGBA", "png", 4),
    ],
)
def test_images_are_converted_where_that_loses_nothing(decoder, mode, kind, in_chans):
    image = Image.fromarray(pixels(20, 24, seed=3, channels=4)) if mode == "RGBA" else None
    image = image or Image.fromarray(pixels(20, 24, seed=3)).convert(mode)
    data = saved(image, kind)
    expected = np.asarray(Image.open(BytesIO(data)).convert({1: "L", 3: "RGB", 4: "RGBA"}[in_chans])).reshape(
        20, 24, -1
    )
    assert (decode(data, in_chans).permute(1, 2, 0).numpy() == expected).all()


def test_an_opaque_alpha_channel_is_left_out_and_another_refused():
    opaque = Image.fromarray(pixels(20, 24, seed=3)).convert("RGBA")
    assert (decode(saved(opaque, "png")).permute(1, 2, 0).numpy() == np.asarray(opaque)[..., :3]).all()
    opaque.putpixel((0, 0), (1, 2, 3, 254))
    with pytest.raises(UsageError, match=r"alpha channel that is not opaque.*in_chans=3"):
        decode(saved(opaque, "png"))


@pytest.mark.parametrize(("mode", "in_chans"), [("RGB", 1), ("RGB", 4), ("L", 4), ("RGBA", 1)])
def test_channels_that_would_be_lost_or_made_up_are_refused(decoder, mode, in_chans):
    image = Image.fromarray(pixels(20, 24, seed=3)).convert(mode)
    with pytest.raises(UsageError, match=f'"{mode}", but in_chans={in_chans}'):
        decode(saved(image, "png"), in_chans)
    if mode == "RGB":
        with pytest.raises(UsageError, match=f"in_chans={in_chans}"):
            decode(saved(image, "jpeg"), in_chans)


def test_opaque_alpha_beside_gray_is_left_out_kept_or_refused():
    gray = pixels(20, 24, seed=3)[..., 0]
    opaque = Image.fromarray(np.stack([gray, np.full_like(gray, 255)], -1), "LA")
    for in_chans in (1, 3):
        assert (decode(saved(opaque, "png"), in_chans).numpy() == gray).all()
    veiled = Image.fromarray(np.stack([gray, gray], -1), "LA")
    assert (decode(saved(veiled, "png"), 4).numpy() == gray).all()  # three grays, and alpha
    for in_chans in (1, 3):
        with pytest.raises(UsageError, match=f"alpha channel that is not opaque, but in_chans={in_chans}"):
            decode(saved(veiled, "png"), in_chans)


def test_a_palette_of_grays_is_gray_and_one_of_colors_is_not():
    gray = Image.fromarray(pixels(20, 24, seed=3)[..., 0])
    with_palette = gray.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    values = np.asarray(with_palette.convert("RGB"))
    assert with_palette.mode == "P"
    assert (values == values[..., :1]).all()
    assert (decode(saved(with_palette, "png"), 1).numpy() == values[..., 0]).all()
    assert (decode(saved(with_palette, "png"), 3).permute(1, 2, 0).numpy() == values).all()
    with pytest.raises(UsageError, match='mode "P", but in_chans=1'):
        decode(saved(Image.fromarray(pixels(20, 24, seed=3)).quantize(16), "png"), 1)


def deep_png():
    """A 16-bit RGB file of 4 x 4 pixels, written by hand: Pillow cannot."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(range(row, row + 24)) for row in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff():
    """A 16-bit RGB file of 2 x 2 pixels."""
    pixel_bytes = bytes(range(24))
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 14)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24)]
    body = struct.pack("<3H", 16, 16, 16) + pixel_bytes
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + ifd + struct.pack("<I", 0)


@pytest.mark.parametrize("data", [deep_png(), deep_tiff()], ids=["png", "tiff"])
def test_sixteen_bits_per_color_are_refused_though_pillow_would_drop_half(data):
    assert Image.open(BytesIO(data)).convert("RGB").mode == "RGB"
    with pytest.raises(UsageError, match=r"more than 8 bits \(16 per channel\)"):
        decode(data, 3)


def test_sixteen_bits_are_refused():
    image = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)
    with pytest.raises(UsageError, match="more than 8 bits"):
        decode(saved(image, "png"), 1)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.7])
def test_a_truncated_file_raises(decoder, keep):
    data = saved(Image.fromarray(pixels(57, 83, seed=2)), "jpeg")
    with pytest.raises((OSError, ValueError, SyntaxError)):
        decode(data[: int(keep * len(data))])


def test_every_kind_of_item_is_the_same_image():
    array = pixels(20, 24, seed=5)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for item in (array, Image.fromarray(array), tensor, tensor.float() / 255, (tensor.double() / 255).half()):
        assert (as_image(item, 3) == tensor).all()
    for item in (array[..., 0], array[..., :1], Image.fromarray(array[..., 0]), tensor[0], tensor[:1]):
        assert (as_image(item, 1) == tensor[:1]).all()
        assert (as_image(item, 3) == tensor[:1].expand(3, -1, -1)).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (torch.randn(3, 8, 8), r"values from -.*Normalize"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), r"tensor of torch.int64 \(3, 8, 8\)"),
        (np.zeros((8, 8, 3)), "numpy array of float64"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "8 channels"),
        ({"image": 1}, "it is dict"),
        (None, "it is NoneType"),
    ],
)
def test_an_item_that_is_no_image_is_refused(item, message):
    with pytest.raises(UsageError, match=message):
        as_image(item, 3)


def test_the_message_survives_the_traceback_that_a_worker_puts_before_it():
    wrapped = "Caught ImageError in DataLoader worker process 0.\nOriginal Traceback...\nsslbolts.data.decode."
    assert str(ImageError(wrapped + "ImageError: a.jpg is bad\n")) == "a.jpg is bad"
