"""Decoded images on disk: each source is decoded and resized once, then read as one array."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mergan.data.image_set import ImageSet
from mergan.data.source import Source, Split
from mergan.errors import DataError
from mergan.storage import alone, replacing

log = logging.getLogger(__name__)

# Part of the key: raise it when files of the old layout must not be taken for the new one.
LAYOUT = 1

# Up to this many bytes of images are read into memory, more stay mapped.
MEMORY_LIMIT = 512 * 2**20

# Fewer images are decoded before a progress bar would be of use.
LONG = 20_000


def load(
    source: Source,
    split: Split,
    image_size: int,
    cache_dir: str | Path,
    progress: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> ImageSet:
    """Read a split from the cache, after decoding it into the cache if it is not there.

    Args:
        source: the data set.
        split: "train" or "test".
        image_size: side of the images in pixels.
        cache_dir: the folder of the cache, made if need be; several processes may share it.
        progress: whether decoding many images shows a progress bar.
        memory_limit: images of more bytes than this stay on disk and are mapped into memory.

    Returns:
        The split, its images uint8 (N, source.channels, image_size, image_size) and read-only.

    Raises:
        DataError: the data is missing or cannot be read, or `cache_dir` cannot be written.
    """
    source.prepare()
    shape = (source.channels, image_size, image_size)
    stem = Path(cache_dir).expanduser() / _key(source, split, shape)
    with suppress(OSError, ValueError):  # the usual case; what is wrong is said below
        return _read(stem, shape, memory_limit)
    try:
        with alone(_images_file(stem)):
            return _read_or_build(source, split, shape, stem, progress, memory_limit)
    except OSError as error:
        raise DataError(
            f"cache_dir={cache_dir}: cannot keep the images of {source.name} there ({error}); "
            "name another folder with cache_dir=..."
        ) from error


def _read_or_build(
    source: Source, split: Split, shape: tuple[int, int, int], stem: Path, progress: bool, memory_limit: int
) -> ImageSet:
    """What another process may have built in the meantime, or else build it."""
    try:
        return _read(stem, shape, memory_limit)
    except FileNotFoundError:
        log.info("decoding %s (%s) into %s", source.name, split, stem.parent)
    except (OSError, ValueError) as error:
        log.warning("%s is broken (%s), decoding %s again", _images_file(stem), error, source.name)
    _build(source, split, shape, stem, progress)
    return _read(stem, shape, memory_limit)


def _key(source: Source, split: Split, shape: tuple[int, int, int]) -> str:
    identity = f"{LAYOUT}\0{source.name}\0{source.fingerprint()}\0{split}\0{shape}"
    name = re.sub(r"\W+", "_", source.name)
    return f"{name}-{split}-{shape[0]}x{shape[1]}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _images_file(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}-images.npy")


def _labels_file(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}-labels.npy")


def _read(stem: Path, shape: tuple[int, int, int], memory_limit: int) -> ImageSet:
    """Open what `_build` wrote.

    Raises:
        OSError, ValueError: it is not whole.
    """
    file = _images_file(stem)
    images = np.lib.format.open_memmap(file, mode="r")  # raises ValueError for a file cut short
    labels = np.load(_labels_file(stem), allow_pickle=False)
    if images.dtype != np.uint8 or images.shape != (len(labels), *shape) or labels.dtype != np.int64:
        raise ValueError(f"it holds {images.dtype} {images.shape} and {len(labels)} labels")
    if images.offset + images.nbytes != file.stat().st_size:
        raise ValueError("it has bytes to spare")
    if images.nbytes > memory_limit:
        return ImageSet(images, labels)
    resident = np.array(images)
    resident.flags.writeable = False
    return ImageSet(resident, labels)


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
    # Written as a stream and not through a memory map, where a full disk would end in a bus error.
    with bar, replacing(_images_file(stem)) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for images, of_images in source.chunks(split, shape[1]):
            if images.shape[1:] != shape or done + len(images) > count:
                raise DataError(f"{source.name}: promised {count} {split} images {shape}, gave other ones")
            file.write(images.tobytes())
            labels[done : done + len(images)] = of_images
            done += len(images)
            bar.update(len(images))
        _check_labels(source, split, labels[:done], count)
        # The labels come first: whoever finds the images finds them too.
        with replacing(_labels_file(stem)) as beside, beside.open("wb") as labels_file:
            np.save(labels_file, labels)


def _check_labels(source: Source, split: Split, labels: np.ndarray, count: int) -> None:
    classes = len(source.class_names)
    if len(labels) != count:
        raise DataError(f"{source.name}: promised {count} {split} images, gave {len(labels)}")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{source.name}: {split} labels reach from {labels.min()} to {labels.max()}, "
            f"but the data set has {classes} classes, numbered from 0"
        )
