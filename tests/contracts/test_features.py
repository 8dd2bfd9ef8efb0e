"""What all features promise that need no file."""

import pytest
import torch

from hgfctl.engine.features import FEATURES
from hgfctl.engine.features.features import Features
from hgfctl.engine.provided import DEVICE
from hgfctl.engine.randomness import generator

WITHOUT_FILES = [name for name in FEATURES if not FEATURES.has_option(name, "weights")]


@pytest.fixture(params=WITHOUT_FILES)
def features(request: pytest.FixtureRequest) -> Features:
    found: Features = FEATURES.build(request.param, {}, {DEVICE: torch.device("cpu")})
    return found


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (3, 40, 48)])
def test_features_are_vectors_of_the_stated_dimension_image_by_image(
    features: Features, shape: tuple[int, ...]
) -> None:
    images = torch.randint(0, 256, (5, *shape), generator=generator("features"), dtype=torch.uint8)
    found = features(images)
    assert found.shape == (5, features.dim(shape))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert torch.equal(features(images), found)
    assert torch.allclose(features(images[2:3]), found[2:3], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[1])


def test_their_name_is_that_of_the_registry(features: Features) -> None:
    assert features.id.name in WITHOUT_FILES
