"""Laws of the record table: what is written is read, averages are those of plain loops."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fvsr_bench import records
from fvsr_bench.errors import DataError
from fvsr_bench.spec import FAPN_PROTOCOL

KEY = records.RunKey(
    run_id="0" * 12, model="m", variant="full", weights="bi", dataset="d", degradation="bi"
)


def write(folder, clips, name="m", run_id="0" * 12):
    key = dataclasses.replace(KEY, run_id=run_id)
    parts = []
    for clip, measured in clips.items():
        parts.append(folder / ".parts" / f"{clip}-{run_id}.parquet")
        records.write_table(records.clip_table(key, clip, measured), parts[-1])
    records.merge_parts(parts, folder / f"{name}-{run_id}.parquet")
    return records.read_records(folder)


def clips_of(seed, metric=("psnr", "rgb-c0")):
    rng = np.random.default_rng(seed)
    lengths = {"a": 12, "b": 7, "ü c": 32}
    return {clip: {metric: rng.uniform(20, 60, n)} for clip, n in lengths.items()}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=8))
def test_values_survive_writing_and_reading_exactly(tmp_path_factory, numbers):
    frame = write(tmp_path_factory.mktemp("r"), {"clip": {("psnr", "rgb-c0"): np.array(numbers)}})
    np.testing.assert_array_equal(frame["value"].to_numpy(), numbers)
    assert frame["frame"].tolist() == list(range(len(numbers)))
    row = frame.iloc[0]
    expected = {**dataclasses.asdict(KEY), "clip": "clip", "metric": "psnr", "protocol": "rgb-c0"}
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("frames", ["all", "drop-2-2", "first-10"])
@pytest.mark.parametrize("average", ["frame", "pooled"])
def test_clip_averages_equal_plain_loops(tmp_path, frames, average):
    clips = clips_of(1)
    protocol = dataclasses.replace(FAPN_PROTOCOL, frames=frames, average=average, psnr_cap=50.0)
    found = records.clip_values(write(tmp_path, clips), "psnr", protocol)["0" * 12]
    for clip, measured in clips.items():
        x = list(measured["psnr", "rgb-c0"])
        x = {"all": x, "drop-2-2": x[2:-2], "first-10": x[:10]}[frames]
        x = [min(v, 50.0) for v in x]
        if average == "frame":
            expected = sum(x) / len(x)
        else:  # a frame at the cap counts as identical
            errors = [0.0 if v >= 50.0 else 255.0**2 / 10 ** (v / 10) for v in x]
            expected = 10 * math.log10(255.0**2 / (sum(errors) / len(errors)))
        assert found[clip] == pytest.approx(expected, abs=1e-9)


def test_frames_that_could_not_be_measured_are_left_out(tmp_path):
    values = np.array([0.1, np.nan, 0.3])
    nothing = np.full(2, np.nan)
    key = ("face", "dlib-gt-box")
    frame = write(tmp_path, {"a": {key: values}, "b": {key: nothing}})
    found = records.clip_values(frame, "face", FAPN_PROTOCOL)["0" * 12]
    assert found["a"] == pytest.approx(0.2)
    assert math.isnan(found["b"])
    assert records.measured_frames(frame, "face", FAPN_PROTOCOL)["0" * 12] == 2


def test_the_curve_is_the_mean_over_clips_of_each_frame(tmp_path):
    clips = clips_of(2)
    curve = records.frame_curve(write(tmp_path, clips), "psnr", FAPN_PROTOCOL)["0" * 12]
    for t in (0, 6, 7, 31):
        there = [m["psnr", "rgb-c0"][t] for m in clips.values() if len(m["psnr", "rgb-c0"]) > t]
        assert curve[t] == pytest.approx(np.mean(there))


def test_a_record_that_occurs_twice_is_refused(tmp_path):
    write(tmp_path, clips_of(3))
    with pytest.raises(DataError, match="51 records occur twice"):
        write(tmp_path, clips_of(3), name="copy")


def test_a_convention_that_was_not_stored_is_named_with_those_that_were(tmp_path):
    frame = write(tmp_path, clips_of(4))
    with pytest.raises(DataError, match=r"'y-full-c3'.*there are: rgb-c0"):
        records.clip_values(
            frame, "psnr", dataclasses.replace(FAPN_PROTOCOL, colour="y-full", crop=3)
        )


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path, clips_of(5))
    path = next(tmp_path.glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"damaged records file.*run the same command again"):
        records.read_records(tmp_path)


def test_a_foreign_parquet_file_is_named(tmp_path):
    import pandas as pd

    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="not a records file, lacks column run_id"):
        records.read_records(tmp_path)
