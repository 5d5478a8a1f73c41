"""Picture files of every mode, depth and kind: the right bytes, or one line that names the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mergan.data import decoding, opening
from mergan.system.errors import ConfigError, DataError

RAMP = np.tile(np.array([0, 80, 160, 255], dtype=np.uint8), (4, 1))  # (4, 4), the same in every row
RED = np.full((4, 4, 3), (200, 0, 0), dtype=np.uint8)
RED_ON_WHITE = [[255, 238, 220, 200], [255, 175, 95, 0], [255, 175, 95, 0]]  # RAMP as opacity


def decode(
    path: Path, channels: int = 3, background: str = "white", white: float | None = None
) -> list[list[int]]:
    """The first row of each channel."""
    with opening.guarded():
        decoder = decoding.Decoder(channels, decoding.colour(background), white)
        return decoder.decode(str(path), 4)[:, 0].tolist()


def saved(path: Path, picture: Image.Image, **settings: Any) -> Path:
    picture.save(path, **settings)
    return path


def png(path: Path, depth: int, kind: int, row: bytes, transparency: bytes) -> Path:
    """Four equal rows of four pixels, as Pillow does not write them."""
    header = struct.pack(">IIBBBBB", 4, 4, depth, kind, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"tRNS", transparency),
        (b"IDAT", zlib.compress((b"\0" + row) * 4)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
        if data or name == b"IEND"
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def tiff(path: Path, row: bytes, bits: int, photometric: int = 1, sample_format: int = 1) -> Path:
    """Four equal rows of four grey pixels."""
    data = row * 4
    tags = [(256, 4), (257, 4), (258, bits), (259, 1), (262, photometric), (273, 0), (277, 1), (278, 4),
            (279, len(data)), (339, sample_format)]  # fmt: skip
    offset = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, offset if tag == 273 else value) for tag, value in tags]
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + data)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.qoi", "a.jp2"])
def test_hidden_colours_stay_hidden_behind_the_background(name: str, tmp_path: Path) -> None:
    settings = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = saved(tmp_path / name, Image.fromarray(np.dstack([RED, RAMP])), **settings)
    assert decode(path) == RED_ON_WHITE
    assert decode(path, channels=1) == [[255, 194, 132, 60]]
    assert decode(path, background="#0000ff")[2] == [255, 175, 95, 0]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_grey_with_transparency(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / name, Image.fromarray(np.dstack([RAMP * 0 + 10, RAMP])))
    assert decode(path, channels=1) == [[255, 178, 101, 10]]


@pytest.mark.parametrize(
    ("name", "transparency", "red"),
    [("a.png", 1, [0, 255, 0, 0]), ("a.png", bytes([0, 255, 128, 255]), [255, 200, 127, 0]),
     ("a.gif", 2, [0, 200, 255, 0])],
)  # fmt: skip
def test_palettes_with_transparency(name: str, transparency: Any, red: list[int], tmp_path: Path) -> None:
    picture = Image.fromarray(RAMP // 80).convert("P")
    picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    assert decode(saved(tmp_path / name, picture, transparency=transparency))[0] == red


def test_a_palette_with_an_opacity_channel(tmp_path: Path) -> None:
    picture = Image.fromarray(np.dstack([RED, RAMP]))
    laid = decoding.Decoder(3, (255, 255, 255))._laid_on_background(decoding._rgba(picture.convert("PA")))
    assert laid.getpixel((0, 0)) == (255, 255, 255)
    for mode in ("RGBa", "La"):
        straight = picture.convert("LA" if mode == "La" else "RGBA")
        assert decoding._rgba(straight.convert(mode)).getpixel((3, 0)) == straight.convert("RGBA").getpixel(
            (3, 0)
        )


def test_one_colour_that_stands_for_transparency(tmp_path: Path) -> None:
    assert decode(saved(tmp_path / "l.png", Image.fromarray(RAMP), transparency=80), 1) == [
        [0, 255, 160, 255]
    ]
    assert (
        decode(saved(tmp_path / "rgb.png", Image.fromarray(RED), transparency=(200, 0, 0))) == [[255] * 4] * 3
    )
    black = "black"
    bilevel = saved(
        tmp_path / "1.png", Image.fromarray(RAMP).convert("1", dither=Image.Dither.NONE), transparency=1
    )
    assert decode(bilevel, 1, black) == [[0] * 4]
    assert decode(png(tmp_path / "2.png", 2, 0, bytes([0b00011011]), b"\0\3"), 1, black) == [[0, 85, 170, 0]]
    assert decode(png(tmp_path / "4.png", 4, 0, bytes([0x05, 0xAF]), b"\0\x0a"), 1) == [[0, 85, 255, 255]]
    deep = struct.pack(">4H", 0, 20_000, 20_001, 65_535)
    assert decode(png(tmp_path / "16.png", 16, 0, deep, deep[2:4]), 1) == [[0, 255, 78, 255]]
    deep = struct.pack(">12H", 0, 0, 0, 20_000, 1, 2, 40_000, 3, 3, 65_535, 4, 4)
    found = decode(png(tmp_path / "48.png", 16, 2, deep, deep[6:12]))
    assert found == [[0, 255, 156, 255], [0, 255, 0, 0], [0, 255, 0, 0]]


def test_sixteen_bits_keep_their_upper_byte(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 257
    ramp = [[0, 80, 160, 255]]
    for name in ("a.png", "a.tif", "a.jp2"):
        assert decode(saved(tmp_path / name, Image.fromarray(wide)), 1) == ramp
    assert decode(saved(tmp_path / "big_endian.tif", Image.fromarray(wide.astype(">u2"))), 1) == ramp
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 65535\n" + wide.astype(">u2").tobytes())
    assert decode(tmp_path / "a.pgm", 1) == ramp
    row = struct.pack(">8H", *(257 * value for value in (10, 0, 10, 80, 10, 160, 10, 255)))
    assert decode(png(tmp_path / "la.png", 16, 4, row, b""), 1) == [[255, 178, 101, 10]]


def test_twelve_bits_and_white_as_zero(tmp_path: Path) -> None:
    twelve = bytes([0x00, 0x08, 0x00, 0xF0, 0x0F, 0xFF])  # 0x000, 0x800, 0xf00, 0xfff
    assert decode(tiff(tmp_path / "12.tif", twelve, 12), 1) == [[0, 128, 240, 255]]
    row = struct.pack("<4H", 0, 20_480, 40_960, 65_535)
    assert decode(tiff(tmp_path / "16.tif", row, 16, photometric=0), 1) == [[255, 175, 95, 0]]
    assert decode(tiff(tmp_path / "8.tif", bytes([0, 80, 160, 255]), 8, photometric=0), 1) == [
        [255, 175, 95, 0]
    ]


DEEP = {
    "32-bit": (RAMP.astype(np.int32), 255, "from 0 to 255"),
    "32-bit of 16": (RAMP.astype(np.int32) * 257, 65_535, "from 0 to 65535"),
    "shares": (RAMP.astype(np.float32) / 255, 1, "floating-point numbers from 0 to 1"),
    "floats": (RAMP.astype(np.float32), 255, "floating-point numbers from 0 to 255"),
    "16-bit of 8": (RAMP.astype(np.uint16), 255, "all black"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_values_of_unknown_white_are_refused_until_it_is_named(kind: str, tmp_path: Path) -> None:
    values, white, told = DEEP[kind]
    path = saved(tmp_path / "a.tif", Image.fromarray(values))
    with pytest.raises(DataError, match=rf"a\.tif .*{told}.*data\.source\.white={white}") as error:
        decode(path)
    assert "\n" not in str(error.value)
    assert decode(path, white=white) == [[0, 80, 160, 255]] * 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 256.0])
def test_values_that_are_no_brightness_are_refused(value: float, tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[2, 1] = value
    with pytest.raises(DataError, match=r"a\.tif"):
        decode(saved(tmp_path / "a.tif", Image.fromarray(values)), white=255)


def test_numbers_with_a_sign_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"8\.tif holds 8-bit numbers with a sign"):
        decode(tiff(tmp_path / "8.tif", bytes([0, 80, 160, 255]), 8, sample_format=2))
    with pytest.raises(DataError, match=r"16\.tif"):
        decode(tiff(tmp_path / "16.tif", struct.pack("<4h", 0, 200, -300, 9), 16, sample_format=2))
    with pytest.raises(DataError, match=r"32\.tif"):
        decode(tiff(tmp_path / "32.tif", struct.pack("<4I", 0, 1, 2**31, 2**32 - 1), 32))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGBX", "HSV", "LAB", "1", "P", "L"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_without_transparency_becomes_the_picture(
    mode: str, channels: int, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (4, 4), "white").convert("RGB" if mode == "LAB" else mode)
    if mode == "LAB":
        picture = Image.merge("LAB", [Image.new("L", (4, 4), value) for value in (255, 128, 128)])
    if mode == "HSV":
        opaque = decoding.Decoder(channels, (0, 0, 0))._opaque(picture, "a.hsv")
        assert opaque.convert({1: "L", 3: "RGB"}[channels]).getextrema() in ((255, 255), ((255, 255),) * 3)
        return
    assert np.min(decode(saved(tmp_path / "a.tif", picture), channels)) >= 254


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_the_first_of_several_pictures_counts(name: str, tmp_path: Path) -> None:
    settings = {"lossless": True} if name.endswith("webp") else {}
    others = [Image.fromarray(255 - RAMP)]
    path = saved(tmp_path / name, Image.fromarray(RAMP), save_all=True, append_images=others, **settings)
    assert decode(path, 1) == [[0, 80, 160, 255]]


def test_a_picture_stored_on_its_side_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for values in (RAMP, RAMP.astype(np.uint16) * 257):
        assert decode(saved(tmp_path / "a.png", Image.fromarray(values), exif=exif), 1) == [[255, 160, 80, 0]]
    picture = Image.fromarray(np.dstack([RED, RAMP]))
    assert decode(saved(tmp_path / "a.png", picture, exif=exif))[0] == [200, 220, 238, 255]


@pytest.mark.parametrize("name", ["a.ps", "a.png"])
def test_programs_for_a_printer_are_not_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match=name):
        decode(tmp_path / name)
    assert ".ps" not in opening.SUFFIXES and ".pdf" not in opening.SUFFIXES


@pytest.mark.filterwarnings("error")
def test_a_picture_beyond_the_limit_of_pillow_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RAMP))
    for limit in (15, 7):  # Pillow only warns of up to twice as many pixels
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"a\.png \(too large\)"):
            decode(path)


def test_backgrounds() -> None:
    assert decoding.colour("White") == (255, 255, 255) and decoding.colour("#102030") == (16, 32, 48)
    for wrong in ("nocolour", "#12345678", 0, None, "", "rgb(1,2)", "x" * 1000, "a\nb"):
        with pytest.raises(ConfigError, match=r"data\.source\.background=") as error:
            decoding.colour(wrong)
        assert "\n" not in str(error.value)
