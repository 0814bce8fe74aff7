"""Reading other people's files: every format and wrapper, and nothing they claim is believed."""

import contextlib
import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fvsr_bench import registry
from fvsr_bench.cli import run
from fvsr_bench.convert import LAYOUTS, convert
from fvsr_bench.convert.crc32c import crc32c
from fvsr_bench.convert.readers import read_checkpoint
from fvsr_bench.convert.tf_bundle import read_bundle
from fvsr_bench.errors import UsageError, WeightsError
from fvsr_bench.spec import DEGRADATIONS

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def port(authors: ModuleType) -> Weights:
    """Return a small generator in the PyTorch port's layout."""
    return authors.random_weights(authors.port_shapes(2, width=8))


@pytest.fixture(scope="module")
def reference(port: Weights, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Return what the generator becomes, read from a plain file."""
    path = tmp_path_factory.mktemp("plain") / "G.pth"
    torch.save(port, path)
    return dict(convert([path], "frvsr", degradation="bi").state)


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- formats and wrappers ---


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_as_if_on_cuda(content: object, path: Path) -> None:
    """Write a legacy pickle whose storages are tagged as those of a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        save_legacy(content, path)


WRITERS = {
    "zip": torch.save,
    "legacy": save_legacy,
    "cuda": save_as_if_on_cuda,
    "safetensors": save_file,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_format(port: Weights, reference: Weights, tmp_path: Path, writer: str) -> None:
    path = tmp_path / "weights.bin"  # the name says nothing
    WRITERS[writer](port, path)
    if writer == "cuda":
        assert b"cuda:0" in path.read_bytes()
    assert same(convert([path], "frvsr", degradation="bi").state, reference)


WRAPPED: dict[str, Callable[[Weights], object]] = {
    "data-parallel": lambda w: {f"module.{k}": v for k, v in w.items()},
    "state_dict": lambda w: {"state_dict": w, "epoch": 3},
    "params": lambda w: {"params": w},
    "params_ema": lambda w: {"params": {"a": torch.ones(1)}, "params_ema": w},
    "both": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
    "mmagic": lambda w: {
        "state_dict": {
            **{f"generator.{k}": v for k, v in w.items()},
            "step_counter": torch.zeros(1),
            "discriminator.conv.weight": torch.zeros(1),
        }
    },
    "half": lambda w: {k: v.half().float() for k, v in w.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_every_wrapper(port: Weights, reference: Weights, tmp_path: Path, wrapper: str) -> None:
    torch.save(WRAPPED[wrapper](port), tmp_path / "w.pth")
    done = convert([tmp_path / "w.pth"], "frvsr", degradation="bi")
    if wrapper == "half":
        assert torch.equal(done.state["conv_out.bias"], port["srnet.conv_out.bias"].half().float())
    else:
        assert same(done.state, reference)
        assert done.notes, "what was taken off is told"
        assert done.card.notes == "; ".join(done.notes)


def test_half_precision_becomes_float32(port: Weights, tmp_path: Path) -> None:
    torch.save({k: v.half() for k, v in port.items()}, tmp_path / "w.pth")
    done = convert([tmp_path / "w.pth"], "frvsr", degradation="bi")
    assert {value.dtype for value in done.state.values()} == {torch.float32}


# --- the card ---


def test_the_card_says_what_the_weights_mean(port: Weights, tmp_path: Path) -> None:
    torch.save(port, tmp_path / "BD.pth")
    out = tmp_path / "port-bd.safetensors"
    args = ["weights", "convert", str(tmp_path / "BD.pth"), "--method", "tecogan"]
    assert run([*args, "--degradation", "bd15", "--out", str(out)]) == 0
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["method"], card["tag"]) == ("tecogan", "port-bd")
    assert (card["degradation"], card["phase"]) == ("bd15", "corner")
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert "BD.pth" in card["origin"]
    assert (card["options"]["blocks"], card["options"]["width"]) == (2, 8)
    told = {
        *("layout", "authors_code", "source_sha256", "colour", "range", "flow", "flow_axes"),
        *("align_corners", "padding", "transposed_convolution", "skip", "warm_up_frames"),
    }
    assert told <= card["semantics"].keys()
    assert card["semantics"]["skip"] == "corner-bicubic"
    out.with_suffix(".json").unlink()  # the card also travels in the file
    inside = registry.load_card("tecogan", out)
    assert inside.semantics == card["semantics"]
    assert registry.load_model("tecogan", out).skip == "corner-bicubic"


def test_degradation_has_to_be_said_where_the_layout_does_not_tell(
    port: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(port, tmp_path / "G.pth")
    args = ["weights", "convert", str(tmp_path / "G.pth"), "--method", "frvsr"]
    out = tmp_path / "G.safetensors"
    assert run([*args, "--out", str(out)]) == 2
    assert "--degradation bi|bd15" in capsys.readouterr().err
    assert not out.exists()
    assert run([*args, "--out", str(out), "--degradation", "bd51"]) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_a_degradation_that_the_file_contradicts_is_refused(port: Weights, tmp_path: Path) -> None:
    """The port's BD network has a buffer of cubic kernels that its BI network has not."""
    torch.save({**port, "upsample_func.kernels": torch.zeros(4, 4)}, tmp_path / "G.pth")
    with pytest.raises(UsageError, match=r"bi \(centre phase\) contradicts .* expected bd15"):
        convert([tmp_path / "G.pth"], "frvsr", degradation="bi")
    done = convert([tmp_path / "G.pth"], "frvsr", degradation="bd15")
    assert done.fit.ignored == ("upsample_func.kernels",)
    with pytest.raises(UsageError, match="its buffers are those of bd15: add --degradation bd15"):
        convert([tmp_path / "G.pth"], "frvsr")


def test_tip_x4_was_published_for_two_degradations(authors: ModuleType, tmp_path: Path) -> None:
    torch.save(authors.random_weights(authors.tip_shapes(4, width=8)), tmp_path / "x4.pth")
    torch.save(authors.random_weights(authors.tip_shapes(2, width=8)), tmp_path / "x2.pth")
    with pytest.raises(UsageError, match=r"--degradation bi\|bd16"):
        convert([tmp_path / "x4.pth"], "sofvsr")
    assert convert([tmp_path / "x4.pth"], "sofvsr", degradation="bd16").card.phase == "corner"
    assert convert([tmp_path / "x2.pth"], "sofvsr").card.degradation == "bi"


# --- what does not fit ---


def refused(weights: Weights, tmp_path: Path, method: str = "frvsr") -> str:
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        convert([tmp_path / "w.pth"], method, degradation="bi")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_tensor_is_named(port: Weights, tmp_path: Path) -> None:
    message = refused({k: v for k, v in port.items() if k != "fnet.flow.2.bias"}, tmp_path)
    assert "found 43; missing (1): fnet.flow.2.bias" in message
    assert "not of it" not in message


def test_an_unknown_tensor_is_named(port: Weights, tmp_path: Path) -> None:
    message = refused({**port, "srnet.attention.weight": torch.zeros(3)}, tmp_path)
    assert "found 44; not of it (1): srnet.attention.weight" in message


def test_a_gap_in_the_numbers_is_named(port: Weights, tmp_path: Path) -> None:
    odd = {k.replace("resblocks.1.", "resblocks.999999999."): v for k, v in port.items()}
    assert "srnet.resblocks.1.conv.0.weight" in refused(odd, tmp_path)


def test_strangers_are_told_from_strange_weights(tmp_path: Path) -> None:
    message = refused({f"layer{i}.weight": torch.zeros(2) for i in range(9)}, tmp_path)
    assert "looked for the 76 tensors of tecogan-torch (fnet.encoder1.0.weight" in message
    assert "found none of them; found (9): layer0.weight" in message
    assert "(5 more)" in message


def test_weights_of_another_method_name_that_method(port: Weights, tmp_path: Path) -> None:
    assert "use --method frvsr or tecogan" in refused(port, tmp_path, "sofvsr")


def test_a_wrong_shape_is_told_with_both_shapes(port: Weights, tmp_path: Path) -> None:
    message = refused({**port, "srnet.conv_out.bias": torch.zeros(4)}, tmp_path)
    assert "srnet.conv_out.bias (4,)" in message
    assert "(3,)" in message


@pytest.mark.parametrize("bad", [torch.tensor(torch.nan), torch.tensor(torch.inf)])
def test_values_that_are_no_numbers_are_refused(port: Weights, tmp_path: Path, bad: Tensor) -> None:
    message = refused({**port, "srnet.conv_out.bias": bad.repeat(3)}, tmp_path)
    assert "no finite numbers: srnet.conv_out.bias" in message


def test_every_layout_belongs_to_a_method_and_every_rule_fills_one_tensor() -> None:
    named = {name: registry.load_spec(name).layouts for name in registry.methods()}
    assert {layout for names in named.values() for layout in names} == LAYOUTS.keys()
    for method, names in named.items():
        for layout in (LAYOUTS[name] for name in names):
            sizes = layout.sizes({})
            rules = layout.rules(sizes)
            assert len({rule.theirs for rule in rules}) == len(rules)
            options = layout.options(sizes, DEGRADATIONS["bi"])
            own = registry.build(method, options).state_dict().keys()
            assert sorted(rule.ours for rule in rules) == sorted(own)


def test_trained_weights_are_not_overwritten(
    port: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(port, tmp_path / "w.pth")
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    args = ["weights", "convert", str(tmp_path / "w.pth"), "--method", "frvsr"]
    args += ["--degradation", "bi", "--out", str(out)]
    assert run(args) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == b"precious"
    assert run([*args, "--force"]) == 0
    assert run(args) == 0  # a converted file may be converted again
    assert run([*args[:-1], str(tmp_path / "w.pt")]) == 2


# --- showing ---


def test_show_holds_a_file_against_a_layout_key_by_key(
    port: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {k: v for k, v in port.items() if k != "fnet.flow.2.bias"}
    torch.save({**weights, "odd": torch.zeros(2)}, tmp_path / "w.pth")
    assert run(["weights", "show", str(tmp_path / "w.pth"), "--method", "frvsr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("fnet.flow.2.bias  MISSING" in line for line in lines)
    assert any("odd  [2]  -> UNKNOWN" in line for line in lines)
    assert any("srnet.conv_in.0.weight  [8, 51, 3, 3]  -> conv_in.weight" in x for x in lines)


def test_list_and_show_what_was_converted(
    port: Weights,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.save(port, tmp_path / "w.pth")
    monkeypatch.setenv("FVSR_BENCH_WEIGHTS", str(tmp_path))
    out = tmp_path / "frvsr" / "port-bi.safetensors"
    args = ["weights", "convert", str(tmp_path / "w.pth"), "--method", "frvsr"]
    assert run([*args, "--degradation", "bi", "--out", str(out)]) == 0
    capsys.readouterr()
    assert run(["weights", "list", "frvsr", "--json"]) == 0
    rows = {row["tag"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["port-bi"]["trained_for"] == "bi (centre)"
    assert run(["weights", "show", "frvsr@port-bi"]) == 0
    assert json.loads(capsys.readouterr().out)["semantics"]["layout"] == "tecogan-torch"
    assert run(["weights", "list", "frvrs"]) == 2


# --- damaged and hostile files ---


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_cut_off_files_are_refused_in_one_line(
    port: Weights, tmp_path: Path, writer: str, part: float
) -> None:
    path = tmp_path / "w.pth"
    WRITERS[writer](port, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    assert "w.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"GIF89a" + bytes(99), "starts with 47 49 46"),
        (struct.pack("<Q", 1 << 60) + b"{" + bytes(99), "safetensors"),
        (b"PK\x03\x04" + bytes(99), "zip"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        read_checkpoint(tmp_path / "w.pth")


def test_a_table_of_other_things_is_refused(tmp_path: Path) -> None:
    for content in ([torch.zeros(2)], {"a": "text"}, {}, torch.zeros(3)):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(WeightsError, match="expected"):
            read_checkpoint(tmp_path / "w.pth")


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    """A stride of 0 makes a tensor of any size from four bytes."""
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="claims 4000000000000 bytes"):
        read_checkpoint(tmp_path / "w.pth")


# --- TensorFlow checkpoints ---


TENSORS = {
    "scope/conv/weights": torch.arange(24.0).view(2, 3, 4),
    "scope/conv/biases": torch.tensor([1.5, -2.0]),
    "scope/scalar": torch.tensor(3.0),
    **{f"scope/block_{i}/long/common/prefix/weights": torch.full((i + 1,), i) for i in range(12)},
}


@pytest.fixture
def bundle(tmp_path: Path, write_bundle: Callable[..., None]) -> Path:
    write_bundle(tmp_path / "model", {k: v.float() for k, v in TENSORS.items()})
    return tmp_path / "model"


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001", ".meta"])
def test_bundle_round_trip(bundle: Path, ending: str) -> None:
    """Any of the checkpoint's files, or its prefix, is a name for it."""
    bundle.with_name("model.meta").write_bytes(b"a graph")
    read = read_checkpoint(bundle.with_name(f"model{ending}")).tensors
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[k], v.float()) for k, v in TENSORS.items())
    assert read["scope/scalar"].shape == ()


@pytest.mark.parametrize(
    ("message", "value"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_of_rfc_3720(message: bytes, value: int) -> None:
    assert crc32c(message) == value


def test_crc32c_of_long_messages_is_that_of_its_bytes() -> None:
    data = np.random.default_rng(0).bytes(50_001)
    table = [0] * 256
    for i in range(256):
        value = i
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table[i] = value
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    assert crc32c(data) == crc ^ 0xFFFFFFFF


def index(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".index")


def data(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".data-00000-of-00001")


def broken(prefix: Path, says: str) -> None:
    with pytest.raises(WeightsError, match=says) as caught:
        read_bundle(prefix)
    assert "\n" not in str(caught.value)


def test_a_changed_weight_is_noticed(bundle: Path) -> None:
    raw = bytearray(data(bundle).read_bytes())
    raw[-1] ^= 1
    data(bundle).write_bytes(raw)
    broken(bundle, "the checksum of scope/scalar is wrong")


def test_every_changed_byte_of_the_index_is_noticed(bundle: Path) -> None:
    raw = index(bundle).read_bytes()
    for at in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[at] ^= 0x40
        index(bundle).write_bytes(changed)
        try:
            read, _ = read_bundle(bundle)
        except WeightsError:
            continue
        # Only the footer's padding and the block of metadata, which is not used, may change.
        assert all(np.array_equal(read[k], v.float().numpy()) for k, v in TENSORS.items())


@pytest.mark.parametrize("keep", [0, 10, 47, 48, 0.5, 0.9])
def test_a_cut_off_index_is_noticed(bundle: Path, keep: float) -> None:
    raw = index(bundle).read_bytes()
    index(bundle).write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    broken(bundle, "no readable TensorFlow V2 checkpoint")


def test_cut_off_or_missing_data_is_noticed(bundle: Path) -> None:
    data(bundle).write_bytes(data(bundle).read_bytes()[:-4])
    broken(bundle, "asks for more bytes than|that file is cut off")
    data(bundle).unlink()
    broken(bundle, r"model\.data-00000-of-00001 is missing")


def test_compressed_blocks_are_named(bundle: Path, write_table: Callable[..., bytes]) -> None:
    index(bundle).write_bytes(write_table({b"": b"\x08\x01"}, kind=1))
    broken(bundle, "compressed with snappy, which is not supported")


def test_a_table_without_header_is_named(bundle: Path, write_table: Callable[..., bytes]) -> None:
    index(bundle).write_bytes(write_table({b"weights": b""}))
    broken(bundle, "TensorFlow V1 checkpoint")


@pytest.mark.parametrize(
    ("shape", "offset", "size"),
    [
        ((10**9, 10**9), 0, 4 * 10**18),  # more than there is memory
        ((2**62,), 0, 8),  # shape and size disagree
        ((2,), 2**62, 8),
        ((2**32, 2**32), 0, 0),  # the product overflows 64 bits
        ((2,), 10**6, 8),
    ],
)
def test_absurd_sizes_take_no_memory(
    bundle: Path,
    write_table: Callable[..., bytes],
    write_entry: Callable[..., bytes],
    shape: tuple[int, ...],
    offset: int,
    size: int,
) -> None:
    rows = {b"": b"\x08\x01", b"w": write_entry(shape, offset, size)}
    index(bundle).write_bytes(write_table(rows))
    broken(bundle, "w (asks|has|lies)")


def test_many_tensors_on_the_same_bytes_are_refused(
    bundle: Path, write_table: Callable[..., bytes], write_entry: Callable[..., bytes]
) -> None:
    """A small index must not turn one large block of data into thousands."""
    size = data(bundle).stat().st_size
    rows = {b"%05d" % i: write_entry((size // 4,), 0, size) for i in range(50)}
    index(bundle).write_bytes(write_table({b"": b"\x08\x01", **rows}))
    broken(bundle, "asks for more bytes than")


# --- pickles that run code ---


class Evil:
    """A pickle that leaves a mark where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def evil_zip(mark: Path) -> bytes:
    path = mark.with_name("evil-source.pt")
    torch.save({"state_dict": {"w": Evil(mark)}}, path)
    return path.read_bytes()


def evil_legacy(mark: Path) -> bytes:
    path = mark.with_name("evil-source.pt")
    save_legacy({"w": Evil(mark)}, path)
    return path.read_bytes()


def evil_raw(mark: Path) -> bytes:
    return pickle.dumps({"w": Evil(mark)})


EVILS = {"zip": evil_zip, "legacy": evil_legacy, "raw": evil_raw}


@pytest.fixture(params=EVILS)
def evil(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[bytes, Path]:
    mark = tmp_path / "it-ran"
    return EVILS[request.param](mark), mark


def test_evil_pickles_are_evil(evil: tuple[bytes, Path], tmp_path: Path) -> None:
    """The test of the tests: loaded without care, each one runs."""
    content, mark = evil
    (tmp_path / "w.pt").write_bytes(content)
    with contextlib.suppress(Exception):  # raw pickles are no torch file; that shows too late
        torch.load(tmp_path / "w.pt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("weights", "convert", "FILE", "--method", "frvsr", "--out", "OUT.safetensors"),
        ("weights", "show", "FILE"),
        ("weights", "show", "FILE", "--method", "frvsr"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.pt"])
def test_commands_run_no_code_from_files(
    evil: tuple[bytes, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    name: str,
) -> None:
    content, mark = evil
    path, out = tmp_path / name, tmp_path / "out.safetensors"
    path.write_bytes(content)
    words = {"FILE": str(path), "OUT.safetensors": str(out)}
    assert run([words.get(word, word) for word in command]) == 1
    error = capsys.readouterr().err
    assert not mark.exists()
    assert not out.exists()
    assert len(error.splitlines()) == 1
    assert str(path) in error
    if b"PK" in content[:2] or b"\x80" in content[:1]:
        assert "run code" in error or "damaged" in error or "safetensors" in error


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_load_model_runs_no_code(evil: tuple[bytes, Path], tmp_path: Path, name: str) -> None:
    content, mark = evil
    path = tmp_path / name
    path.write_bytes(content)
    card = {"format": 1, "method": "dummy", "tag": "w", "options": {}, "degradation": "bi"}
    card |= {"sha256": "", "phase": "centre", "origin": "?", "licence": "?", "data": "?"}
    card |= {"recipe": {}, "steps": 0, "seed": 0, "minutes": 0.0, "validation": {}}
    for beside in (False, True):
        if beside:
            path.with_suffix(".json").write_text(json.dumps(card))
        for weights in (path, str(path)):
            with pytest.raises(WeightsError) as caught:
                registry.load_model("dummy", weights)
            assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "change",
    [{"options": [1]}, {"options": None}, {"format": "z"}, {"degradation": 5}, {"semantics": "x"}],
)
def test_a_card_of_nonsense_is_refused_in_one_line(tmp_path: Path, change: dict) -> None:
    card = {"format": 1, "method": "dummy", "options": {}, "degradation": "bi", **change}
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"card": json.dumps(card)})
    with pytest.raises(WeightsError, match=f"wrong type of value under {next(iter(change))}"):
        registry.load_model("dummy", path)


def test_training_runs_no_code_from_weights_or_checkpoints(
    evil: tuple[bytes, Path], tmp_path: Path
) -> None:
    from fvsr_bench.runs import Run

    content, mark = evil
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoint.pt").write_bytes(content)
    job = Run(folder)
    with pytest.raises(WeightsError) as caught:
        job.load(job.checkpoint)
    assert "\n" not in str(caught.value)
    (tmp_path / "start.safetensors").write_bytes(content)  # train --start
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        registry.read_weights(tmp_path / "start.safetensors")
    assert not mark.exists()


def test_the_face_detector_runs_no_code(
    evil: tuple[bytes, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.machinery import ModuleSpec

    from fvsr_bench.errors import DataError
    from fvsr_bench.faces import detector

    content, mark = evil
    spec = ModuleSpec("facenet_pytorch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(detector, "find_spec", lambda name: spec)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pnet.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"pnet\.pt does not hold"):
        detector._load_net("P")
    assert not mark.exists()
