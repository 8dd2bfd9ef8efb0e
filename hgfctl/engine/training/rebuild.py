"""From the snapshots of a run to a checkpoint with another length of average."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.training.power_ema import Profile, combination, misfit, power
from hgfctl.errors import RequestError
from hgfctl.storage import tensor_files
from hgfctl.storage.runs import Run, step_of


@dataclass(frozen=True)
class Rebuilt:
    """A checkpoint with another average, as it was made.

    Args:
        path: of the checkpoint.
        step: where the average ends.
        snapshots: how many averages were combined.
        misfit: relative distance of their combination from the profile wanted.
    """

    path: Path
    step: int
    snapshots: int
    misfit: float


def rebuild(run: Run, sigma_rel: float, step: int | None = None, out: Path | None = None) -> Rebuilt:
    """Combines a run's snapshots into the average of relative width `sigma_rel` that ends at `step`.

    Args:
        run: with snapshots.
        sigma_rel: relative width.
        step: one of the snapshots' steps; the last one's when None.
        out: where to write; in the run's emas/ when None.

    Raises:
        RequestError: no snapshots, none of that step, or a width that no power has.
        tensor_files.Damaged: a snapshot is.
    """
    found = {step_of(path): path for path in run.snapshots()}
    if not found:
        raise RequestError(
            f"{run.folder} holds no snapshots (emas/step-*.safetensors): train with train.power_emas=[0.05,0.1]"
        )
    last = max(found) if step is None else step
    if last not in found:
        raise RequestError(f"{run.folder} has no snapshot of step {last}; there are {', '.join(map(str, found))}")
    try:
        wanted = Profile(power(sigma_rel), last)
    except ValueError as error:
        raise RequestError(f"`sigma_rel`: {error}") from None
    paths = [path for at, path in found.items() if at <= last]
    widths = tensor_files.description(paths[-1]).get("widths", [])
    profiles = [Profile(power(w), step_of(path)) for path in paths for w in widths]
    weights = combination(profiles, wanted)
    total: dict[str, Tensor] = {}
    for i, path in enumerate(paths):
        tensors, description = tensor_files.load(path)
        for j, w in enumerate(widths):
            share = float(weights[i * len(widths) + j])
            for name, tensor in tensors.items():
                if name.startswith(f"{w}."):
                    key = name.removeprefix(f"{w}.")
                    total[key] = total.get(key, torch.zeros_like(tensor, dtype=torch.float64)) + share * tensor
    plain, _ = tensor_files.load(run.checkpoint_at(last))
    result = {name: total[name].to(tensor.dtype) if name in total else tensor for name, tensor in plain.items()}
    path = out or run.folder / "emas" / f"sigma-{sigma_rel:g}-step-{last:08d}.safetensors"
    kind = description["config"]["model"]["name"]
    del description["widths"], description["format"]
    tensor_files.save(path, result, {**description, "kind": kind, "sigma_rel": sigma_rel})
    return Rebuilt(path, last, len(profiles), misfit(profiles, weights, wanted))
