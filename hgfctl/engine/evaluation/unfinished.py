"""What an evaluation has done so far: kept in the cache until its figures are said, for one that is stopped or killed.

evaluations/<key>.safetensors   a pass over images, see `feature_pass`
evaluations/<key>.json          a comparison
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from hgfctl.engine.evaluation.comparison import Comparison
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import ImageSet
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.statistics.kernel import Discrepancy
from hgfctl.engine.statistics.neighbours import Coverage
from hgfctl.storage.atomic import replacing
from hgfctl.storage.cache import cache_folder

FORMAT = 1
"""Version of what is kept, and of how images become features; part of every key."""


def content_key(*parts: object) -> str:
    """A name for what these things together decide."""
    return hashlib.sha256("\n".join(map(str, (FORMAT, *parts))).encode()).hexdigest()[:32]


def pass_file(images: ImageSet, id: FeaturesId) -> Path:
    """Where a pass over images is kept."""
    return cache_folder() / "evaluations" / f"{content_key(images.key, id)}.safetensors"


def comparison_file(images: ImageSet, id: FeaturesId, reference: FeatureSet) -> Path:
    """Where a comparison is kept."""
    digest = hashlib.sha256()
    features = () if reference.features is None else (reference.features,)
    for part in (reference.statistics.mean, reference.statistics.covariance, *features):
        digest.update(part.contiguous().numpy().data)
    key = content_key(images.key, id, images.name, reference.name, digest.hexdigest())
    return cache_folder() / "evaluations" / f"{key}.json"


def read_comparison(path: Path) -> Comparison | None:
    """What was found, if it was and is whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kid, coverage = found["kid"], found["coverage"]
        return Comparison(
            frechet=found["frechet"],
            at_infinity=found["at_infinity"],
            kid=None if kid is None else Discrepancy(*kid),
            coverage=None if coverage is None else Coverage(*coverage),
            warnings=tuple(found["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Raises HgfctlError where it cannot be written."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(asdict(comparison)), encoding="utf-8")
