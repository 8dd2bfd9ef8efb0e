"""What every metric promises, and every one that somebody adds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hgfctl.engine.data.density import DensityData
from hgfctl.engine.data.mixture import ring
from hgfctl.engine.evaluation.comparison import compare, compare_points
from hgfctl.engine.evaluation.feature_set import FeatureSet, collected
from hgfctl.engine.evaluation.metrics import METRICS
from hgfctl.engine.evaluation.metrics.choose import chosen
from hgfctl.engine.evaluation.metrics.metric import Metric, Values
from hgfctl.engine.evaluation.point_set import PointSet, draw
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError
from tests.conftest import Run

LARGER_IS_BETTER = {"precision", "recall", "density", "coverage"}
COUNT = 400


def cloud(seed: int, noise: float = 0.0) -> Tensor:
    """Points of a law in four dimensions, with noise."""
    rng = generator(seed, "contract")
    x = torch.randn(COUNT, 4, generator=rng, dtype=torch.float64) * torch.tensor([1.0, 0.5, 2.0, 1.0])
    return x + noise * torch.randn(x.shape, generator=rng, dtype=torch.float64)


def values(name: str, x: Tensor, y: Tensor) -> Values:
    metrics = {name: METRICS.build(name, {})}
    if metrics[name].needs == "points":
        found = compare_points(PointSet("x", x), PointSet("y", y), metrics)
    else:
        found = compare(collected("x", None, x), collected("y", None, y), metrics)
    answer = found.values[name]
    assert answer is not None
    return answer


def pooled(name: str, x: Tensor, y: Tensor, times: int = 1) -> dict[str, float | None]:
    found: dict[str, float | None] = METRICS.build(name, {}).pooled([values(name, x, y)] * times)
    return found


@pytest.fixture(params=list(METRICS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_set_is_nearest_to_itself_and_noise_makes_it_worse(name: str) -> None:
    """The first key, and all of PRDC's; by a factor that no draw of this size would give by chance."""
    reference = cloud(0)
    rows = [
        pooled(name, reference, reference),
        *(pooled(name, cloud(1, noise), reference) for noise in (0.0, 2.0, 20.0)),
    ]
    for key in METRICS[name].keys if METRICS[name].keys[0] in LARGER_IS_BETTER else METRICS[name].keys[:1]:
        itself, near, far, farthest = (row[key] for row in rows)
        assert None not in (itself, near, far, farthest)
        if key == "recall":  # the balls of scattered items are large, and hold what is real
            assert itself == 1
        elif key in LARGER_IS_BETTER:
            assert itself >= near > far > farthest  # type: ignore[operator]
            assert itself >= 1  # type: ignore[operator]
        else:
            assert itself <= near < far < farthest  # type: ignore[operator]


def test_order_does_not_matter_and_repetition_changes_nothing(name: str) -> None:
    x, y = cloud(1, 0.3), cloud(0)
    mixed = torch.randperm(COUNT, generator=generator("mixed"))
    first = values(name, x, y)
    assert values(name, x, y) == first
    for key, value in values(name, x[mixed], y[mixed.flip(0)]).items():
        if key == "at_infinity" or value is None:  # its parts are random, and others in another order
            continue
        assert value == pytest.approx(first[key], rel=1e-5, abs=1e-9)


def test_json_has_the_declared_keys_and_plain_numbers(name: str) -> None:
    for times in (1, 3):
        row = pooled(name, cloud(1), cloud(0), times)
        assert tuple(row) == METRICS[name].keys
        assert json.loads(json.dumps(row)) == row
    metric = METRICS.build(name, {})
    assert metric.text(row)
    assert metric.called(None)
    assert metric.details(row)
    assert metric.drawn(row)[0] == row[metric.keys[0]]
    assert metric.identity == METRICS.build(name, {}).identity
    empty = dict.fromkeys(metric.keys)
    assert metric.details(empty) == [] or name in ("frechet", "sliced-wasserstein", "mmd")


def test_options_change_the_identity() -> None:
    assert METRICS.build("prdc", {"k": 4}).identity != METRICS.build("prdc", {}).identity
    with pytest.raises(RequestError, match="metric prdc: k=0"):
        METRICS.build("prdc", {"k": 0})


def test_names_are_guessed_and_misfits_refused() -> None:
    with pytest.raises(RequestError, match="unknown metric 'kidd'; did you mean 'kid'"):
        chosen(["kidd"], FeatureSet.offers)
    with pytest.raises(RequestError, match="`metrics=mmd`: it is for vectors"):
        chosen(["mmd"], FeatureSet.offers)
    with pytest.raises(RequestError, match="`metrics=kid`: it is for images"):
        chosen(["kid"], PointSet.offers)
    assert list(chosen(["kid", "frechet"], FeatureSet.offers)) == ["frechet", "kid"]
    assert list(chosen(["prdc", "kid"], FeatureSet.offers)) == ["prdc", "kid"]


class MeanShift(Metric[FeatureSet]):
    """The distance of the means: a metric that only this test knows."""

    label, needs, keys = "shift", "statistics", ("shift",)

    def compute(self, items: FeatureSet, reference: FeatureSet) -> Values:
        return {"shift": float((items.statistics.mean - reference.statistics.mean).norm())}


def test_a_metric_of_ones_own_is_one_class_and_one_line(
    inside: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS._entries, "mean-shift", f"{__name__}:MeanShift")
    np.savez(tmp_path / "a.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez(tmp_path / "b.npz", mu=np.full(3, 2.0), sigma=np.eye(3))
    command = ["eval-fid", "a.npz", "--ref", "b.npz"]
    row = json.loads(inside(*command, "--metrics", "mean-shift,frechet", "--json").stdout)
    assert row["shift"] == pytest.approx(12**0.5)
    assert row["fid"] == pytest.approx(12)
    assert row["kid"] is None
    assert row["precision"] is None
    alone = inside(*command, "--metrics", "mean-shift")
    assert alone.stdout == "shift(unnamed features) 3.464\n"
    assert json.loads(inside(*command, "--json").stdout)["shift"] is None
    assert "did you mean 'mean-shift'" in inside(*command, "--metrics", "mean-shft", status=2).stderr


def test_kid_alone_is_the_result_and_fid_where_it_is_chosen(inside: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGFCTL_CACHE", "cache")
    command = ["eval-fid", "digits", "--ref", "digits", "--split", "held-out", "--features", "pixels", "--num", "90"]
    row = json.loads(inside(*command, "--metrics", "kid", "--json").stdout)
    assert row["fid"] is None
    assert row["kid"] is not None
    assert inside(*command, "--metrics", "kid").stdout.startswith("KID(pixels) ")
    both = inside(*command, "--metrics", "kid,frechet")
    assert both.stdout.startswith("FID(pixels) ")
    assert "KID" in both.stderr
    assert "precision" not in both.stderr


def test_vectors_take_metrics_too(inside: Run) -> None:
    command = ["eval-fid", "ring", "--ref", "ring", "--features", "none", "--num", "200"]
    assert inside(*command, "--metrics", "mmd").stdout.startswith("MMD^2 ")
    row = json.loads(inside(*command, "--metrics", "mmd", "--json").stdout)
    assert row["sliced_wasserstein"] is None
    assert "`" not in inside(*command, "--metrics", "kid", status=2).stderr


def test_the_floor_is_another_draw_of_the_same_law() -> None:
    law = ring()
    reference = PointSet("ring", draw(law, 300, 1), lambda count: draw(law, count, 2))
    found = METRICS.build("sliced-wasserstein", {}).compute(PointSet("x", draw(law, 300, 2)), reference)
    assert found["distance"] == found["floor"]
    assert isinstance(law, DensityData)
