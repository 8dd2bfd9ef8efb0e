"""`hgfctl eval-fid`: one pass over images that may be stopped, files that hold features, and its command line."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.digits import digits as digits_data
from hgfctl.engine.evaluation import feature_pass
from hgfctl.engine.evaluation.comparison import compare
from hgfctl.engine.evaluation.feature_files import holds_features, read_features, write_features
from hgfctl.engine.evaluation.feature_set import FeatureSet, collected
from hgfctl.engine.evaluation.image_sets import StoredSet, as_bytes
from hgfctl.engine.evaluation.unfinished import pass_file, read_comparison, write_comparison
from hgfctl.engine.features.features import Features, FeaturesId
from hgfctl.engine.features.pixels import Pixels
from hgfctl.engine.features.random_network import RandomNetwork
from hgfctl.engine.randomness import generator
from hgfctl.engine.ranks import alone
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.kernel import Discrepancy
from hgfctl.engine.statistics.moments import statistics
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage import tensor_files
from tests.conftest import Run
from tests.stand_ins import write_inception
from tests.test_cli import TINY_DIGITS, TINY_RING

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another has left, nor the network."""
    monkeypatch.setenv("HGFCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def pixels(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 1, 4, 4), generator=generator(seed, "pixels"), dtype=torch.uint8)


def stored(count: int = 3000, seed: int = 0) -> StoredSet:
    return StoredSet(Items(pixels(count, seed)), "images")


def passed(images: StoredSet, batch: int = 64, stop: Callable[[], bool] = lambda: False) -> FeatureSet:
    found = feature_pass.feature_set(images, Pixels(CPU), batch, alone(CPU), stop=stop)
    assert found is not None
    return found


# The pass


def test_a_pass_knows_what_all_features_together_would() -> None:
    images = stored()
    found = passed(images)
    features = Pixels(CPU)(images.data.x)  # type: ignore[attr-defined]
    expected = statistics(features)
    assert torch.allclose(found.statistics.mean, expected.mean, rtol=0, atol=1e-12)
    assert torch.allclose(found.statistics.covariance, expected.covariance, rtol=0, atol=1e-12)
    assert found.features is not None
    assert torch.equal(found.features.sort(0).values, features.sort(0).values)
    assert [part.count for part in found.parts] == [750] * 4


@pytest.mark.parametrize("batch", [1, 7, 1500, 5000])
def test_the_batch_changes_nothing_at_all(batch: int) -> None:
    one = passed(stored(2100), 64)
    pass_file(stored(2100), Pixels.id).unlink()
    other = passed(stored(2100), batch)
    assert torch.equal(one.statistics.covariance, other.statistics.covariance)
    assert torch.equal(one.parts[3].scatter, other.parts[3].scatter)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more images than are kept, the kept features are a sample of all, and the moments are of all."""
    monkeypatch.setattr("hgfctl.engine.evaluation.feature_set.KEPT", 100)
    images = stored(3000)
    found = passed(images)
    features = Pixels(CPU)(images.data.x)  # type: ignore[attr-defined]
    assert found.features is not None
    assert len(found.features) == 100
    rows = {tuple(row) for row in features.tolist()}
    assert all(tuple(row) in rows for row in found.features.tolist())
    assert torch.allclose(found.statistics.covariance, statistics(features).covariance, rtol=0, atol=1e-12)


def test_a_stopped_pass_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after 20 batches and again after 15; no image is looked at twice that was finished."""
    whole = passed(stored())
    pass_file(stored(), Pixels.id).unlink()
    looked: list[int] = []
    real = StoredSet.at

    def at(self: StoredSet, index: Tensor) -> Tensor:
        looked.extend(index.tolist())
        return real(self, index)

    monkeypatch.setattr(StoredSet, "at", at)
    for batches in (20, 15):
        calls = iter(range(batches))
        with pytest.raises(KeyboardInterrupt):
            passed(stored(), stop=lambda calls=calls: next(calls, None) is None)  # type: ignore[misc]
    resumed = passed(stored())
    assert torch.equal(resumed.statistics.covariance, whole.statistics.covariance)
    assert resumed.features is not None
    assert whole.features is not None
    assert torch.equal(resumed.features, whole.features)
    # Two batches are in the reader's hands whenever it is stopped.
    assert len(looked) <= 3000 + 2 * 2 * 64
    kept = pass_file(stored(), Pixels.id)
    assert list((Path(os.environ["HGFCTL_CACHE"]) / "evaluations").iterdir()) == [kept]
    looked.clear()
    assert torch.equal(passed(stored()).statistics.covariance, whole.statistics.covariance)
    assert not looked  # all is kept until somebody was told


def test_a_damaged_state_is_started_anew() -> None:
    images = stored(2000)
    file = pass_file(images, Pixels.id)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half of it")
    assert passed(images).count == 2000


def test_features_that_are_not_finite_are_named() -> None:
    features = torch.zeros(3000, 2)
    features[2345, 1] = torch.nan
    with pytest.raises(HgfctlError, match="things: the features of image 2345 are not finite"):
        collected("things", None, features)
    with pytest.raises(RequestError, match="holds 1 image"):
        collected("things", None, features[:1])


# Comparison


def test_halves_of_a_set_are_near_and_the_bias_is_said() -> None:
    one, other = passed(stored(4000)), passed(stored(4000, seed=1))
    found = compare(one, other)
    trace = float(one.statistics.covariance.trace())
    frechet, kid, prdc = (found.values[name] for name in ("frechet", "kid", "prdc"))
    assert frechet
    assert frechet["distance"] < 0.01 * trace  # type: ignore[operator]
    assert abs(frechet["at_infinity"]) < frechet["distance"]  # type: ignore[arg-type, operator]
    assert kid
    discrepancy = Discrepancy(**kid)  # type: ignore[arg-type]
    assert abs(discrepancy.value) < 4 * discrepancy.error
    assert prdc
    assert prdc["coverage"] > 0.9  # type: ignore[operator]
    assert any("4,000 images" in warning and "too large" in warning for warning in found.warnings)


@pytest.mark.parametrize("features", [Pixels(CPU), RandomNetwork(CPU)], ids=["pixels", "random"])
def test_worse_images_are_farther(features: Features) -> None:
    """Real digits against other ones, those noised more and more, and noise alone."""
    scans = digits_data("all").x
    half, other = scans[0::4], scans[1::4]
    noise = torch.randn(other.shape, generator=generator(4))
    sets = [other, *(other + level * noise for level in (0.1, 0.3, 0.9)), noise]
    reference = statistics(features(as_bytes(half)))
    distances = [frechet_distance(statistics(features(as_bytes(x))), reference) for x in sets]
    assert all(better < worse / 1.1 for better, worse in pairwise(distances))
    assert distances[0] < distances[-1] / 50


def test_singular_covariances_are_said() -> None:
    few = passed(stored(10))
    assert any("10 images and 16 dimensions" in warning for warning in compare(few, passed(stored())).warnings)
    flat = torch.randn(500, 4, generator=generator(1))
    flat[:, 3] = flat[:, 0]
    found = compare(collected("flat", None, flat), collected("flat", None, flat + 1))
    assert any("its rank is 3 of 4" in warning for warning in found.warnings)
    assert found.values["frechet"]["distance"] == pytest.approx(4)  # type: ignore[index]


def test_a_comparison_is_kept_whole(tmp_path: Path) -> None:
    found = compare(passed(stored(4000)), passed(stored(4000, seed=1)))
    write_comparison(tmp_path / "x.json", found)
    assert read_comparison(tmp_path / "x.json") == found
    (tmp_path / "x.json").write_text('{"values": {"frechet"')
    assert read_comparison(tmp_path / "x.json") is None


def test_a_reference_that_does_not_say_its_features_is_warned_about() -> None:
    x = torch.randn(50, 3, generator=generator(2))
    named, unnamed = collected("a", FeaturesId("pixels"), x), collected("b", None, x)
    for one, other in ((named, unnamed), (unnamed, named)):
        assert any("b does not say of which features" in warning for warning in compare(one, other).warnings)
    assert not any("does not say" in warning for warning in compare(named, named).warnings)


def test_other_features_are_not_compared() -> None:
    x = torch.randn(50, 3, generator=generator(2))
    inception, pixels = collected("a", FeaturesId("inception", "clean"), x), collected("b", FeaturesId("pixels"), x)
    with pytest.raises(RequestError, match="a has features inception clean, and b pixels"):
        compare(inception, pixels)
    with pytest.raises(RequestError, match="a has features inception clean of dimension 3, c features of dimension 2"):
        compare(inception, collected("c", None, x[:, :2]))


# Files


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    found = passed(stored())
    write_features(found, tmp_path / "x.npz")
    again = read_features(tmp_path / "x.npz")
    assert holds_features(tmp_path / "x.npz")
    assert (again.id, again.count) == (found.id, found.count)
    assert torch.equal(again.statistics.covariance, found.statistics.covariance)
    assert again.features is not None
    assert found.features is not None
    assert torch.equal(again.features, found.features)
    assert torch.equal(again.parts[2].scatter, found.parts[2].scatter)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as content:  # as EDM and clean-fid read it
        assert content["mu"].shape == (16,)
        assert content["sigma"].shape == (16, 16)
        assert content["sigma"].dtype == np.float64


def test_edms_edm2s_and_cleanfids_files_are_read(tmp_path: Path) -> None:
    mu, sigma = np.arange(3.0), np.diag([1.0, 2.0, 3.0])
    np.savez(tmp_path / "edm.npz", mu=mu, sigma=sigma)
    entries = {"fid": {"mu": mu, "sigma": sigma}, "fd_dinov2": {"mu": mu + 1, "sigma": sigma}}
    feats = torch.randn(40, 3, generator=generator(3))
    np.savez(tmp_path / "kid.npz", feats=feats.numpy())
    np.save(tmp_path / "feats.npy", feats.numpy())
    edm = read_features(tmp_path / "edm.npz")
    assert (edm.id, edm.count, edm.statistics.mean.tolist()) == (None, None, [0, 1, 2])
    for protocol in (2, 4, 5):
        (tmp_path / "edm2.pkl").write_bytes(pickle.dumps(entries, protocol))
        assert read_features(tmp_path / "edm2.pkl").id == FeaturesId("inception", "legacy-tensorflow")
        dino = read_features(tmp_path / "edm2.pkl", "dinov2")
        assert dino.statistics.mean.tolist() == [1, 2, 3]
        assert frechet_distance(edm.statistics, dino.statistics) == pytest.approx(3)
    with pytest.raises(RequestError, match="no statistics of features random, but of fid, fd_dinov2"):
        read_features(tmp_path / "edm2.pkl", "random")
    for name in ("kid.npz", "feats.npy"):
        assert torch.allclose(read_features(tmp_path / name).statistics.covariance, statistics(feats).covariance)


def test_a_pickle_that_names_something_else_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"fid": Evil()}))
    with pytest.raises(RequestError, match=r"it names (posix|nt)\.system"):
        read_features(tmp_path / "evil.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(3), "sigma": np.zeros((4, 4))}, r"mu \(d,\) and sigma \(d, d\)"),
        ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.nan)}, "NaN"),
        ({"mu": np.zeros(3)}, "sigma"),
        ({"feats": np.zeros((5, 3), np.int64)}, "features are floats"),
        ({"feats": np.array([[1.0, np.inf], [0, 0]])}, "image 0"),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "no covariance, for it has the eigenvalue -1"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 0.5], [0, 1]])}, "not symmetric"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "feats": np.zeros((9, 3))}, "mu has 2 dimensions, and feats 3"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "about": np.array("[]")}, "does not say which features"),
    ],
)
def test_files_of_another_form_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(HgfctlError, match=message):
        read_features(tmp_path / "x.npz")


# The command line


def trained(folder: Path, arguments: list[str]) -> Path:
    command = [sys.executable, "-m", "hgfctl", "train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return folder / done.stdout.strip()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(trained(tmp_path_factory.mktemp("digits"), TINY_DIGITS))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(trained(tmp_path_factory.mktemp("ring"), TINY_RING))


def test_a_model_is_measured_and_two_processes_agree(hgfctl: Run, digits: str) -> None:
    command = ["eval-fid", digits, "--features", "random", "--nfe", "2", "--num", "300", "--json"]
    one = json.loads(hgfctl(*command).stdout)
    assert {
        *(
            "fid",
            "features",
            "num",
            "ref",
            "nfe",
            "sampler",
            "seeds",
            "fid_std",
            "kid",
            "precision",
            "recall",
            "seconds",
        )
    } <= set(one)
    assert (one["features"], one["num"], one["nfe"], one["figure"]) == ("random", 300, 2, "FID(random)")
    for other in (["--batch", "37"], ["--gpus", "2", "--device", "cpu"]):
        assert json.loads(hgfctl(*command, *other).stdout)["fid"] == pytest.approx(one["fid"], rel=1e-6)


def test_the_pipeline_of_the_design_works(inside: Run, digits: str) -> None:
    sampled = inside("sample", "-", "--nfe", "2", "--num", "100", stdin=digits).stdout
    done = inside("eval-fid", "-", "--ref", "digits", stdin=sampled)
    assert done.stdout.startswith("FID(random) ")  # what small images are compared in when nobody says
    assert len(done.stdout.splitlines()) == 1
    assert "100 images" in done.stderr
    assert "too large" in done.stderr


def test_several_budgets_make_a_table_and_a_plot(inside: Run, digits: str, tmp_path: Path) -> None:
    command = ["eval-fid", digits, "--features", "pixels", "--nfe", "1,2,5", "--num", "60", "--seeds", "2"]
    done = inside(*command, "--out", "plot.png")
    head, *rows = done.stdout.splitlines()
    assert "FID(pixels)" in head
    assert [row.split()[0] for row in rows] == ["1", "2", "5"]
    assert all("±" in row for row in rows)
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.width > 300


def test_without_a_source_the_newest_run_is_meant(inside: Run, digits: str) -> None:
    before = Path(digits).parents[1]
    command = [sys.executable, "-m", "hgfctl", "eval-fid", "--features", "pixels", "--num", "50", "--nfe", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=before, check=True)
    assert "the newest run, runs/digits-oscillation-001" in done.stderr
    assert "no run with a checkpoint below ./runs" in inside("eval-fid", status=2).stderr


def test_statistics_are_made_once(inside: Run, tmp_path: Path) -> None:
    """`stats` writes a file that stands for the images; a reference is looked at once and then found in the cache."""
    np.save(tmp_path / "images.npy", pixels(200).permute(0, 2, 3, 1).numpy().repeat(2, 1).repeat(2, 2))
    made = inside("eval-fid", "stats", "images.npy", "--features", "random", "--out", "x.npz").stdout
    assert made == "x.npz\n"
    direct = inside("eval-fid", "images.npy", "--ref", "digits", "--features", "random", "--json")
    again = inside("eval-fid", "x.npz", "--ref", "digits", "--json")  # which features, the file says
    assert json.loads(again.stdout)["fid"] == pytest.approx(json.loads(direct.stdout)["fid"], rel=1e-12)
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 1
    inside("eval-fid", "images.npy", "--ref", "digits", "--split", "held-out", "--features", "random")
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 2


def test_folders_and_zips_are_one(inside: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i, image in enumerate(pixels(40).squeeze(1).numpy()):
        Image.fromarray(image).resize((8, 8)).save(tmp_path / "images" / f"{i:02}.png")
    inside("data", "prepare", "images", "--out", "images.zip")
    found = [
        inside("eval-fid", source, "--ref", "digits", "--features", "pixels").stdout
        for source in ("images", "images.zip")
    ]
    assert found[0] == found[1]


def test_weights_that_are_given(inside: Run, tmp_path: Path) -> None:
    weights = str(write_inception(tmp_path / "inception-2015-12-05.pt"))
    command = ["eval-fid", "digits", "--ref", "digits", "--split", "held-out", "--num", "20", "--weights", weights]
    assert "--allow-code" in inside(*command, status=2).stderr
    done = inside(*command, "--allow-code")
    assert done.stdout.startswith("FID(inception legacy-tensorflow ")  # never plain FID
    assert "FID(inception clean " in inside(*command, "--allow-code", "--resizing", "clean").stdout


def test_without_weights_one_message_says_what_to_do(inside: Run, digits: str) -> None:
    done = inside("eval-fid", digits, "--nfe", "2", "--num", "50", "--features", "inception", status=1)
    assert len(done.stderr.splitlines()) == 2
    for part in ("inception-2015-12-05.pt", "95,607,719 bytes", "SHA-256 f58cb9b6", "--features random"):
        assert part in done.stderr


def test_an_unwritable_plot_loses_nothing(inside: Run, digits: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    command = ["eval-fid", digits, "--features", "pixels", "--nfe", "1,2", "--num", "60", "--out", "file/plot.png"]
    done = inside(*command, status=1)
    assert len(done.stdout.splitlines()) == 3
    assert "cannot write" in done.stderr


def test_figures_are_kept_until_they_are_said(inside: Run, digits: str, tmp_path: Path) -> None:
    """Killed once it has begun its second budget, a sweep does not make the images of the first one again."""
    command = [sys.executable, "-m", "hgfctl", "eval-fid", digits, "--features", "pixels", "--num", "300"]
    command += ["--nfe", "1,400", "--batch", "20"]
    kept = tmp_path / "cache" / "evaluations"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while not list(kept.glob("[!.]*.json")):
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()
    (file,) = kept.glob("[!.]*.json")
    content = json.loads(file.read_text())
    content["values"]["frechet"]["distance"] = 1234.5  # no image would give this
    file.write_text(json.dumps(content))
    done = inside(*command[3:-4], "--nfe", "1", "--json")
    assert json.loads(done.stdout)["fid"] == 1234.5
    assert not file.exists()  # it has been said


def test_a_damaged_cache_is_made_again(inside: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((9, 8, 8), np.uint8))
    command = ["eval-fid", "images.npy", "--ref", "digits", "--split", "held-out", "--features", "pixels"]
    first = inside(*command).stdout
    (file,) = (tmp_path / "cache" / "statistics").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert inside(*command).stdout == first


def test_a_diverged_model_is_named(inside: Run, digits: str, tmp_path: Path) -> None:
    file = max((Path(digits) / "checkpoints").iterdir())
    tensors, description = tensor_files.load(file)
    tensor_files.save(tmp_path / "nan.safetensors", {k: v * torch.nan for k, v in tensors.items()}, description)
    done = inside("eval-fid", "nan.safetensors", "--features", "pixels", "--num", "50", "--nfe", "1", status=1)
    assert "the sample of seed 0 holds NaN" in done.stderr


def test_vectors_are_compared_without_features(inside: Run, ring: str) -> None:
    refused = inside("eval-fid", ring, "--nfe", "5", status=2).stderr
    assert "--features none" in refused
    assert "sliced Wasserstein" in refused
    command = ["eval-fid", ring, "--features", "none", "--num", "500", "--nfe", "5", "--json"]
    found = json.loads(inside(*command).stdout)
    assert found["sliced_wasserstein"] > found["floor"] > 0
    assert found["mmd_error"] > 0
    sampled = inside("sample", ring, "--nfe", "5", "--num", "500").stdout.strip()
    again = json.loads(
        inside("eval-fid", sampled, "--ref", "ring", "--num", "500", "--features", "none", "--json").stdout
    )
    assert again["sliced_wasserstein"] == pytest.approx(found["sliced_wasserstein"], rel=1e-4)


def test_wrong_requests_are_said_in_a_line(inside: Run, digits: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for i, size in enumerate([(8, 8), (8, 8), (9, 8)]):
        Image.new("L", size, 40 * i).save(tmp_path / "mixed" / f"{i}.png")
    np.save(tmp_path / "rgb.npy", np.zeros((9, 8, 8, 3), np.uint8))
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8), np.uint8))
    np.savez(tmp_path / "edm.npz", mu=np.zeros(7), sigma=np.eye(7))
    to_digits = ["--ref", "digits", "--features", "random"]
    for arguments, message in [
        (["empty", *to_digits], "no image in empty"),
        (["mixed", *to_digits], "mixed/2.png: is 9 x 8, and most are 8 x 8"),
        (["nowhere", *to_digits], "no data at nowhere"),
        (["rgb.npy"], "--ref says what to compare rgb.npy with"),
        (["rgb.npy", *to_digits, "--nfe", "5"], "are for models"),
        (["rgb.npy", "--ref", "edm.npz", "--features", "random"], "edm.npz has features of dimension 7"),
        (["rgb.npy", "--ref", "digits", "--features", "pixels"], "of dimension 192 and 64"),
        (["rgb.npy", *to_digits, "--resolution", "16"], "--resolution is for folders"),
        (["edm.npz", "--ref", "edm.npz", "--resizing", "clean"], "both sides are files of features"),
        (["edm.npz", "--ref", "edm.npz", "--split", "train"], "--split is for data sets"),
        (["one.npy", *to_digits], "one.npy holds 1 image"),
        (["stats", "rgb.npy", "--out", "x.npz", "--nfe", "5"], "are for models"),
        ([digits, "--nfe", "²"], "--nfe ²"),
        (["rgb.npy", "--ref", "digits", "--features", "hologram"], "unknown features 'hologram'"),
        (["rgb.npy", "--ref", "digits", "--features", "pixels", "--weights", "x.pt"], "pixels take none"),
        (["rgb.npy", "--ref", "digits", "--resizing", "nearest"], "unknown resizing 'nearest'"),
        (["rgb.npy", "--ref", "ring", "--features", "random"], "--features none"),
        ([digits, "--nfe", "5,x"], "--nfe 5,x"),
        ([digits, "--nfe", "5", "--out", "x.png"], "several budgets"),
        ([digits, "--split", "left", "--features", "pixels"], "split"),
        (["stats", "rgb.npy", "--out", "x.txt"], "ends in .npz"),
        (["stats", "edm.npz", "--out", "x.npz"], "features already"),
    ]:  # fmt: skip
        done = inside("eval-fid", *arguments, status=2)
        assert message in done.stderr, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) <= 2
