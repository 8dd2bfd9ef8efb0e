"""The command line as a user drives it: in processes of its own, through pipes, killed and resumed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import Run

TINY_RING = [
    "--preset", "ring-oscillation",
    "--set", "network.width=16", "--set", "network.blocks=1", "--set", "train.images=2000", "--set", "train.batch=100",
    "--set", "train.ramp=0", "--set", "train.save_every=500", "--device", "cpu",
]  # fmt: skip
TINY_DIGITS = [
    "--preset", "digits-oscillation",
    "--set", "network.model_channels=8", "--set", "network.num_blocks=1", "--set", "train.images=320",
    "--set", "train.batch=32", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("ring"), TINY_RING)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("digits"), TINY_DIGITS)


def _train(folder: Path, arguments: list[str]) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hgfctl", "train", *arguments], capture_output=True, text=True, cwd=folder, check=True
    )
    return folder / done.stdout.strip()


def test_version_and_help(hgfctl: Run) -> None:
    assert re.fullmatch(r"hgfctl \d+\.\d+\.\d+\n", hgfctl("--version").stdout)
    text = hgfctl("--help").stdout
    assert all(f"  {command} " in text for command in ("train", "sample", "visualize", "presets"))
    for command in (["train"], ["sample"], ["visualize"], ["visualize", "trajectories"], ["presets"]):
        assert "Usage: " in hgfctl(*command, "--help").stdout


def test_help_imports_no_torch() -> None:
    code = "import sys; sys.argv = ['hgfctl', '-h']; from hgfctl.cli.app import status; status(); print([*sys.modules])"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "torchvision", "scipy", "numpy", "matplotlib", "sklearn", "cleanfid", "pydantic"):
        assert f"'{heavy}'" not in modules


def test_presets_are_listed_and_shown(hgfctl: Run) -> None:
    names = [line.split()[0] for line in hgfctl("presets").stdout.splitlines()]
    assert {"digits-oscillation", "checkerboard-reflection", "moons-oscillation", "ring-diffusion"} <= set(names)
    shown = yaml.safe_load(hgfctl("presets", "show", "digits-oscillation", "--set", "train.batch=7").stdout)
    assert shown["flow"]["alpha"] == 1.0
    assert shown["train"]["batch"] == 7


def test_training_prints_the_run_and_nothing_else(hgfctl: Run, tmp_path: Path) -> None:
    done = hgfctl("train", *TINY_RING, "--json")
    facts = json.loads(done.stdout)
    assert facts.keys() >= {
        "run", "checkpoint", "step", "images", "loss", "seconds", "images_per_second", "parameters", "device", "precision",
    }  # fmt: skip
    assert (facts["step"], facts["images"]) == (20, 2000)
    assert (tmp_path / facts["checkpoint"]).is_file()
    config = yaml.safe_load((tmp_path / facts["run"] / "config.yaml").read_text())
    assert config["flow"]["sd"] == pytest.approx(0.5, abs=0.01)
    assert hgfctl("train", *TINY_RING).stdout == "runs/ring-oscillation-002\n"


def test_the_whole_way_through_pipes(tmp_path: Path) -> None:
    program = f"{sys.executable} -m hgfctl"
    train, sample = f"{program} train {' '.join(TINY_DIGITS)}", f"{program} sample - --nfe 5 --num 12"
    command = f"{train} | {sample} | {program} visualize samples - --json"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=True)
    (picture,) = json.loads(done.stdout)["files"]
    assert Image.open(tmp_path / picture).size == (10 * 34 - 2, 2 * 34 - 2)  # a class a column


def test_a_failed_command_before_a_pipe_is_said(hgfctl: Run) -> None:
    assert "nothing came" in hgfctl("sample", "-", stdin="", status=2).stderr


def test_samples_as_array_grid_and_folder(hgfctl: Run, digits: Path, tmp_path: Path) -> None:
    common = ("sample", str(digits), "--nfe", "4", "--num", "10", "--seed", "3", "--classes", "3,5")
    facts = json.loads(hgfctl(*common, "--out", "a.npz", "--json").stdout)
    assert facts.keys() >= {
        "output", "num", "shape", "nfe", "sampler", "grid", "seed", "seconds", "images_per_second", "checkpoint",
    }  # fmt: skip
    with np.load(tmp_path / "a.npz") as arrays:
        images, labels, seeds = (arrays[name] for name in ("images", "labels", "seeds"))
    assert images.shape == (10, 8, 8, 1)
    assert images.dtype == np.uint8
    assert seeds.tolist() == list(range(3, 13))
    assert set(labels.tolist()) == {3, 5}
    assert hgfctl(*common, "--out", "a.png").stdout == "a.png\n"
    second = np.asarray(Image.open(tmp_path / "a.png"))[:32, 34:66]
    np.testing.assert_array_equal(second[::4, ::4], images[1, :, :, 0])
    hgfctl(*common, "--out", "folder")
    names = sorted(path.name for path in (tmp_path / "folder").glob("*.png"))
    assert names == [f"{seed:06d}.png" for seed in range(3, 13)]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "folder" / "000004.png")), images[1, :, :, 0])
    pairs = json.loads((tmp_path / "folder" / "dataset.json").read_text())["labels"]
    assert pairs == [[f"{seed:06d}.png", int(label)] for seed, label in zip(seeds, labels, strict=True)]


def test_an_image_is_the_same_in_any_batch(hgfctl: Run, digits: Path, tmp_path: Path) -> None:
    """To one level of 256: convolutions of another batch size may round differently."""
    hgfctl("sample", str(digits), "--nfe", "6", "--num", "9", "--out", "one.npz")
    hgfctl("sample", str(digits), "--nfe", "6", "--num", "5", "--seed", "4", "--batch", "2", "--out", "two.npz")
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert np.abs(one["images"][4:].astype(int) - two["images"].astype(int)).max() <= 1
        np.testing.assert_array_equal(one["labels"][4:], two["labels"])


def test_samples_of_vectors_lie_below_the_run(hgfctl: Run, ring: Path) -> None:
    output = hgfctl(
        "sample", str(ring), "--num", "7", "--sampler", "heun", "--grid", "rho", "--nfe", "10"
    ).stdout.strip()
    assert Path(output) == ring / "samples" / "step-00000020-heun-rho-nfe9-seed0-num7.npz"
    with np.load(output) as arrays:
        assert arrays["samples"].shape == (7, 2)
        assert arrays["samples"].dtype == np.float32
        assert set(arrays.files) == {"samples", "seeds"}


def test_pictures_are_drawn(hgfctl: Run, ring: Path, tmp_path: Path) -> None:
    files = json.loads(hgfctl("visualize", "trajectories", str(ring), "--nfe", "6", "--num", "20", "--json").stdout)[
        "files"
    ]
    assert [Path(file).suffix for file in files] == [".png", ".gif"]
    with Image.open(files[1]) as animation:
        assert animation.n_frames == 7
    assert hgfctl("visualize", "run", str(ring), "--out", "loss.png").stdout == "loss.png\n"
    hgfctl("visualize", "samples", str(ring), "--out", "points.png", "--num", "50")
    for name in ("loss.png", "points.png"):
        assert Image.open(tmp_path / name).size[0] > 300


def test_dry_run_writes_nothing(hgfctl: Run, tmp_path: Path) -> None:
    facts = json.loads(hgfctl("train", *TINY_RING, "--dry-run", "--json").stdout)
    assert facts["steps"] == 20
    assert facts["parameters"] > 1000
    assert facts["seconds"] > 0
    assert facts["memory_gib"] > 0
    text = hgfctl("train", *TINY_RING, "--dry-run").stdout
    assert all(word in text for word in ("parameters", "steps", "time", "memory", "name: oscillation"))
    assert list(tmp_path.iterdir()) == []


BAD_REQUESTS = {
    "unknown option": (["train", "--presett", "x"], "No such option"),
    "no preset": (["train"], "--preset NAME"),
    "unknown preset": (["train", "--preset", "digits-osculation"], "did you mean 'digits-oscillation'"),
    "unknown key": (["train", "--preset", "ring-oscillation", "--set", "train.bacth=3"], "did you mean 'train.batch'"),
    "wrong type": (["train", "--preset", "ring-oscillation", "--set", "train.batch=many"], "train.batch"),
    "wrong flow": (["train", "--preset", "ring-oscillation", "--set", "flow.name=oscilation"], "did you mean 'oscillation'"),
    "impossible flow": (["train", "--preset", "ring-oscillation", "--set", "flow.alpha=-1"], "alpha"),
    "unet on vectors": (["train", "--preset", "ring-oscillation", "--set", "network.name=unet"], "takes images"),
    "missing data": (["train", "--preset", "digits-oscillation", "--data", "nowhere"], "no data at nowhere"),
    "no such run": (["train", "--resume", "nowhere"], "not a run folder"),
    "skip-bad without a folder": (["train", "--preset", "digits-oscillation", "--skip-bad"], "for image folders"),
    "no such device": (["train", "--preset", "ring-oscillation", "--device", "tpu"], "unknown device 'tpu'"),
    "no such checkpoint": (["sample", "nowhere"], "no such checkpoint"),
    "no such log": (["visualize", "run", "nowhere"], "no log.jsonl"),
    "unknown figure": (["visualize", "circles"], "No such command"),
    "shown preset": (["presets", "show", "nothing"], "unknown preset"),
    "wrong number": (["sample", "x", "--nfe", "0"], "--nfe"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_requests_are_one_or_two_lines(hgfctl: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = hgfctl(*arguments, status=2)
    _is_clear(done, words)
    assert not (tmp_path / "runs").exists()


BAD_SAMPLES = {
    "unknown sampler": (["--sampler", "hein"], "did you mean 'heun'"),
    "unknown grid": (["--grid", "kosine"], "did you mean 'cosine'"),
    "too small a budget": (["--sampler", "rk4", "--nfe", "3"], "4 evaluations"),
    "class out of range": (["--classes", "3,11"], "'11' is not a class"),
    "ending": (["--out", "a.jpg"], "--out a.jpg"),
    "folder in use": (["--out", "used"], "no empty folder"),
    "huge grid": (["--num", "20000", "--out", "a.png"], "20000"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_SAMPLES.values(), ids=BAD_SAMPLES.keys())
def test_bad_samples_are_one_or_two_lines(
    hgfctl: Run, digits: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious.txt").write_text("mine")
    _is_clear(hgfctl("sample", str(digits), *arguments, status=2), words)
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
    assert (tmp_path / "used" / "precious.txt").read_text() == "mine"


def test_vectors_are_no_folder_of_images(hgfctl: Run, ring: Path) -> None:
    _is_clear(hgfctl("sample", str(ring), "--out", "folder", status=2), "no images")
    _is_clear(hgfctl("sample", str(ring), "--classes", "1", status=2), "without classes")


def test_trajectories_of_images_are_refused(hgfctl: Run, digits: Path) -> None:
    _is_clear(hgfctl("visualize", "trajectories", str(digits), status=2), "flows in the plane")


def test_damaged_checkpoints_are_named_never_loaded(hgfctl: Run, ring: Path, tmp_path: Path) -> None:
    content = bytearray((ring / "checkpoints" / "step-00000020.safetensors").read_bytes())
    content[-50] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    (tmp_path / "cut.safetensors").write_bytes(content[:-500])
    for name in ("flipped", "cut"):
        _is_clear(hgfctl("sample", f"{name}.safetensors", status=1), f"{name}.safetensors is damaged")
    (tmp_path / "text.safetensors").write_text("hello")
    _is_clear(hgfctl("sample", "text.safetensors", status=1), "damaged or no safetensors file")


def test_yaml_errors_have_line_and_column(hgfctl: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: ring-oscillation\ntrain:\n  batch: [3\n")
    _is_clear(hgfctl("train", "--preset", "mine.yaml", status=2), "mine.yaml, line 4, column 1")


def test_bad_images_are_named_or_skipped(hgfctl: Run, tmp_path: Path) -> None:
    for i in range(8):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 30 * i).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images" / "bad.png").write_bytes(b"not a picture")
    Image.new("L", (8, 9)).save(tmp_path / "images" / "odd.png")
    command = ["train", *TINY_DIGITS, "--set", "train.batch=4", "--set", "train.images=8", "--data", "images"]
    _is_clear(hgfctl(*command, status=2), "images/bad.png")
    done = hgfctl(*command, "--skip-bad")
    assert "skipped 2 unreadable or odd-sized images of 10" in done.stderr
    assert "is 8 x 9, and most are 8 x 8" in done.stderr
    assert hgfctl("sample", done.stdout.strip(), "--num", "2", "--nfe", "2").returncode == 0


def test_a_loss_that_is_not_finite_is_said_with_its_step(hgfctl: Run) -> None:
    done = hgfctl("train", *TINY_RING, "--set", "train.lr=1e30", status=1)
    assert re.search(r"the loss is (nan|inf) at step \d+", done.stderr)


def test_a_full_disk_leaves_the_old_file(hgfctl: Run, ring: Path, tmp_path: Path) -> None:
    """/dev/full says "no space left" to every write."""
    out = tmp_path / "out.npz"
    out.write_bytes(b"precious")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000));"
        f"sys.argv = ['hgfctl', 'sample', {str(ring)!r}, '--num', '5000', '--nfe', '1', '--out', {str(out)!r}];"
        "from hgfctl.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot write {out}" in done.stderr
    assert out.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def _is_clear(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("hgfctl: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def _start(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hgfctl", "train", *LONGER, *more],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


LONGER = [
    *TINY_RING,
    "--set",
    "train.images=60000",
    "--set",
    "train.save_every=3000",
    "--set",
    "train.sample_every=60000",
]


def _wait_for_checkpoint(folder: Path, process: subprocess.Popen[str], count: int) -> None:
    for _ in range(2000):
        if len(list(folder.glob("runs/*/checkpoints/step-*"))) >= count or process.poll() is not None:
            return
        time.sleep(0.02)
    pytest.fail("no checkpoint within 40 s")


def test_killed_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL three times, at moments that differ, then to the end; against a run that nobody touched."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    assert _start(whole).wait(120) == 0
    for kills, delay in enumerate((0.0, 0.11, 0.27)):
        process = _start(cut, "--resume", "auto")
        _wait_for_checkpoint(cut, process, 2 + 3 * kills)
        time.sleep(delay)
        process.kill()
        process.wait()
    last = _start(cut, "--resume", "auto")
    _, said = last.communicate(timeout=120)
    assert last.returncode == 0, said
    assert "resuming" in said
    assert len(list((cut / "runs").iterdir())) == 1
    for kind in ("checkpoints", "state"):
        name = f"runs/ring-oscillation-001/{kind}/step-00000600.safetensors"
        a, b = load_file(whole / name), load_file(cut / name)
        assert a.keys() == b.keys()
        assert all(a[key].numpy().tobytes() == b[key].numpy().tobytes() for key in a)
    logs = [(folder / "runs/ring-oscillation-001/log.jsonl").read_text().splitlines() for folder in (whole, cut)]
    assert [json.loads(line)["loss"] for line in logs[0]] == [json.loads(line)["loss"] for line in logs[1]]
    assert not list((cut / "runs").rglob(".*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_training_saves_first(hgfctl: Run, tmp_path: Path, how: signal.Signals) -> None:
    process = _start(tmp_path)
    _wait_for_checkpoint(tmp_path, process, 1)
    os.kill(process.pid, how)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    step = int(re.search(r"stopped at step (\d+) of 600", err)[1])  # type: ignore[index]
    assert (tmp_path / "runs" / "ring-oscillation-001" / "checkpoints" / f"step-{step:08d}.safetensors").exists()
    done = hgfctl("train", "--resume", "runs/ring-oscillation-001", "--json")
    assert f"at step {step}" in done.stderr
    assert json.loads(done.stdout)["step"] == 600


def test_a_damaged_newest_checkpoint_is_named_and_passed_over(hgfctl: Run, tmp_path: Path) -> None:
    run = tmp_path / hgfctl("train", *TINY_RING).stdout.strip()
    newest = run / "checkpoints" / "step-00000020.safetensors"
    content = newest.read_bytes()
    newest.write_bytes(content[:-7])
    done = hgfctl("train", *TINY_RING, "--resume", "auto")
    assert f"{newest.relative_to(tmp_path)} is damaged" in done.stderr
    assert "at step 15" in done.stderr
    assert newest.read_bytes() == content


def test_a_finished_run_is_not_trained_again(hgfctl: Run, ring: Path) -> None:
    before = (ring / "log.jsonl").read_bytes()
    facts = json.loads(hgfctl("train", "--resume", str(ring), "--json").stdout)
    assert facts["step"] == 20
    assert facts["loss"] > 0
    assert (ring / "log.jsonl").read_bytes() == before


def test_resuming_cannot_change_the_model(hgfctl: Run, ring: Path) -> None:
    for key, value in (("flow.alpha", "2"), ("train.batch", "50"), ("network.width", "32"), ("data", "moons")):
        done = hgfctl("train", "--resume", str(ring), "--set", f"{key}={value}", status=2)
        _is_clear(done, "is being resumed", key, f"cannot become {value}")


def test_changed_settings_are_listed_and_forced_where_that_makes_sense(hgfctl: Run, tmp_path: Path) -> None:
    run = hgfctl("train", *TINY_RING).stdout.strip()
    longer = ["train", "--resume", run, "--set", "train.images=2_000", "--set", "train.save_every=200"]
    changed = [*longer, "--set", "train.lr=1e-4", "--set", "times.sd=1"]
    done = hgfctl(*changed, status=2)
    _is_clear(done, "train.lr", "times.sd", "--force")
    assert "train.images" not in done.stderr
    assert hgfctl(*changed, "--force").stdout.strip() == run
    done = hgfctl("train", "--resume", run, "--force", "--set", "network.width=32", status=2)
    _is_clear(done, "network.width", "train a new run")


def test_images_are_prepared_inspected_and_trained_on(hgfctl: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / ("cats" if i % 3 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 24 + i, 3), np.uint8)).save(folder / f"{i:02d}.jpg")
    (tmp_path / "photos" / "cats" / "broken.jpg").write_bytes(b"no image")
    command = ["data", "prepare", "photos", "--resolution", "8"]
    _is_clear(hgfctl(*command, "--out", "a.zip", status=2), "1 of 13", "broken.jpg", "--skip-bad")
    assert not (tmp_path / "a.zip").exists()
    facts = json.loads(hgfctl(*command, "--out", "a.zip", "--skip-bad", "--json").stdout)
    assert facts == {"output": "a.zip", "num": 12, "skipped": 1}
    assert hgfctl(*command, "--out", "b.zip", "--skip-bad").stdout == "b.zip\n"
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    seen = json.loads(hgfctl("data", "inspect", "a.zip", "--out", "sheet.png", "--json").stdout)
    assert (seen["count"], seen["shape"], seen["classes"]) == (12, [3, 8, 8], [8, 4])
    assert 0.1 < seen["root_mean_square"] < 0.3  # of uniform noise, which has 0.58, averaged over 2.5 x 2.5 pixels
    assert Image.open(tmp_path / "sheet.png").size[0] > 100
    table = hgfctl("data", "inspect", "photos").stdout  # images of many sizes: all but one of the most frequent are odd
    assert "broken.jpg: cannot be read" in table
    assert "cats" in table
    small = ["--set", "network.model_channels=8", "--set", "train.images=8", "--set", "train.batch=4"]
    run = hgfctl("train", "--preset", "digits-oscillation", *small, "--data", "a.zip").stdout.strip()
    config = (tmp_path / run / "config.yaml").read_text()
    assert yaml.safe_load(config)["flow"]["sd"] == pytest.approx(seen["root_mean_square"], abs=1e-6)
    for arguments, words in {
        ("data", "prepare", "photos", "--out", "a.tar"): "ends in .zip",
        ("data", "prepare", "photos", "--out", "c.zip", "--resolution", "8x8x8"): "width x height",
        ("data", "prepare", "ring", "--out", "c.zip"): "is a law",
        ("data", "inspect", "nowhere"): "no data at nowhere",
        ("train", "--preset", "ffhq-oscillation"): "hgfctl data prepare images1024x1024 --out ffhq-64x64.zip",
        ("train", "--preset", "cifar10-oscillation"): "cifar-10-binary.tar.gz",
    }.items():
        _is_clear(hgfctl(*arguments, status=2), words)


def test_resuming_refuses_data_of_another_shape(hgfctl: Run, tmp_path: Path) -> None:
    for side, folder in ((8, "a"), (16, "b")):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "x.npz", images=np.zeros((40, side, side), np.uint8))
    run = hgfctl("train", *TINY_DIGITS, "--data", "a/x.npz").stdout.strip()
    _is_clear(hgfctl("train", "--resume", run, "--data", "b/x.npz", status=2), "shape [1, 8, 8]", "[1, 16, 16]")


def test_sampling_memory_does_not_grow_with_the_number(ring: Path, tmp_path: Path) -> None:
    """20 times as many samples: 10 MB more if 114,000 starts, states and velocities in float64 were kept."""
    peaks = []
    for num in (6_000, 120_000):
        code = (
            f"import sys; sys.argv = ['hgfctl', 'sample', {str(ring)!r}, '--num', '{num}', '--nfe', '4', '--batch', '2000',"
            f"'--out', 'many.npz', '--device', 'cpu'];"
            "from hgfctl.cli.app import status; status();"
            "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        peaks.append(int(done.stdout.split()[-1]))
    with zipfile.ZipFile(tmp_path / "many.npz") as archive:
        assert archive.testzip() is None
    assert np.load(tmp_path / "many.npz")["samples"].shape == (120_000, 2)
    assert peaks[1] - peaks[0] < 15_000  # KiB


TINY_SCORE = [
    "--preset", "gmm-hsm", "--set", "network.width=16", "--set", "train.images=4000", "--set", "train.batch=100",
    "--set", "train.save_every=2000", "--times", "0.1", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    done = subprocess.run(
        [sys.executable, "-m", "hgfctl", "score-match", *TINY_SCORE, "--json"],
        capture_output=True, text=True, cwd=folder, check=True,
    )  # fmt: skip
    facts = json.loads(done.stdout)
    (row,) = facts["results"]
    assert row.keys() >= {"method", "esm_relative_error", "esm", "hsd", "seconds", "steps", "parameters"}
    assert (row["method"], row["steps"], facts["step"]) == ("hsm", 40, 40)
    assert 0 < row["esm_relative_error"] < 2
    assert row["hsd"][0]["how"] == "exact"
    assert 0 < row["hsd"][0]["hsd"] < 1.1 * 0.1**2 * row["esm"]
    return folder / facts["run"]


def test_a_score_is_measured_again_to_the_same_digits(hgfctl: Run, score: Path) -> None:
    once, again = (
        json.loads(hgfctl("score-match", "--evaluate", str(score), "--times", "0.1,0.3", "--json").stdout)["results"][0]
        for _ in range(2)
    )
    assert [h["t"] for h in once["hsd"]] == [0.1, 0.3]
    for key in ("esm", "esm_relative_error", "hsd", "parameters", "steps"):
        assert once[key] == again[key]
    assert once["parameters"] == 2 * 16 + 16 + 16 * 16 + 16 + 16 * 2 + 2


def test_a_score_and_its_critic_resume_to_the_same_bits(hgfctl: Run, score: Path, tmp_path: Path) -> None:
    run = tmp_path / hgfctl("score-match", *TINY_SCORE).stdout.strip()
    for kind in ("checkpoints", "state"):
        (run / kind / "step-00000040.safetensors").unlink()
    done = hgfctl("score-match", *TINY_SCORE, "--resume", "auto")
    assert "at step 20" in done.stderr
    for kind in ("checkpoints", "state"):
        name = f"{kind}/step-00000040.safetensors"
        a, b = load_file(run / name), load_file(score / name)
        assert a.keys() == b.keys()
        assert all(bool((a[key] == b[key]).all()) for key in a)
    assert any(key.startswith("network.loss.critic.") for key in load_file(run / "state/step-00000040.safetensors"))


def test_a_score_is_sampled_on_its_budget(hgfctl: Run, score: Path, tmp_path: Path) -> None:
    facts = json.loads(hgfctl("sample", str(score), "--nfe", "40", "--num", "50", "--out", "x.npz", "--json").stdout)
    assert (facts["sampler"], facts["grid"], facts["nfe"]) == ("hmc", None, 32)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["samples"].shape == (50, 2)
        assert np.isfinite(arrays["samples"]).all()
    _is_clear(hgfctl("sample", str(score), "--nfe", "10", status=2), "--nfe 10 is too few")


def test_losses_are_compared_in_one_table(hgfctl: Run, tmp_path: Path) -> None:
    compared = ("score-match", *TINY_SCORE, "--compare", "dsm,hsm-galerkin", "--seeds", "2")
    lines = hgfctl(*compared).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["loss", "dsm", "hsm-galerkin"]
    assert all("±" in line for line in lines[1:])
    rows = json.loads(hgfctl(*compared, "--json").stdout)["results"]
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("dsm", 0), ("dsm", 1), ("hsm-galerkin", 0), ("hsm-galerkin", 1)
    ]  # fmt: skip
    assert rows[0]["esm"] != rows[1]["esm"]
    assert not (tmp_path / "runs").exists()
    timed = json.loads(hgfctl("score-match", *TINY_SCORE, "--compare", "dsm", "--seconds", "1", "--json").stdout)
    assert timed["results"][0]["steps"] != rows[0]["steps"]  # as many as a trial says, not the preset's 40


def test_where_the_score_is_unknown_only_the_discrepancy_is_told(hgfctl: Run) -> None:
    done = hgfctl("score-match", *TINY_SCORE, "--set", "data=checkerboard", "--set", "loss=dsm", "--json")
    assert "not known: HSD only" in done.stderr
    (row,) = json.loads(done.stdout)["results"]
    assert row["esm"] is None
    assert row["hsd"][0]["how"] == "critic"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "ring-oscillation"], "train it with `hgfctl train`"),
        (["--preset", "gmm-hsm", "--compare", "dsm,dms"], "did you mean 'dsm'"),
        (["--preset", "gmm-hsm", "--compare", "hvp"], "does not train model 'score'"),
        (["--preset", "gmm-hsm", "--times", "0.1,x"], "--times 0.1,x"),
        (["--preset", "gmm-hsm", "--seeds", "3"], "go with --compare"),
        (["--preset", "gmm-hsm", "--compare", "dsm", "--seconds", "0"], "--seconds"),
        (["--preset", "gmm-hsm", "--set", "loss.sigma=1"], "unknown option 'loss.sigma'"),
        (["--preset", "gmm-hsm", "--set", "flow=diffusion"], "a score has none"),
        (["--preset", "gmm-hsm", "--set", "data=checkerboard", "--set", "loss=esm"], "needs the true score"),
        (["--preset", "gmm-hsm", "--evaluate", "x"], "--evaluate measures a checkpoint"),
        (["--evaluate", "nowhere"], "no such checkpoint"),
        ([], "which preset?"),
    ],
)
def test_wrong_requests_for_scores_are_clear(hgfctl: Run, tmp_path: Path, arguments: list[str], words: str) -> None:
    _is_clear(hgfctl("score-match", *arguments, status=2), words)
    assert not list(tmp_path.iterdir())


def test_a_model_goes_to_the_command_that_takes_it(hgfctl: Run, score: Path, ring: Path) -> None:
    _is_clear(hgfctl("train", "--preset", "gmm-hsm", status=2), "hgfctl score-match")
    _is_clear(hgfctl("visualize", "trajectories", str(score), status=2), "this is a score")
    _is_clear(hgfctl("sample", str(score), "--sampler", "heun", status=2), "a score is sampled by hmc")
    _is_clear(hgfctl("sample", str(score), "--grid", "rho", status=2), "takes none")
    _is_clear(hgfctl("score-match", "--evaluate", str(ring), status=2), "--noise 0.1 says at which noise level")
    _is_clear(hgfctl("score-match", "--evaluate", str(score), "--noise", "1", status=2), "score of the data themselves")
    _is_clear(hgfctl("sample", str(ring), "--sampler", "hmc", status=2), "'hmc' is not for this model")


def test_a_flow_is_measured_as_a_score_at_a_noise_level(hgfctl: Run, ring: Path) -> None:
    command = ("score-match", "--evaluate", str(ring), "--times", "0.05")
    rows = json.loads(hgfctl(*command, "--noise", "0.2,1", "--json").stdout)["results"]
    assert [row["sigma"] for row in rows] == [0.2, 1.0]
    assert all(0 < row["esm_relative_error"] < 2 and row["hsd"][0]["how"] == "exact" for row in rows)
    moved = json.loads(hgfctl(*command, "--noise", "0.2", "--set", "data.radius=1.4", "--json").stdout)["results"]
    assert moved[0]["esm"] > rows[0]["esm"]  # judged by other data
    _is_clear(hgfctl(*command, "--noise", "0.2", "--set", "train.lr=1", status=2), "only data....")
    _is_clear(hgfctl(*command, "--noise", "0.2", "--set", "data=digits", status=2), "shape (1, 8, 8)")


TINY_DENOISING = [
    "--preset", "gmm-denoising-hsm", "--set", "network.width=16", "--set", "train.images=12000",
    "--set", "train.batch=200", "--set", "train.save_every=6000", "--set", "loss.every=20", "--noise", "0.1",
    "--times", "0.05", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def denoising(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("denoising")
    done = subprocess.run(
        [sys.executable, "-m", "hgfctl", "score-match", *TINY_DENOISING, "--json"],
        capture_output=True, text=True, cwd=folder, check=True,
    )  # fmt: skip
    facts = json.loads(done.stdout)
    assert 0.01 < facts["hsm_below_sigma"] < 1
    assert "hsm_below_sigma" in done.stderr
    assert facts["results"][0]["sigma"] == 0.1
    return folder / facts["run"]


def test_what_was_measured_of_gradients_resumes_to_the_same_bits(hgfctl: Run, denoising: Path, tmp_path: Path) -> None:
    run = tmp_path / hgfctl("score-match", *TINY_DENOISING).stdout.strip()
    for kind in ("checkpoints", "state"):
        (run / kind / "step-00000060.safetensors").unlink()
    hgfctl("score-match", *TINY_DENOISING, "--resume", "auto")
    for kind in ("checkpoints", "state"):
        name = f"{kind}/step-00000060.safetensors"
        a, b = load_file(run / name), load_file(denoising / name)
        assert a.keys() == b.keys()
        assert all(bool((a[key] == b[key]).all()) for key in a)
    assert int(load_file(run / "state/step-00000060.safetensors")["buffer.loss.measured"]) == 3


def test_a_noise_conditional_score_is_sampled_both_ways(hgfctl: Run, denoising: Path, tmp_path: Path) -> None:
    command = ("sample", str(denoising), "--num", "50", "--out", "x.npz", "--json")
    facts = json.loads(hgfctl(*command, "--nfe", "40").stdout)
    assert (facts["sampler"], facts["grid"], facts["nfe"]) == ("langevin", "log-sigma", 40)
    facts = json.loads(hgfctl(*command, "--nfe", "40", "--sampler", "ab4").stdout)
    assert (facts["sampler"], facts["nfe"]) == ("ab4", 40)
    with np.load(tmp_path / "x.npz") as arrays:
        assert np.isfinite(arrays["samples"]).all()
    _is_clear(hgfctl("sample", str(denoising), "--nfe", "2", status=2), "langevin takes 3 evaluations or more")
    _is_clear(hgfctl("sample", str(denoising), "--sampler", "hmc", status=2), "'hmc' is not for this model")
    _is_clear(hgfctl("score-match", "--evaluate", str(denoising), "--noise", "9", status=2), "between 0.01 and 5")


@pytest.mark.parametrize("kind", ["score", "denoising", "ring"])
def test_a_score_is_drawn(hgfctl: Run, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    noise = [] if kind == "score" else ["--noise", "0.3"]
    run = request.getfixturevalue(kind)
    done = hgfctl("visualize", "score", str(run), *noise, "--out", "score.png", "--json")
    assert json.loads(done.stdout) == {"files": ["score.png"]}
    with Image.open(tmp_path / "score.png") as picture:
        assert picture.width > 3 * picture.height


def test_what_the_discrepancy_is_worth_is_drawn(hgfctl: Run, tmp_path: Path) -> None:
    facts = json.loads(hgfctl("visualize", "hsd", "--draws", "60", "--json").stdout)
    assert facts["files"] == ["hsd.png"]
    assert all(value > 0.9 for value in facts["pearson"].values())
    assert (tmp_path / "hsd.png").stat().st_size > 30_000


def test_what_diverges_says_why_and_keeps_what_was_good(hgfctl: Run) -> None:
    tiny = ("score-match", *TINY_SCORE, "--set", "train.log_every=10", "--set", "train.save_every=1000")
    done = hgfctl(*tiny, "--set", "train.lr=30", status=1)
    _is_clear(done, "try a smaller train.lr")
    long = hgfctl(*tiny, "--set", "loss.duration=3")
    assert "loss.duration=3 are too long for the data's score: beyond 0.5" in long.stderr
