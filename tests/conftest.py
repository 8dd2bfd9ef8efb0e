"""What all tests share: one thread a worker, exact hypothesis runs, and a command line that answers."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; programs that tests start inherit it

import pytest
import torch
from hypothesis import settings

from hgfctl.cli import app

settings.register_profile("hgfctl", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("hgfctl")
torch.set_num_threads(1)

Run = Callable[..., subprocess.CompletedProcess[str]]


SLOW_FIXTURES = {"hgfctl"}
SLOW_FILES = (
    *(
        "test_api",
        "test_cli",
        "test_consistency",
        "test_designed",
        "test_distributed",
        "test_evaluation",
        "test_features",
    ),
    *("test_laws", "test_legacy", "test_noised_scores", "test_paper", "test_power_ema", "test_score_matching"),
    *("test_snippets", "test_training"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what starts the program anew, and files that train at length."""
    for item in items:
        if item.path.stem in SLOW_FILES or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def hgfctl(tmp_path: Path) -> Run:
    """`hgfctl(*arguments)` runs the program as a user does, in a folder of the test's own."""

    def run(
        *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "hgfctl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            timeout=300,
            check=False,
        )
        if status is not None:
            assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """As `hgfctl`, in this process: without the seconds that loading torch takes."""

    def run(
        *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["hgfctl", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = app.status()
        done = subprocess.CompletedProcess(arguments, code, *capsys.readouterr())
        if status is not None:
            assert code == status, f"status {code}\n{done.stdout}\n{done.stderr}"
        return done

    return run
