"""Training: schedules by formula, resuming to the bit, files that are whole or not there."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hgfctl.config import Config, TrainSection
from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.experiment import experiment
from hgfctl.engine.training.events import Saved, Stepped
from hgfctl.engine.training.schedules import ema_weight, learning_rate
from hgfctl.engine.training.session import Session
from hgfctl.engine.training.trainer import Diverged, Trainer
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.presets import load
from hgfctl.storage import tensor_files
from hgfctl.storage.atomic import replacing, replacing_folder
from hgfctl.storage.runs import Run, checkpoint_file, step_of

TINY = [
    "network.width=16",
    "network.blocks=1",
    "train.images=640",
    "train.batch=64",
    "train.save_every=128",
    "train.log_every=3",
]
CPU = torch.device("cpu")


def trainer(*settings: str, preset: str = "ring-oscillation") -> Trainer:
    return Trainer(experiment(load(preset, [*TINY, *settings]), CPU))


def session(run: Run, *settings: str) -> Session:
    return Session(trainer(*settings), run)


def weights(path: Path) -> dict[str, Tensor]:
    return tensor_files.load(path)[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_learning_rate_rises_and_falls_linearly() -> None:
    train = TrainSection(images=1000, batch=10, lr=2.0, ramp=100, decay=0.5)
    assert learning_rate(train, 40) == pytest.approx(2.0 * 0.5)
    assert learning_rate(train, 300) == 2.0
    assert learning_rate(train, 750) == pytest.approx(1.0)
    assert learning_rate(train, 1000) == 0


def test_ema_halves_in_its_half_life() -> None:
    train = TrainSection(images=10**6, batch=100, half_life=1000)
    assert ema_weight(train, 10**6) ** 10 == pytest.approx(0.5)
    assert ema_weight(train, 2000) == pytest.approx(0.5)  # 5 % of 2000 images is one batch


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(accumulate: int) -> None:
    whole, parts = trainer(), trainer(f"train.accumulate={accumulate}")
    assert whole.advance() == pytest.approx(parts.advance(), rel=1e-6)
    for (name, p), q in zip(parts.model.named_parameters(), whole.model.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, q.grad, atol=1e-7, rtol=1e-5, msg=name)


def test_training_lowers_the_loss() -> None:
    learner = trainer("train.batch=256", "train.images=200_000", "network.width=64", "train.ramp=0")
    losses = [learner.advance() for _ in range(150)]
    assert losses[0] == pytest.approx(1, abs=0.15)  # preconditioned: an ignorant network's loss is 1
    assert sum(losses[-30:]) / 30 < 0.9


@pytest.mark.parametrize("preset", ["ring-oscillation", "digits-oscillation"])
@pytest.mark.parametrize("stop", [1, 4])
def test_resuming_is_exact(preset: str, stop: int) -> None:
    """Through safetensors and back, with dropout and accumulation."""
    tiny = {
        "ring-oscillation": TINY,
        "digits-oscillation": ["network.model_channels=8", "network.dropout=0.2", "train.batch=16", "train.images=160"],
    }[preset]
    config = load(preset, [*tiny, "train.accumulate=2"])
    straight, first, second = (Trainer(experiment(config, CPU)) for _ in range(3))
    for _ in range(8):
        straight.advance()
    for _ in range(stop):
        first.advance()
    second.restore({name: value.clone() for name, value in first.state().items()}, stop)
    for _ in range(8 - stop):
        second.advance()
    assert same(straight.state(), second.state())


def test_a_session_writes_what_it_promises(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "ring-oscillation")
    training = session(run)
    training.write_config()
    events = list(training.events(stop=lambda: False))
    assert [event.checkpoint.stem for event in events if isinstance(event, Saved)] == [
        f"step-{n:08d}" for n in (2, 4, 6, 8, 10)
    ]
    rows = run.read_log()
    assert [row["step"] for row in rows] == [3, 6, 9, 10]
    assert all({"images", "loss", "lr", "seconds", "images_per_second"} <= row.keys() for row in rows)
    assert len(list((run.folder / "state").iterdir())) == 2
    assert (run.samples / "step-00000010.png").stat().st_size > 1000
    model = read_checkpoint(checkpoint_file(run.folder), CPU)
    assert (model.step, model.images, model.shape, model.classes) == (10, 640, (2,), 0)
    assert same(model.hvp.network.state_dict(), dict(training.trainer.ema.network.state_dict()))


def finished(root: Path) -> Run:
    run = Run.create(root, "ring-oscillation")
    training = session(run)
    training.write_config()
    list(training.events(stop=lambda: False))
    return run


def test_stopping_and_resuming_leaves_no_trace(tmp_path: Path) -> None:
    """Weights, states and log of a run stopped at step 5 and resumed equal those of one that was not."""
    whole, run = finished(tmp_path / "whole"), Run.create(tmp_path / "cut", "ring-oscillation")
    part = session(run)
    for event in part.events(stop=lambda: part.trainer.step == 5):
        del event
    assert run.checkpoint_at(5).exists()
    again = session(run)
    assert again.resume(on_damage=pytest.fail)
    assert again.trainer.step == 5
    list(again.events(stop=lambda: False))
    assert same(weights(run.checkpoint_at(10)), weights(whole.checkpoint_at(10)))
    assert same(weights(run.state(10)), weights(whole.state(10)))
    assert [(row["step"], row["loss"], row["lr"]) for row in run.read_log()] == [
        (row["step"], row["loss"], row["lr"]) for row in whole.read_log()
    ]


@pytest.mark.parametrize("folder", ["checkpoints", "state"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_files_are_named_and_the_one_before_is_used(tmp_path: Path, folder: str, damage: str) -> None:
    run = finished(tmp_path)
    path = run.folder / folder / "step-00000010.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 4
    path.write_bytes({"truncated": content[:-1000], "flipped": content, "empty": b""}[damage])
    said: list[str] = []
    again = session(run)
    assert again.resume(on_damage=said.append)
    assert again.trainer.step == 8
    assert len(said) == 1
    assert str(path) in said[0]
    assert "damaged" in said[0]


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, position: float, bit: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.safetensors"
    tensor_files.save(path, {"w": torch.arange(6.0), "b": torch.ones(2, 3)}, {"kind": "hvp", "step": 3})
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        tensors, description = tensor_files.load(path)
    except HgfctlError:
        return
    # A space of the header's padding may change without changing what it says.
    assert same(tensors, {"w": torch.arange(6.0), "b": torch.ones(2, 3)})
    assert description == {"format": 1, "kind": "hvp", "step": 3}


def test_other_peoples_tensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "theirs.safetensors")
    with pytest.raises(RequestError, match="not written by hgfctl"):
        tensor_files.load(tmp_path / "theirs.safetensors")
    tensor_files.save(tmp_path / "later.safetensors", {"w": torch.ones(2)}, {"format": 99})
    with pytest.raises(RequestError, match="later hgfctl"):
        tensor_files.load(tmp_path / "later.safetensors")


def test_a_loss_that_is_not_finite_stops_before_it_spoils_the_weights(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "ring-oscillation")
    training = session(run)
    with pytest.raises(Diverged, match=r"(?s)step 6 and in the 4 after.*last good checkpoint is .*step-00000004"):
        for event in training.events(stop=lambda: False):
            if isinstance(event, Saved) and training.trainer.step == 4:
                _poison(training)
    assert all(bool(value.isfinite().all()) for value in training.trainer.state().values())


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path) -> None:
    """Three bad batches: the weights do not move, training goes on, the log and a resumed run know of them."""
    run = Run.create(tmp_path, "ring-oscillation")
    training = session(run, "train.log_every=1")
    trainer, good = training.trainer, training.trainer.experiment.data.batch
    for event in training.events(stop=lambda: False):
        if isinstance(event, Stepped) and trainer.step == 4:
            _poison(training)
        if isinstance(event, Stepped) and trainer.step == 7:
            trainer.experiment.data.batch = good  # type: ignore[method-assign]
    assert trainer.step == 10
    assert trainer.skipped in (3, 4)  # one batch is read ahead
    assert trainer.failing == 0
    rows = run.read_log()
    assert rows[-1]["skipped"] == trainer.skipped
    assert all(math.isfinite(row["loss"]) and row["gradient_norm"] > 0 for row in rows)
    again = session(run)
    assert again.resume(on_damage=pytest.fail)
    assert again.trainer.skipped == trainer.skipped
    assert same(again.trainer.state(), trainer.state())


def test_the_state_is_saved_after_some_minutes_and_makes_room(tmp_path: Path) -> None:
    """States in passing go with the next ones, with their checkpoints; those that were written to last stay."""
    run = Run.create(tmp_path, "ring-oscillation")
    training = session(run, "train.save_minutes=1e-9", "train.save_every=320", "train.keep=3")
    list(training.events(stop=lambda: False))
    assert [step_of(path) for path in run.checkpoints()] == [5, 8, 9, 10]
    assert run.resumable_steps() == [10, 9, 8]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_other_precisions_keep_weights_and_losses_in_float32(precision: str) -> None:
    settings = ["network.model_channels=8", "train.batch=16", "train.images=160", "train.ramp=0", "train.lr=0.01"]
    exact = Trainer(experiment(load("digits-oscillation", settings), CPU))
    rough = Trainer(experiment(load("digits-oscillation", [*settings, f"train.precision={precision}"]), CPU))
    for _ in range(5):
        one, other = exact.advance(), rough.advance()
    assert other == pytest.approx(one, rel=0.03)
    assert (one == other) == (precision == "tf32")  # which CPUs do not have
    assert all(value.dtype == torch.float32 for value in rough.state().values())


def test_augmented_training_resumes_to_the_same_bits() -> None:
    settings = ["network.model_channels=8", "network.dropout=0.2", "train.batch=16", "augment.name=geometric"]
    config = load("digits-oscillation", [*settings, "augment.p=0.5", "train.power_emas=[0.05]"])
    straight, first, second = (Trainer(experiment(config, CPU)) for _ in range(3))
    for _ in range(4):
        straight.advance()
    for _ in range(2):
        first.advance()
    second.restore({name: value.clone() for name, value in first.state().items()}, 2)
    for _ in range(2):
        second.advance()
    assert same(straight.state(), second.state())


def test_augmentation_is_refused_where_it_does_not_fit() -> None:
    for settings, words in {
        ("augment=flip",): "is for images",
        ("augment=geometric", "data=digits", "network.name=mlp"): "cannot be told",
        ("augment=flop", "data=digits", "network.name=unet"): "did you mean 'flip'",
    }.items():
        with pytest.raises(RequestError, match=words):
            experiment(load("ring-oscillation", settings), CPU)


def _poison(training: Session) -> None:
    """From now on the data are not numbers."""
    from hgfctl.engine.data.dataset import Batch

    training.trainer.experiment.data.batch = lambda *_: Batch(torch.full((64, 2), math.nan), None)  # type: ignore[method-assign]


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    """A real one: the process may write files of 20,000 bytes at most."""
    code = f"""
import resource, signal
from pathlib import Path
import torch
from hgfctl.storage import tensor_files
from hgfctl.errors import HgfctlError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path)!r}) / "a.safetensors"
tensor_files.save(path, {{"w": torch.ones(10)}}, {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    tensor_files.save(path, {{"w": torch.ones(100_000)}}, {{}})
except HgfctlError as error:
    print(error)
print(tensor_files.load(path)[0]["w"].numel(), len(list(path.parent.iterdir())))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, kept = done.stdout.splitlines()
    assert message.startswith("cannot write")
    assert kept == "10 1"


def test_logs_survive_a_line_cut_short(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "a")
    for step in range(4):
        run.append_log({"step": step})
    with run.log.open("a") as file:
        file.write('{"step": 4, "lo')
    run.forget_log_after(2)
    assert [json.loads(line)["step"] for line in run.log.read_text().splitlines()] == [0, 1, 2]


def test_run_folders_are_numbered(tmp_path: Path) -> None:
    assert [Run.create(tmp_path, "a").folder.name for _ in range(3)] == ["a-001", "a-002", "a-003"]
    assert Run.create(tmp_path, "a-b").folder.name == "a-b-001"
    assert Run.newest(tmp_path, "a") is None  # none has a configuration yet
    (tmp_path / "a-002" / "config.yaml").touch()
    newest = Run.newest(tmp_path, "a")
    assert newest is not None
    assert newest.folder.name == "a-002"


def test_the_seed_is_in_the_first_weights() -> None:
    def first(config: Config) -> Tensor:
        return next(experiment(config, CPU).model.parameters()).detach()

    assert torch.equal(first(load("ring-oscillation")), first(load("ring-oscillation")))
    assert not torch.equal(first(load("ring-oscillation")), first(load("ring-oscillation", ["train.seed=1"])))
