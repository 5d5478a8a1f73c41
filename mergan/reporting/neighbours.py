"""Generated images and the real ones nearest to them: does the generator copy?"""

from __future__ import annotations

import numpy as np

from mergan.data.pool import ImagePool
from mergan.evaluation.sampling import sample_class
from mergan.output import plots
from mergan.reporting.drawing import Drawing, png, webp
from mergan.run.rebuilding import TrainedGenerator
from mergan.system.text import shown

COLUMNS = 10  # generated images of a class
MOST_CLASSES = 6
MOST_IMAGES = 5000  # real images of a class that are searched
PROBES = 100  # real images, for the distance between real ones
SEED = 0


def drawing(label: str, name: str, generator: TrainedGenerator, pool: ImagePool) -> Drawing:
    """Two rows per class: generated images, and the nearest real training image of each.

    Args:
        label: the name of the run.
        name: of the file.
        generator: after the last task.
        pool: the data of the run.
    """
    seen = list(generator.seen)
    places = np.linspace(0, len(seen) - 1, min(MOST_CLASSES, len(seen))).round().astype(int)
    classes = [seen[place] for place in places]
    rows, distances, between = [], [], []
    for each in classes:
        made = sample_class(generator, each, COLUMNS, generator.latent_dim, SEED).numpy()
        images = pool.train_set
        real = images.take(np.flatnonzero(images.labels == each)[:MOST_IMAGES])[0]
        found, nearest, own = _nearest(made, real)
        distances.append(found)
        between.append(own)
        called = pool.class_names[each]
        rows.append(plots.Row(called, made, "generated"))
        rows.append(plots.Row("", real[nearest], f"real, at {np.median(found):.2f}"))
    picture = plots.grid(rows)
    middle, usual = float(np.median(distances)), float(np.median(between))
    text = (
        f"Pairs of rows for the classes {', '.join(shown(pool.class_names[each]) for each in classes)}: "
        "generated images, and below each the nearest real training image."
    )
    note = f"median distance {middle:.3f}; between real images {usual:.3f}"
    return Drawing(name, label, text, png(picture), note, webp(picture))


def _nearest(made: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Distances and places of the real images nearest to generated ones, uint8 (n, C, S, S); and the median
    distance of a real image to its nearest other one.
    """
    from sklearn.neighbors import NearestNeighbors

    vectors = real.reshape(len(real), -1).astype(np.float32) / 255
    search = NearestNeighbors(n_neighbors=min(2, len(real)), algorithm="brute", n_jobs=1).fit(vectors)
    scale = np.sqrt(vectors.shape[1])
    found, places = search.kneighbors(made.reshape(len(made), -1).astype(np.float32) / 255, n_neighbors=1)
    probes = search.kneighbors(vectors[:PROBES])[0][:, -1] / scale
    return found[:, 0] / scale, places[:, 0], float(np.median(probes))
