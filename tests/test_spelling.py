"""Messages of the engine name parameters; a shell's user reads options."""

import pytest

from hgfctl.cli.spelling import spelled


@pytest.mark.parametrize(
    ("engine", "shell"),
    [
        ("`nfe` is too few", "--nfe is too few"),
        ("a larger `guidance_interval`", "a larger --guidance-interval"),
        ("`nfe=10` is too few", "--nfe 10 is too few"),
        ("`train.batch=64` fits", "--set train.batch=64 fits"),
        ("`train.batch` is needed", "train.batch is needed"),
        ("`hgfctl presets` lists them", "`hgfctl presets` lists them"),
        ("`sample CKPT --nfe 10` stays", "`sample CKPT --nfe 10` stays"),
        ("no backticks", "no backticks"),
    ],
)
def test_parameters_become_options(engine: str, shell: str) -> None:
    assert spelled(engine) == shell
