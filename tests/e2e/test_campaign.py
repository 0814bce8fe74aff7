"""A campaign works its list off, whatever becomes of a single network."""

from pathlib import Path

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
