"""Work of an evaluation so far: kept in the cache until its figures are printed, for one that is stopped or killed.

evaluations/<key>.safetensors   a pass over images, see `feature_pass`
evaluations/<key>.json          a comparison
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from hgfctl.engine.evaluation.comparison import Comparison
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import ImageSet
from hgfctl.engine.features.features import FeaturesId
from hgfctl.storage.atomic import replacing
from hgfctl.storage.cache import cache_folder

FORMAT = 1
"""Version of passes, and of how images become features; part of every key."""
COMPARISON_FORMAT = 2
"""Version of comparisons; part of their keys alone, so that features in the cache stay good."""


def content_key(*parts: object) -> str:
    """A name for what these things together decide."""
    return hashlib.sha256("\n".join(map(str, (FORMAT, *parts))).encode()).hexdigest()[:32]


def pass_file(images: ImageSet, id: FeaturesId) -> Path:
    """Where a pass over images is kept."""
    return cache_folder() / "evaluations" / f"{content_key(images.key, id)}.safetensors"


def comparison_file(images: ImageSet, id: FeaturesId, reference: FeatureSet, metrics: Iterable[str] = ()) -> Path:
    """Where a comparison is kept.

    Args:
        images, reference: the two sides.
        id: of the features.
        metrics: their identities.
    """
    digest = hashlib.sha256()
    features = () if reference.features is None else (reference.features,)
    for part in (reference.statistics.mean, reference.statistics.covariance, *features):
        digest.update(part.contiguous().numpy().data)
    sides = (images.key, id, images.name, reference.name, digest.hexdigest())
    return cache_folder() / "evaluations" / f"{content_key(COMPARISON_FORMAT, *sides, *metrics)}.json"


def read_comparison(path: Path) -> Comparison | None:
    """A comparison that was kept; None where there is none, or where it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Comparison(dict(content["values"]), tuple(content["warnings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Raises HgfctlError where it cannot be written."""
    with replacing(path) as partial:
        content = {"values": dict(comparison.values), "warnings": list(comparison.warnings)}
        partial.write_text(json.dumps(content), encoding="utf-8")
