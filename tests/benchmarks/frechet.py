"""Our Frechet distance against scipy's matrix root (`sqrtm`), 2048 dimensions, N features: ratios of time, interleaved
in one process, and the difference. Features are correlated, with a total variance of about 170, as Inception's.

    python tests/benchmarks/frechet.py
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import sqrtm

from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import Statistics, statistics

DIM = 2048
ROUNDS = 3


def by_matrix_root(p: Statistics, q: Statistics) -> float:
    root = sqrtm((p.covariance @ q.covariance).numpy())
    spread = p.covariance.trace() + q.covariance.trace() - 2 * np.trace(root).real
    return float((p.mean - q.mean).square().sum() + spread)


def timed(distance: Callable[[Statistics, Statistics], float], p: Statistics, q: Statistics) -> tuple[float, float]:
    began = time.perf_counter()
    value = distance(p, q)
    return value, time.perf_counter() - began


def main() -> None:
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIM, DIM, generator=rng, dtype=torch.float64) / DIM**0.5
    mixing = mixing * torch.linspace(0.05, 0.5, DIM, dtype=torch.float64)

    def features(count: int, scale: float) -> Statistics:
        return statistics(scale * torch.randn(count, DIM, generator=rng, dtype=torch.float64) @ mixing)

    whole = features(20_000, 1.0)._replace(deviations=None)
    print(f"{'N':>6} {'against':22} {'distance':>10} {'difference':>11} {'seconds':>8} {'sqrtm':>7} {'ratio':>6}")
    for count in (10, 500, 1000, 2048, 6000):
        p = features(count, 1.1)
        references = {"features, as many": features(count, 1.0)}
        if count == 500:
            references["a covariance"] = whole
        if p.deviations is not None:
            references["covariances alone"] = references["features, as many"]._replace(deviations=None)
        for name, q in references.items():
            one = p._replace(deviations=None) if name == "covariances alone" else p
            rounds = [(timed(frechet_distance, one, q), timed(by_matrix_root, one, q)) for _ in range(ROUNDS)]
            ours, theirs = (min(pair[i][1] for pair in rounds) for i in (0, 1))
            value, other = rounds[0][0][0], rounds[0][1][0]
            times = f"{ours:8.3f} {theirs:7.2f} {theirs / ours:6.1f}"
            print(f"{count:6} {name:22} {value:10.4f} {value - other:11.1e} {times}", flush=True)


if __name__ == "__main__":
    main()
