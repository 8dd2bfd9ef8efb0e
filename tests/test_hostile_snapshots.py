"""Files that would do harm, or are not what they seem: each is refused with its name, and nothing of it runs."""

import copyreg
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgfctl.engine.conversion.convert import convert
from hgfctl.engine.conversion.snapshot import CALLS
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.errors import RequestError
from hgfctl.storage.arrays_pickle import ARRAY_CALLS
from hgfctl.storage.inert_pickle import Unreadable, load
from tests.snapshots import RAN, Persistent, dumps, module, network, snapshot

SHAPE = (1, 4, 4)
SIZES: dict[str, Any] = {"model_channels": 4, "channel_mult": [1], "num_blocks": 0, "attn_resolutions": []}


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(UNet(SHAPE, 0, 0, "ddpm++", **SIZES).state_dict())


def honest(
    changed: dict[str, Any] | None = None, kind: str = "SongUNet", precond: str = "EDMPrecond", **made_with: Any
) -> bytes:
    """A good snapshot, or one with other weights or arguments."""
    tensors = {name: value for name, value in {**weights(), **(changed or {})}.items() if value is not None}
    raw = network(kind, tensors, SHAPE, 0, **{**SIZES, **made_with})
    return dumps(snapshot(precond, raw, sigma_data=0.5))


class Calls:
    """Pickles as a call of something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def calls(function: Any, *arguments: Any) -> bytes:
    return pickle.dumps({"ema": Calls(function, *arguments)})


def with_storage(content: bytes) -> bytes:
    """A snapshot whose only tensor lies in these bytes."""
    return calls(torch.storage._load_from_bytes, content)


def stored(
    named: str = "torch FloatStorage", count: int = 4, numbers: bytes = bytes(16), object_: bytes = b""
) -> bytes:
    """A storage as PyTorch pickles it."""
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    module_and_name = named.replace(" ", "\n").encode()
    described = b"\x80\x02(X\x07\x00\x00\x00storagec" + module_and_name + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    described += pickle.dumps(count, 2)[2:-1] + b"NtQ."
    return b"".join([*parts, object_ or described, pickle.dumps(["0"], 2), count.to_bytes(8, "little"), numbers])


def tensor(offset: Any, size: Any, stride: Any) -> bytes:
    class Storage:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (stored(),)

    return calls(torch._utils._rebuild_tensor_v2, Storage(), offset, size, stride, False, {})


def zip_bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**7))
    return content.getvalue()


def containing_itself() -> bytes:
    inner = network("SongUNet", weights(), SHAPE, 0, **SIZES)
    inner.meta["state"]["_modules"]["enc"] = torch.nn.ModuleDict()
    inner.meta["state"]["_modules"]["enc"]._modules["again"] = inner.meta["state"]["_modules"]["enc"]
    return dumps(snapshot("EDMPrecond", inner, sigma_data=0.5))


def one_storage_for_all() -> bytes:
    """Weights that are views of one storage: the more of them, the more memory from the same file."""
    shared = torch.nn.Parameter(torch.zeros(100_000), requires_grad=False)
    raw = network(
        "SongUNet", {f"w{i}": shared for i in range(50)} | {"dec.4x4_aux_conv.weight": shared}, SHAPE, 0, **SIZES
    )
    raw.meta["state"]["_parameters"]["dec.4x4_aux_conv.bias"] = shared
    return dumps(snapshot("EDMPrecond", raw, sigma_data=0.5))


def laughing() -> bytes:
    """A key whose hash takes 2^40 steps."""
    return b"}K\x00" + b"q\x01h\x01\x86" * 40 + b"K\x01s."


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    # Names
    "os.system": (lambda: calls(os.system, f"touch {RAN}"), r"(posix|nt)\.system"),
    "os.system in text": (lambda: b"(dS'ema'\ncos\nsystem\n(S'touch " + RAN.encode() + b"'\ntRs.", r"os\.system"),
    "eval": (lambda: calls(eval, f"open({RAN!r}, 'w')"), r"builtins\.eval"),
    "exec": (lambda: calls(exec, f"open({RAN!r}, 'w')"), r"builtins\.exec"),
    "getattr": (lambda: b"cbuiltins\ngetattr\n.", r"builtins\.getattr"),
    "Path.touch": (lambda: calls(Path.touch, RAN), r"which is not loaded"),
    "torch.load": (lambda: calls(torch.load, RAN), r"torch\.serialization\.load"),
    "a dotted name": (
        lambda: b"\x80\x04\x8c\x0ctorch._utils\x8c(_rebuild_parameter.__globals__.__class__\x93.",
        r"torch\._utils\._rebuild_parameter\.__globals__",
    ),
    "a neighbour of what is allowed": (
        lambda: b"\x80\x04ctorch._utils\n_rebuild_parameter_with_state\n.", r"_rebuild_parameter_with_state"),
    "an allowed name of another module": (lambda: b"cevil\nOrderedDict\n.", r"evil\.OrderedDict"),
    "an allowed module as a prefix": (lambda: b"ccollections.evil\nOrderedDict\n.", r"collections\.evil\.OrderedDict"),
    "a name with control characters": (lambda: b"cos\n\x1b[2Jsystem\n.", r"os\.\?\[2Jsystem"),
    "an instance of a class": (lambda: b"(S'touch'\nios\nsystem\n.", r"os\.system"),
    # Instructions
    "an extension code": (lambda: b"\x80\x02\x82\x01.", "EXT1"),
    "a persistent id": (lambda: b"\x80\x02K\x01Q.", "BINPERSID"),
    "a persistent id in text": (lambda: b"Psome id\n.", "PERSID"),
    "a value thrown away": (lambda: b"K\x010.", "POP"),
    "a value twice": (lambda: b"K\x012.", "DUP"),
    "keyword arguments": (
        lambda: b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
    "a buffer out of band": (lambda: b"\x80\x05\x97.", "NEXT_BUFFER"),
    "the state of a name": (
        lambda: b"ccollections\nOrderedDict\n}X\x05\x00\x00\x00__a__K\x01sb.", r"state of collections\.OrderedDict"),
    "the state of a number": (lambda: b"K\x01}b.", "state of a int"),
    "the state of a record": (lambda: dumps({"ema": Calls(_stated, Persistent("X", {}))}), "state of a X|_stated"),
    "a call of a text": (lambda: b"X\x02\x00\x00\x00os)R.", "calls a str"),
    # Sizes
    "bytes of a terabyte": (lambda: b"\x8e" + (2**40).to_bytes(8, "little") + b"ab.", "bytes"),
    "a number of two gigabytes": (lambda: b"\x8b\xff\xff\xff\x7fab.", "long4|2147483647|bytes"),
    "a memo of two billion": (lambda: b"}r\xff\xff\xff\x7f.", "no network 'ema'"),
    "a key of 2^40 steps": (laughing, "a key of one of its dictionaries is a tuple"),
    "a deep list": (lambda: b"]" * 100_000 + b"a" * 99_999 + b".", "no network 'ema'"),
    "a network that contains itself": (containing_itself, "more than 20000 parts"),
    "one storage for all": (one_storage_for_all, "more numbers than the file holds"),
    # Storages
    "a pickle in a storage": (lambda: with_storage(calls(os.system, f"touch {RAN}")), r"(posix|nt)\.system"),
    "a pickle within a storage's pickles": (
        lambda: with_storage(stored(object_=calls(os.system, f"touch {RAN}"))), r"(posix|nt)\.system"),
    "a storage of another kind": (lambda: with_storage(stored(named="os system")), r"os\.system"),
    "a zip bomb": (lambda: with_storage(zip_bomb()), "zip"),
    "a storage in today's form": (lambda: with_storage(saved(torch.zeros(3))), "zip"),
    "a storage that says more than it holds": (lambda: with_storage(stored(count=2**40)), "1099511627776 numbers"),
    "a storage that holds more than it says": (lambda: with_storage(stored(numbers=bytes(64))), "4 numbers, and 64"),
    "a tensor of repetitions": (lambda: tensor(0, (10**6, 10**6), (0, 0)), "reaches beyond"),
    "a tensor beyond its storage": (lambda: tensor(2, (4,), (1,)), "reaches beyond"),
    "a tensor before its storage": (lambda: tensor(-1, (2,), (1,)), "reaches beyond"),
    "a tensor of text": (lambda: tensor("0", (2,), (1,)), "not described"),
    "numbers of objects": (lambda: pickle.dumps({"ema": np.dtype("O")}), "numbers of a type"),
    # Files
    "nothing": (lambda: b"", "no snapshot"),
    "half of a file": (lambda: honest()[: len(honest()) // 2], "no snapshot"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(50), "no snapshot"),
    "a zip": (zip_bomb, "no snapshot"),
    "text": (lambda: b"hello, world\n", "no snapshot"),
    "a list": (lambda: pickle.dumps([1]), "no network 'ema'"),
    "no ema": (lambda: pickle.dumps({"G": 1}), "no network 'ema'"),
    "an ema that is a dictionary": (lambda: dumps({"ema": {"weight": 1}}), "no network 'ema'"),
    # Networks
    "an unknown preconditioning": (lambda: honest(precond="EDMPrecnd"), "unknown preconditioning 'EDMPrecnd'; did you"),
    "an unknown network": (lambda: honest(kind="StyleGAN"), "unknown network 'StyleGAN'"),
    "no network": (lambda: dumps({"ema": module("EDMPrecond", {}, sigma_data=0.5)}), "has no network 'model'"),
    "no module": (lambda: dumps({"ema": Persistent("EDMPrecond", {"sigma_data": 0.5})}), "is no module"),
    "an unknown variant": (lambda: honest(encoder_type="skip"), "neither DDPM"),
    "a forged filter": (lambda: honest({"enc.4x4_conv.resample_filter": torch.ones(1, 1, 2, 2)}), "is not the filter"),
    "a billion channels": (lambda: honest(model_channels=10**9), "model_channels of SongUNet is to be a whole number"),
    "a million blocks": (lambda: honest(num_blocks=10**6), "num_blocks"),
    "a thousand levels": (lambda: honest(channel_mult=[1] * 1000), "channel_mult"),
    "no levels": (lambda: honest(channel_mult=[]), "without levels"),
    "no channels": (lambda: honest(model_channels=0), "model_channels of SongUNet is to be"),
    "channels of text": (lambda: honest(model_channels="8"), "model_channels of SongUNet is to be a whole number"),
    "weights of another shape": (
        lambda: honest({"map_layer0.weight": torch.zeros(5, 5)}), r"map_layer0.weight is float32 of shape \(5, 5\)"),
    "weights that are whole numbers": (lambda: honest({"map_layer0.bias": torch.zeros(16).long()}), "int64"),
    "weights of NaN": (lambda: honest({"map_layer1.bias": torch.full((16,), torch.nan)}), "map_layer1.bias holds NaN"),
    "a missing weight": (lambda: honest({"map_layer0.weight": None}), "has map_layer0.weight, and the file does not"),
    "a weight too many": (lambda: honest({"map_layer2.weight": torch.zeros(2)}), "it has map_layer2.weight"),
    "no last convolution": (lambda: honest({"dec.4x4_aux_conv.bias": None}), "lacks dec.4x4_aux_conv.bias"),
}  # fmt: skip


def _stated(value: Any) -> Any:
    raise AssertionError


def saved(value: torch.Tensor) -> bytes:
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_with_its_name_and_nothing_runs(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = HOSTILE[case]
    (tmp_path / "x.pkl").write_bytes(content())
    with pytest.raises(RequestError, match=message) as refusal:
        convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")
    assert len(str(refusal.value).splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pkl"]


def test_the_honest_one_is_taken_and_its_source_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(honest())
    convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")
    assert not (tmp_path / RAN).exists()


def test_a_registered_extension_code_is_refused_too(tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 0xF1)
    try:
        (tmp_path / "x.pkl").write_bytes(b"\x80\x02\x82\xf1.")
        with pytest.raises(RequestError, match="EXT1"):
            convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")
    finally:
        copyreg.remove_extension("os", "system", 0xF1)


def test_every_prefix_and_every_flipped_byte_of_a_file_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred damaged files: each is read, or refused as a wrong request; none fails in another way."""
    monkeypatch.chdir(tmp_path)
    good = honest()
    rng = np.random.default_rng(0)
    head = [*range(0, 2000, 40), *rng.integers(0, len(good), 60).tolist()]
    for at in head:
        for damaged in (good[:at], good[:at] + bytes([rng.integers(256)]) + good[at + 1 :]):
            (tmp_path / "x.pkl").write_bytes(damaged)
            with suppress(RequestError):
                convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")
    assert not (tmp_path / RAN).exists()


def test_a_program_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgfctl.storage.inert_pickle.MOST_INSTRUCTIONS", 1000)
    (tmp_path / "x.pkl").write_bytes(b"]" * 2000 + b".")
    with pytest.raises(RequestError, match="more than 1,000 instructions"):
        convert(tmp_path / "x.pkl", tmp_path / "x.safetensors")


def test_only_ten_names_are_known() -> None:
    """The eight of EDM's snapshots, one of them under both names of NumPy's core, and EDM2's dictionary."""
    assert len(CALLS) == 10


def test_small_files_take_little_time_and_memory(tmp_path: Path) -> None:
    """The same bytes made into many things, keys of one hash, a path that doubles at every level."""
    content = b"x" * 5000
    again = b"".join(
        [
            b"\x80\x02]q\x00(c_codecs\nencode\nq\x01X",
            len(content).to_bytes(4, "little") + content + b"q\x02X\x06\x00\x00\x00latin1q\x03\x86R",
            *[b"h\x01h\x02h\x03\x86R"] * 3,
            b"e.",
        ]
    )
    with pytest.raises(Unreadable, match="several things of the same bytes"):
        load(io.BytesIO(again), ARRAY_CALLS)
    colliding = pickle.dumps({k * (2**61 - 1): None for k in range(1, 9)})
    with pytest.raises(Unreadable, match="a key of one of its dictionaries"):
        load(io.BytesIO(colliding), {})
    deep: Any = "x"
    for _ in range(60):
        deep = (deep, deep)
    tensors = weights()
    raw = network("SongUNet", tensors, SHAPE, 0, **SIZES)
    whole = snapshot("EDMPrecond", raw, sigma_data=0.5)
    whole["dataset_kwargs"] = {"path": deep}
    (tmp_path / "deep.pkl").write_bytes(dumps(whole))
    convert(tmp_path / "deep.pkl", tmp_path / "x.safetensors")
