"""What an earlier hgfctl wrote still loads, samples and goes on as it did, and what could be asked of it still can.

The files of tests/legacy were made by that version, see its `make`. Where torch (major and minor version), the
instructions that it uses and the way this machine rounds are those of then, arrays and weights are compared bit for
bit, and figures to 1e-5; elsewhere arrays to 1e-4 of their size (images to one level of 256), weights to 1e-3, for Adam
makes whole steps of gradients that are nothing but rounding, and figures to 1e-2.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from tests.conftest import Run
from tests.legacy import cases
from tests.legacy.interface import interface

FACTS = json.loads((cases.HERE / "facts.json").read_text(encoding="utf-8"))
KNOWN = json.loads((cases.HERE / "interface.json").read_text(encoding="utf-8"))
MACHINE = cases.machine()
EXACT = all(FACTS["made"][key] == value for key, value in MACHINE.items())
COUNTS = {"evaluations", "nfe", "most_nfe"}
"""Of solvers that keep a tolerance: a step more or less, as rounding has it."""


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Items and latents of then, by the command that made them."""
    return cases.arrays(cases.HERE / "arrays.npz")


def test_results_are_compared_bit_for_bit() -> None:
    """Skipped, so that it is seen, where they cannot be."""
    if not EXACT:
        pytest.skip(f"compared with tolerances: made on {FACTS['made']}, and this is {MACHINE}")


@pytest.mark.parametrize("run", cases.SAMPLES)
def test_an_old_run_is_sampled_as_it_was(inside: Run, tmp_path: Path, arrays: dict[str, np.ndarray], run: str) -> None:
    _copy(run, tmp_path)
    for options in cases.SAMPLES[run]:
        called = f"{run} {options}"
        facts = json.loads(inside(*cases.sampled_by(run, options)).stdout)
        _check_within(FACTS["samples"][called], cases.lasting(facts), called)
        _check_arrays(arrays, called, tmp_path / "out.npz")


@pytest.mark.parametrize("run", cases.OTHERS)
def test_other_commands_say_what_they_said(
    inside: Run, tmp_path: Path, arrays: dict[str, np.ndarray], run: str
) -> None:
    _copy(run, tmp_path)
    for command in cases.OTHERS[run]:
        facts = json.loads(inside(*cases.told_by(command)).stdout)
        _check_within(FACTS["others"][command], cases.lasting(facts), command)
        if cases.keeps_arrays(command, facts):
            _check_arrays(arrays, command, tmp_path / facts["output"])


@pytest.mark.parametrize("run", cases.RESUMED)
def test_an_old_run_goes_on_to_the_same_weights(inside: Run, tmp_path: Path, run: str) -> None:
    _copy(run, tmp_path)
    facts = json.loads(inside(*cases.resumed_by(run)).stdout)
    _check_within(FACTS["resumed"][run], cases.lasting(facts), run)
    _check_weights(cases.HERE / "resumed" / f"{run}.safetensors", tmp_path / facts["checkpoint"])


@pytest.mark.parametrize("run", [run for run in cases.RUNS if run not in cases.RESUMED])
def test_a_run_from_the_start_comes_to_the_same_weights(inside: Run, tmp_path: Path, run: str) -> None:
    _copy("hsm", tmp_path)  # the score that a force is learned from
    facts = json.loads(inside(*cases.trained_by(run), "--runs", "made").stdout)
    (kept,) = (cases.HERE / "runs" / run / "checkpoints").glob("*.safetensors")
    _check_weights(kept, tmp_path / facts["checkpoint"])


def test_every_command_and_option_is_still_there() -> None:
    new = interface()["commands"]
    for path, old in KNOWN["commands"].items():
        assert path in new
        found = new[path]
        for i, argument in enumerate(old["arguments"]):
            _check_parameter(argument, found["arguments"][i], f"{path}, argument {i}")
        assert not any(more["required"] for more in found["arguments"][len(old["arguments"]) :])
        for spelling, option in old["options"].items():
            assert spelling in found["options"], f"{path} {spelling}"
            _check_parameter(option, found["options"][spelling], f"{path} {spelling}")
        added = found["options"].keys() - old["options"].keys()
        assert not any(found["options"][spelling]["required"] for spelling in added), path


def test_every_component_and_option_is_still_there() -> None:
    new = interface()["components"]
    for place, names in KNOWN["components"].items():
        assert new[place].keys() >= names.keys(), place
        for name, options in names.items():
            found = new[place][name]
            assert found == {**found, **options}, f"{place} {name}"
            assert "needed" not in (found[option] for option in found.keys() - options.keys()), f"{place} {name}"


def test_every_key_is_still_taken(inside: Run) -> None:
    """And changes what a preset comes to."""
    plain = inside("presets", "show", "ring-oscillation").stdout
    for section, keys in KNOWN["keys"].items():
        whole = ["--set", f"init.path={keys['path']}"] if section == "init." else []
        for key, value in keys.items():
            shown = inside("presets", "show", "ring-oscillation", *whole, "--set", f"{section}{key}={value}").stdout
            assert shown != plain, f"{section}{key}"


@pytest.mark.parametrize("letter", sorted({name[0] for name in KNOWN["presets"]}))
def test_presets_come_to_what_they_came_to(inside: Run, letter: str) -> None:
    for name, old in KNOWN["presets"].items():
        if name.startswith(letter):
            _check_resolved(inside, old, name)


def test_a_preset_of_a_user_s_comes_to_what_it_came_to(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(cases.MINE, encoding="utf-8")
    _check_resolved(inside, KNOWN["mine"], "mine.yaml")


def test_configurations_of_old_runs_are_read_as_presets(inside: Run) -> None:
    for name in cases.RUNS:
        file = cases.HERE / "runs" / name / "config.yaml"
        _check_resolved(inside, yaml.safe_load(file.read_text(encoding="utf-8")), str(file))


def _copy(run: str, folder: Path) -> None:
    """A run, where there is one of this name, and the snapshots into a folder of the test's own."""
    if run in cases.RUNS:
        shutil.copytree(cases.HERE / "runs" / run, folder / "runs" / run)
    for file in (cases.HERE / "snapshots").iterdir():
        shutil.copy(file, folder)


def _check_resolved(inside: Run, old: dict[str, Any], preset: str) -> None:
    """Every value is where it was; one of the sample section may have moved, if to set the old ones changes nothing.

    Consistency models have become a model of their own, which older files name by their loss alone, and whose own
    sampler is what `auto` means.
    """
    old = cases.leaves(old)
    if old.get("loss.name") == "consistency":
        assert old["model.name"] == "hvp"
        old["model.name"] = "consistency"
    shown = cases.leaves(yaml.safe_load(inside("presets", "show", preset).stdout))
    if shown["model.name"] == "consistency" and shown["sample.sampler.name"] == "auto":
        shown["sample.sampler.name"] = "consistency"
    moved = {key for key in old.keys() - shown.keys() if key.startswith("sample.")}
    assert shown == {**shown, **{key: value for key, value in old.items() if key not in moved}}, preset
    if moved:
        told = [word for key in sorted(moved) for word in ("--set", f"{key}={json.dumps(old[key])}")]
        assert cases.leaves(yaml.safe_load(inside("presets", "show", preset, *told).stdout)) == shown, preset


def _check_parameter(old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Whatever was said before can be said, and what was left out means the same."""
    assert new["required"] <= old["required"], where
    for key in ("many", "flag", "default"):
        assert new[key] == old[key], f"{where}: {key}"
    assert not new["choices"] or set(new["choices"]) >= set(old["choices"]), where


def _check_within(old: Any, new: Any, where: str) -> None:
    """JSON of then is part of that of now: every key, and its value."""
    if isinstance(old, dict):
        assert isinstance(new, dict), where
        assert new.keys() >= old.keys(), f"{where}: {old.keys() - new.keys()}"
        adaptive = isinstance(old.get("nfe"), float)
        for key, value in old.items():
            if EXACT or key not in COUNTS or not adaptive:
                _check_within(value, new[key], f"{where}: {key}")
    elif isinstance(old, list):
        assert isinstance(new, list), where
        assert len(new) == len(old), where
        for i, (value, found) in enumerate(zip(old, new, strict=True)):
            _check_within(value, found, f"{where}[{i}]")
    elif isinstance(old, float):
        close = math.isclose(new, old, rel_tol=1e-5 if EXACT else 1e-2, abs_tol=1e-9 if EXACT else 1e-3)
        assert close, f"{where}: {new} is not {old}"
    else:
        assert new == old, where


def _check_arrays(old: dict[str, np.ndarray], called: str, file: Path) -> None:
    """All arrays that this command wrote then."""
    new = cases.arrays(file)
    wanted = {key.rpartition("|")[2]: array for key, array in old.items() if key.rpartition("|")[0] == called}
    assert wanted, called
    assert new.keys() >= wanted.keys(), called
    for name, array in wanted.items():
        _check_equal(array, new[name], f"{called}: {name}")


def _check_weights(old: Path, new: Path) -> None:
    """Every tensor of one checkpoint is in the other."""
    kept, made = load_file(old), load_file(new)
    assert made.keys() >= kept.keys()
    for name, tensor in kept.items():
        _check_equal(
            tensor.numpy(), made[name].numpy(), f"{old.parent.name}/{old.name}: {name}", tolerance=1e-3, size=1
        )


def _check_equal(
    old: np.ndarray, new: np.ndarray, where: str, tolerance: float = 1e-4, size: float | None = None
) -> None:
    """Bit for bit, or to a tolerance, relative to each number and to a size; the largest number when left out."""
    assert (new.dtype, new.shape) == (old.dtype, old.shape), where
    if EXACT or old.dtype == np.int64:
        np.testing.assert_array_equal(new, old, where)
    elif old.dtype == np.uint8:
        assert np.abs(new.astype(int) - old.astype(int)).max() <= 1, where
    else:
        np.testing.assert_allclose(
            new, old, rtol=tolerance, atol=tolerance * (size or np.abs(old).max()), err_msg=where
        )
