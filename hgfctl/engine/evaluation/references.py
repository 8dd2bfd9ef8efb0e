"""Statistics of reference images, made once: kept in the cache by content, features and number."""

import hashlib
from pathlib import Path

from hgfctl.cache import cache_folder
from hgfctl.engine.evaluation.image_sets import ImageSet
from hgfctl.engine.features.features import FeaturesId


def cached_statistics(images: ImageSet, id: FeaturesId) -> Path:
    """Where the features of a set are kept, or will be."""
    key = hashlib.sha256(f"{images.key}\n{id}".encode()).hexdigest()[:32]
    return cache_folder() / "statistics" / f"{key}.npz"
