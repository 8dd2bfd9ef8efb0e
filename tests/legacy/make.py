"""Makes everything in this folder with the program as it was; `python -m tests.legacy.make` in a checkout of then.

It has been run once, and is kept to tell how the files came about: files made by a later program would show nothing.
"""

import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

import numpy as np
import torch
import yaml
from hgfctl.engine.models.unet import UNet
from safetensors.torch import load_file

from hgfctl import __version__
from hgfctl.cli import app
from hgfctl.config import Config, InitSection, SampleSection, TrainSection
from hgfctl.presets import names
from tests.legacy import cases
from tests.legacy.interface import interface
from tests.snapshots import network, snapshot, write

KEYS: dict[str, str] = {
    "images": "4000", "batch": "40", "accumulate": "2", "lr": "0.1", "ramp": "5", "decay": "0.25", "betas": "[0.8,0.9]",
    "half_life": "70", "seed": "3", "precision": "bf16", "recompute": "true", "compile": "true", "power_emas": "[0.1]",
    "log_every": "7", "tensorboard": "true", "save_every": "400", "sample_every": "800", "save_minutes": "2.5",
    "keep": "3",
    "nfe": "33", "sampler": "heun", "grid": "rho", "step": "0.2", "flight": "1.1", "friction": "2", "tolerance": "1e-4",
    "churn": "3", "churn_levels": "[0.1,30]", "churn_noise": "1.02", "restart": "2", "restart_levels": "[0.1,0.4]",
    "restart_steps": "5",
    "path": "runs/teacher", "checksum": "abc",
    "description": "another", "data": "moons", "augment": "flip", "flow": "diffusion", "network": "perceptron",
    "model": "{name: noise-predictor, clock: {name: vp}}", "loss": "consistency", "times": "uniform", "preset": "mine",
}  # fmt: skip
"""Key of a section -> a value that it takes, and that changes ring-oscillation."""


def told(*arguments: str) -> str:
    """What the program prints, asked so; it must have done it."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["hgfctl", *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        status = app.status()
    if status != 0:
        raise SystemExit(f"{' '.join(arguments)}\n{err.getvalue()}")
    return out.getvalue()


def make_run(name: str, keep_state: bool) -> None:
    """Trains a run, and keeps what is needed of it."""
    facts = json.loads(told(*cases.trained_by(name), "--runs", "made"))
    made, kept = Path(facts["run"]), Path("runs") / name
    shutil.copytree(made, kept)
    shutil.rmtree(kept / "samples")
    if not (kept / "emas").exists():  # their averages are rebuilt with the checkpoints of then
        for old in sorted((kept / "checkpoints").iterdir())[:-1]:
            old.unlink()
    if not keep_state:
        shutil.rmtree(kept / "state")


def resumed(name: str) -> tuple[Any, Path]:
    """A run that goes on, in a copy of its own: what the program said, and the checkpoint it came to.

    Trained as long in one go it has the same weights, which is seen to here.
    """
    kept = Path("runs") / name
    shutil.move(kept, "aside")
    shutil.copytree("aside", kept)
    facts = json.loads(told(*cases.resumed_by(name)))
    checkpoint = Path(shutil.copy(facts["checkpoint"], f"{name}.safetensors"))
    shutil.rmtree(kept)
    shutil.move("aside", kept)
    images = f"train.images={cases.RESUMED[name]}"
    whole = json.loads(told(*cases.trained_by(name), "--set", images, "--runs", "whole"))
    one, two = load_file(checkpoint), load_file(whole["checkpoint"])
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one), f"{name} resumes to other weights"
    return cases.lasting(facts), checkpoint


def write_snapshots() -> None:
    """Two snapshots as their authors' programs would have pickled them, with random weights."""
    sizes: dict[str, Any] = {"model_channels": 4, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
    vp = {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5}
    for name, kind, facts, classes, told_of in (
        ("vp", "VPPrecond", vp, 10, 0),
        ("edm", "EDMPrecond", {"sigma_data": 0.5}, 0, 9),
    ):
        torch.manual_seed(classes)
        raw = UNet((3, 8, 8), classes, told_of, **sizes)
        with torch.no_grad():
            for p in raw.parameters():
                p.copy_(torch.randn_like(p) * (0.8 / p[0].numel() ** 0.5 if p.ndim > 1 else 0.3))
        content = network("SongUNet", raw.state_dict(), (3, 8, 8), classes, augment_dim=told_of, **sizes)
        write(Path(f"{name}.pkl"), snapshot(kind, content, **facts))


def keys() -> dict[str, dict[str, str]]:
    """Every key of every section of a configuration, with a value."""
    sections = {"": Config, "train.": TrainSection, "sample.": SampleSection, "init.": InitSection}
    return {
        where: {key: KEYS[key] for key in section.model_fields if where or f"{key}." not in sections}
        for where, section in sections.items()
    }


def resolved(preset: str) -> Any:
    """A preset in full, as the program shows it."""
    return yaml.safe_load(told("presets", "show", preset))


def main() -> None:
    """Makes all files in a new folder, then puts them in the place of the old ones."""
    torch.set_num_threads(1)
    os.chdir(tempfile.mkdtemp())
    Path("mine.yaml").write_text(cases.MINE, encoding="utf-8")
    write_snapshots()
    facts: dict[str, Any] = {"resumed": {}, "samples": {}, "others": {}}
    arrays: dict[str, np.ndarray] = {}
    for name in cases.RUNS:
        make_run(name, name in cases.RESUMED)
        if name == "oscillation":
            told("sample", f"runs/{name}", "--optimize-grid", "--sampler", "heun", "--nfe", "6", "--out", "x.npz")
    keep = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    for run, several in cases.SAMPLES.items():
        for options in several:
            facts["samples"][f"{run} {options}"] = cases.lasting(json.loads(told(*cases.sampled_by(run, options))))
            arrays |= {f"{run} {options}|{key}": one for key, one in cases.arrays(Path("out.npz")).items()}
    for several in cases.OTHERS.values():
        for command in several:
            said = json.loads(told(*cases.told_by(command)))
            facts["others"][command] = cases.lasting(said)
            if cases.keeps_arrays(command, said):
                arrays |= {f"{command}|{key}": one for key, one in cases.arrays(Path(said["output"])).items()}
        for path in [path for path in Path("runs").rglob("*") if path.is_file() and path not in keep]:
            path.unlink()
    checkpoints = {}
    for name in cases.RESUMED:
        facts["resumed"][name], checkpoints[name] = resumed(name)
    known = {
        **interface(),
        "keys": keys(),
        "presets": {name: resolved(name) for name in names()},
        "mine": resolved("mine.yaml"),
    }
    for folder in ("runs", "resumed", "snapshots"):
        shutil.rmtree(cases.HERE / folder, ignore_errors=True)
    for path, content in keep.items():
        (cases.HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (cases.HERE / path).write_bytes(content)
    for folder, files in (("resumed", checkpoints.values()), ("snapshots", Path().glob("*.pkl"))):
        (cases.HERE / folder).mkdir()
        for path in files:
            shutil.copy(path, cases.HERE / folder / path.name)
    np.savez_compressed(cases.HERE / "arrays.npz", **arrays)
    made = {"hgfctl": __version__, **cases.machine()}
    _write("facts.json", {"made": made, **facts})
    _write("interface.json", {"made": made, **known})


def _write(name: str, content: Any) -> None:
    (cases.HERE / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
