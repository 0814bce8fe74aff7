"""A campaign works its list off, whatever becomes of a single network."""

from pathlib import Path

from fvsr_bench.data.redegrade import redegrade
from fvsr_bench.data.store import open_dataset

LIST = """
data = "{data}"
steps = 2
[[train]]
method = "dummy"
recipe = "face"
[[train]]
method = "dummy"
seed = 1
"""


def test_one_network_that_cannot_be_trained_does_not_stop_the_others(
    patterns: Path, tmp_path: Path, cli
) -> None:
    file, weights = tmp_path / "c.toml", tmp_path / "w"
    file.write_text(LIST.format(data=patterns))
    arguments = ("campaign", file, "--out", weights, "--runs", tmp_path / "r", "--device", "cpu")
    answer = cli(*arguments)
    assert answer.code == 1
    assert "dummy/bi-face was not trained: the loss 'face' needs a recogniser" in answer.err
    assert "1 network is still missing" in answer.out
    assert (weights / "dummy" / "bi-seed1.safetensors").exists()
    answer = cli("campaign", file, "--out", weights, "--list")
    assert answer.code == 0
    assert answer.out.split("\n")[:2] == [
        "missing  dummy/bi-face (2 steps, seed 0)",
        "done     dummy/bi-seed1 (2 steps, seed 1)",
    ]


def test_networks_of_other_data_are_not_taken_for_its_own(
    patterns: Path, tmp_path: Path, cli
) -> None:
    file, weights = tmp_path / "c.toml", tmp_path / "w"
    file.write_text('data = "absent"\nsteps = 2\n[[train]]\nmethod = "dummy"\n')
    where = ("--out", weights, "--runs", tmp_path / "r", "--device", "cpu")
    assert cli("campaign", file, "--data", patterns, *where).code == 0
    assert (weights / "dummy" / "bi.safetensors").exists()
    twin = redegrade(open_dataset(patterns), "bd15", tmp_path / "twin").root
    assert "nothing is missing" in cli("campaign", file, "--data", patterns, *where).out
    assert "missing  dummy/bd15" in cli("campaign", file, "--data", twin, *where, "--list").out
    file.write_text(file.read_text() + 'tag = "bi"\n')
    answer = cli("campaign", file, "--data", twin, *where)
    assert answer.code == 2
    assert "trained otherwise than this list says (data: " in answer.err
