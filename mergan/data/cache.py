"""Decoded images on disk: each source is decoded and resized once, then read as one array."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mergan.data.image_set import ImageSet
from mergan.data.source import Source, Split
from mergan.system.errors import DataError, reason
from mergan.system.files import alone, check_replaceable, replacing, tidy

log = logging.getLogger(__name__)

# Part of the key: increase it when files of the old layout must not be mistaken for new ones.
LAYOUT = 1

# Up to this many bytes of images are read into memory; larger files stay mapped.
MEMORY_LIMIT = 512 * 2**20

# With fewer images, decoding is too quick for a progress bar.
LONG = 20_000


def load(
    source: Source,
    split: Split,
    image_size: int,
    cache_dir: str | Path,
    progress: bool = True,
    memory_limit: int | None = None,
) -> ImageSet:
    """Read a split from the cache; if it is missing, decode it into the cache first.

    Args:
        source: the data set.
        split: "train" or "test".
        image_size: side of the images in pixels.
        cache_dir: the cache folder, created if necessary; several processes may share it.
        progress: whether to show a progress bar when many images are decoded.
        memory_limit: if the images have more bytes, they stay on disk and are mapped into memory. None:
            MEMORY_LIMIT.

    Returns:
        The split; its images are uint8 (N, source.channels, image_size, image_size) and read-only.

    Raises:
        DataError: the data is missing or cannot be read, or `cache_dir` cannot be written.
    """
    source.prepare()
    memory_limit = MEMORY_LIMIT if memory_limit is None else memory_limit
    shape = (source.channels, image_size, image_size)
    stem = Path(cache_dir).expanduser() / _key(source, split, shape)
    classes = len(source.class_names)
    with suppress(OSError, ValueError):  # the usual case; errors are reported below
        found = _read(stem, shape, classes, memory_limit)
        tidy(stem.parent)
        return found
    try:
        with alone(stem):
            return _read_or_build(source, split, shape, stem, progress, memory_limit)
    except OSError as error:
        raise DataError(
            f"cache_dir={cache_dir}: cannot keep the images of {source.name} there ({error}); "
            "name another folder with cache_dir=..."
        ) from error


def _read_or_build(
    source: Source, split: Split, shape: tuple[int, int, int], stem: Path, progress: bool, memory_limit: int
) -> ImageSet:
    """Read what another process may have built in the meantime, or else build it."""
    for file in (_images_file(stem), _labels_file(stem)):
        check_replaceable(file)
    classes = len(source.class_names)
    try:
        return _read(stem, shape, classes, memory_limit)
    except FileNotFoundError:
        log.info("decoding %s (%s) into %s", source.name, split, stem.parent)
    except (OSError, ValueError) as error:
        log.warning("%s is broken (%s), decoding %s again", _images_file(stem), reason(error), source.name)
    _build(source, split, shape, stem, progress)
    return _read(stem, shape, classes, memory_limit)


def _key(source: Source, split: Split, shape: tuple[int, int, int]) -> str:
    identity = f"{LAYOUT}\0{source.name}\0{source.fingerprint()}\0{split}\0{shape}"
    name = re.sub(r"\W+", "_", source.name)
    return f"{name}-{split}-{shape[0]}x{shape[1]}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _images_file(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}-images.npy")


def _labels_file(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}-labels.npy")


def _read(stem: Path, shape: tuple[int, int, int], classes: int, memory_limit: int) -> ImageSet:
    """Open what `_build` wrote. Mapped images are not read.

    Raises:
        OSError, ValueError: it is incomplete, or not what `_build` writes.
    """
    images = _mapped(_images_file(stem), np.dtype(np.uint8), shape)
    labels = np.array(_mapped(_labels_file(stem), np.dtype(np.int64), ()))
    if len(labels) != len(images):
        raise ValueError(f"it holds {len(images)} images and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"its labels reach from {labels.min()} to {labels.max()}")
    if images.nbytes > memory_limit:
        return ImageSet(images, labels)
    resident = np.array(images)
    resident.flags.writeable = False
    return ImageSet(resident, labels)


def _header(count: int, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """The header of a file with `count` entries of this shape."""
    buffer = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _mapped(file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Map a cache file into memory; the file size gives the number of entries of this shape.

    The header must match this number of entries. It is not trusted: a header may announce objects, another
    order, or more data than fits into memory.

    Raises:
        OSError, ValueError: it is not such a file.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    start = len(_header(1, dtype, shape))  # the same for every count: numpy pads the header
    count, rest = divmod(status.st_size - start, math.prod(shape) * dtype.itemsize)
    if count < 1 or rest:
        raise ValueError(f"its size of {status.st_size} bytes is not that of whole entries")
    with file.open("rb") as opened:
        if opened.read(start) != _header(count, dtype, shape):
            raise ValueError(f"its header is not that of {count} entries {dtype} {shape}")
    return np.memmap(file, dtype, mode="r", offset=start, shape=(count, *shape))


def _build(source: Source, split: Split, shape: tuple[int, int, int], stem: Path, progress: bool) -> None:
    count = source.size(split)
    if count == 0:
        raise DataError(f"{source.name}: the {split} split has no images")
    stem.parent.mkdir(parents=True, exist_ok=True)
    labels = np.empty(count, dtype=np.int64)
    done = 0
    bar = tqdm(
        total=count,
        desc=f"decoding {source.name} ({split})",
        unit="img",
        disable=not progress or count < LONG,
    )
    # Written as a stream: with a memory map, a full disk would cause a bus error.
    with bar, replacing(_images_file(stem)) as temporary, temporary.open("wb") as file:
        file.write(_header(count, np.dtype(np.uint8), shape))
        for images, of_images in source.chunks(split, shape[1]):
            if images.shape[1:] != shape or done + len(images) > count:
                raise DataError(f"{source.name}: promised {count} {split} images {shape}, gave other ones")
            file.write(images.tobytes())
            labels[done : done + len(images)] = of_images
            done += len(images)
            bar.update(len(images))
        _check_labels(source, split, labels[:done], count)
        # The labels file is in place first, so it exists whenever the images file does.
        with replacing(_labels_file(stem)) as beside, beside.open("wb") as labels_file:
            labels_file.write(_header(count, labels.dtype, ()) + labels.tobytes())


def _check_labels(source: Source, split: Split, labels: np.ndarray, count: int) -> None:
    classes = len(source.class_names)
    if len(labels) != count:
        raise DataError(f"{source.name}: promised {count} {split} images, gave {len(labels)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{source.name}: {split} labels reach from {labels.min()} to {labels.max()}, "
            f"but the data set has {classes} classes, numbered from 0"
        )
