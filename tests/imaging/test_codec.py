from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from tests.conftest import not_root

from mien.errors import ConfigError, SourceError
from mien.imaging.codec import (
    NO_END_MARKER,
    decode_image,
    decode_reduced,
    decode_with_notes,
    read_image,
    write_image,
)
from mien.installation import install_command

RAMP = np.repeat(np.arange(0, 240, 5, dtype=np.uint8)[None], 32, axis=0)
RGB = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 128)], axis=2)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_as_they_were(kind: str) -> None:
    assert np.array_equal(decode_image(encode(Image.fromarray(RGB), kind), "a"), RGB)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_back_nearly(kind: str) -> None:
    decoded = decode_image(encode(Image.fromarray(RGB), kind, quality=95), "a")
    assert np.abs(decoded.astype(int) - RGB).mean() < 6


def test_heic_where_its_package_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif (extra heic) is not installed")
    heif.register_heif_opener()
    content = encode(Image.fromarray(RGB), "HEIF", quality=95)
    assert np.abs(decode_image(content, "a").astype(int) - RGB).mean() < 8


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(SourceError) as caught:
        decode_image(b"\0\0\0\x18ftypheic" + bytes(50), "a.heic")
    assert caught.value.hint == f"install it: {install_command('heic')}"


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    decoded = decode_image(encode(Image.fromarray(RGB), "PNG", exif=exif), "a")
    assert np.array_equal(decoded, np.rot90(RGB, -1))


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([RGB, np.zeros_like(RAMP)])
    rgba[:8, :, 3] = 255
    decoded = decode_image(encode(Image.fromarray(rgba), "PNG"), "a")
    assert np.array_equal(decoded[:8], RGB[:8])
    assert (decoded[8:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image = Image.fromarray(RGB).convert(mode)
    decoded = decode_image(encode(image, kind), "a")
    expected = np.asarray(image.convert("RGB"))
    assert decoded.shape == RGB.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 4


def test_forms_that_would_start_other_programs_are_refused() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(
        SourceError, match="a is an image in the format EPS, which is not supported"
    ):
        decode_image(eps, "a")


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    deep = RAMP.astype(np.uint16) * 257
    decoded = decode_image(encode(Image.fromarray(deep), "PNG"), "a")
    assert np.array_equal(decoded[:, :, 0], RAMP)


def test_an_animation_gives_its_first_frame() -> None:
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    content = encode(first, "GIF", save_all=True, append_images=[second])
    assert (decode_image(content, "a.gif") == (255, 0, 0)).all()


def test_empty_and_foreign_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a is empty \(0 bytes\)"):
        decode_image(b"", "a")
    with pytest.raises(SourceError, match="a.jpg is not an image that can be read"):
        decode_image(b"hello", "a.jpg")
    with pytest.raises(SourceError, match="No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(SourceError, match="Is a directory"):
        read_image(tmp_path)
    with pytest.raises(SourceError, match="cannot read .*: embedded null byte"):
        read_image(tmp_path / "a\0b.jpg")
    with pytest.raises(SourceError, match="File name too long"):
        read_image(tmp_path / ("a" * 300))
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises(SourceError, match="Too many levels of symbolic links"):
        read_image(tmp_path / "a.jpg")


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(RGB), "PNG"))
    path.chmod(0)
    with not_root(), pytest.raises(SourceError, match="Permission denied"):
        read_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_a_file_cut_short_is_named(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind)
    with pytest.raises(SourceError, match="cut.bin is (damaged|not an image)"):
        decode_image(content[: len(content) // 2], "cut.bin")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF"])
def test_a_damaged_file_is_an_error_or_an_image(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    rng = np.random.default_rng(len(kind))
    noise = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), kind)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 200), 4):
            damaged[at] = rng.integers(256)
        try:
            pixels = decode_image(bytes(damaged), "a")
        except SourceError:
            refused += 1
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
    assert refused > 5


@pytest.mark.parametrize("side", [30_000, 12_000])
def test_a_huge_image_is_refused_by_its_header(side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    with pytest.raises(SourceError, match="bomb.png is too large") as caught:
        decode_image(bomb + chunk(b"IEND", b""), "bomb.png")
    assert caught.value.hint == "scale it down first"


def test_written_images_come_back(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", RGB)
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)
    with pytest.raises(ConfigError, match="cannot write an image to a.xyz"):
        write_image(tmp_path / "a.xyz", RGB)


def test_changed_bytes_are_never_more_than_a_source_error() -> None:
    content = encode(Image.new("RGB", (48, 32), "teal"), "AVIF")
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        try:
            decode_image(bytes(changed), "changed.avif")
        except SourceError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_jpeg_without_its_end_marker_is_noted(lost: int, progressive: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (48, 48)).astype(np.uint8)
    whole = encode(Image.fromarray(pixels), "JPEG", progressive=progressive)
    decoded = decode_with_notes(whole[: len(whole) - lost], "a")
    assert decoded.notes == ((NO_END_MARKER,) if lost else ())
    assert np.array_equal(decoded.pixels, decode_with_notes(whole, "a").pixels)


def large_jpeg(size: tuple[int, int], **options: object) -> bytes:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("least", "factor"), [(1_000_000, None), (190_000, 2), (30_000, 4), (3_000, 8), (10, 8)]
)
def test_a_large_jpeg_is_decoded_reduced(least: int, factor: int | None) -> None:
    content = large_jpeg((801, 601))
    found = decode_reduced(content, "x", least)
    if factor is None:
        assert found is None
        return
    assert found is not None
    assert (found.factor, found.width, found.height) == (factor, 801, 601)
    assert found.pixels.shape == (-(-601 // factor), -(-801 // factor), 3)
    exact = np.asarray(Image.fromarray(decode_image(content, "x")).reduce(factor), float)
    assert np.abs(found.pixels - exact).mean() < 2


def test_a_reduced_jpeg_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode_reduced(large_jpeg((800, 600), exif=exif), "x", 100_000)
    assert found is not None
    assert (found.width, found.height) == (600, 800)
    assert found.pixels.shape == (400, 300, 3)


def test_only_whole_jpegs_are_decoded_reduced() -> None:
    content = large_jpeg((800, 600))
    png = io.BytesIO()
    Image.open(io.BytesIO(content)).save(png, "PNG")
    assert decode_reduced(png.getvalue(), "x", 1000) is None
    for damaged in (b"", content[:-2], content[:5000], content[:300] + b"\xff\xd9"):
        assert decode_reduced(damaged, "x", 1000) is None
