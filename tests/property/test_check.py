"""Law: `data check` finds every kind of damage, and nothing in a sound dataset."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from fvsr_bench.cli import run
from fvsr_bench.data.check import check_dataset
from fvsr_bench.data.sheet import contact_sheet, table_1
from fvsr_bench.data.store import ClipInfo, DatasetMeta, DatasetWriter, open_dataset
from fvsr_bench.errors import DataError


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound") / "set"
    writer = DatasetWriter(root, DatasetMeta(name="set", kind="faces", size=16, frames=3))
    rng = np.random.default_rng(0)
    for i, split in enumerate(("train", "train", "val", "test")):
        info = ClipInfo(
            clip=f"c{i}",
            source=f"v{i // 2}.avi",
            subject=f"s{i}",
            split=split,
            fps=25.0,
            first_frame=3 * (i % 2),
            frames=3,
            boxes=[[0, 0, 30, 30]] * 3,
            landmarks=[[[8.0, 8.0]] * 5] * 3,
        )
        writer.add(info, rng.integers(0, 256, (3, 16, 16, 3), np.uint8))
    return writer.finish().root


def change_table(root, name, column, row, value):
    table = pd.read_csv(root / name, dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(root / name, index=False)


def repaint(path):
    image = cv2.imread(str(path))
    image[0, 0] = 255 - image[0, 0]
    cv2.imwrite(str(path), image)


DAMAGE = {
    "the pixels of hr/c1": lambda r: repaint(r / "hr" / "c1" / "0002.png"),
    "the pixels of lr/c1": lambda r: repaint(r / "lr" / "c1" / "0002.png"),
    "lr/c0 is not hr/c0 degraded by 'bi'": lambda r: repaint(r / "lr" / "c0" / "0001.png"),
    "cannot read frame": lambda r: (r / "hr" / "c2" / "0003.png").unlink(),
    "belong to no frame": lambda r: (r / "hr" / "c2" / "0004.png").write_bytes(b""),
    "hr/c9 is in no table": lambda r: (r / "hr" / "c9").mkdir(),
    "subject 's3' is in more than one": lambda r: change_table(r, "index.csv", "subject", 0, "s3"),
    "the id in dataset.json": lambda r: change_table(r, "index.csv", "split", 0, "test"),
    "has split 'trial'": lambda r: change_table(r, "index.csv", "split", 0, "trial"),
    "names clip 'c0' twice": lambda r: change_table(r, "index.csv", "clip", 1, "c0"),
    "do not name the same clips": lambda r: change_table(r, "checksums.csv", "clip", 0, "x"),
    "share frames": lambda r: change_table(r, "index.csv", "first_frame", 1, "1"),
    "not 3 frames long": lambda r: change_table(r, "index.csv", "last_frame", 1, "9"),
    "has 0.0 fps": lambda r: change_table(r, "index.csv", "fps", 1, "0"),
    "lacks boxes or landmarks": lambda r: change_table(r, "index.csv", "boxes", 1, "[]"),
    "has a box that is empty": lambda r: change_table(
        r, "index.csv", "boxes", 1, json.dumps([[5, 5, 5, 9]] * 3)
    ),
    "landmarks far outside": lambda r: change_table(
        r, "index.csv", "landmarks", 1, json.dumps([[[99, 99]] * 5] * 3)
    ),
}


@pytest.mark.parametrize("message", list(DAMAGE))
def test_every_damage_is_found(sound, tmp_path, message):
    root = tmp_path / "set"
    shutil.copytree(sound, root)
    DAMAGE[message](root)
    try:
        problems = check_dataset(open_dataset(root))
    except DataError as error:
        problems = [str(error)]
    assert any(message in problem for problem in problems), problems


def test_a_sound_dataset_has_no_problem(sound, capsys):
    assert check_dataset(open_dataset(sound)) == []
    assert run(["data", "check", str(sound)]) == 0
    assert "4 clips, 12 frames, all good" in capsys.readouterr().out


def test_the_command_names_the_problems_and_exits_1(sound, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(sound, root)
    repaint(root / "hr" / "c1" / "0002.png")
    assert run(["data", "check", str(root)]) == 1
    shown = capsys.readouterr().err
    assert "the pixels of hr/c1 are not those of checksums.csv" in shown
    assert "problem(s)" in shown


def test_the_sheet_and_table_1(sound, tmp_path):
    dataset = open_dataset(sound)
    assert table_1(dataset)[0] == ("train", 340, 10880, 2, 6, 2)
    assert table_1(dataset)[-1] == ("total", 400, 12800, 4, 12, 4)
    contact_sheet(dataset, tmp_path / "sheet.png", clips=3)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * (16 + 40), 2 * 4 * 16 + 8, 3)
    first = cv2.imread(str(dataset.root / "hr" / "c0" / "0001.png"))
    np.testing.assert_array_equal(sheet[40:56, 16:32], first)
    dataset.index = dataset.index[dataset.index["split"] != "val"]
    with pytest.raises(DataError, match="no clips in split"):
        contact_sheet(dataset, tmp_path / "none.png", split="val")
