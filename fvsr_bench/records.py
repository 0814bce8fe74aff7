"""The record table: one row per clip x frame x metric x protocol; written, read and averaged here.

Nothing is averaged before it is stored, so every table can be re-rendered under another protocol
without running a network again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fvsr_bench.errors import DataError
from fvsr_bench.files import replacing
from fvsr_bench.protocols import mse_of_psnr
from fvsr_bench.spec import EvalProtocol

# (metric, protocol key) -> values [T]; an array without dimensions is of the clip as a whole
Measurements = Mapping[tuple[str, str], np.ndarray]
WHOLE_CLIP = -1  # in the frame column: one value for the clip, not one of its frames

_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, _WORD) for name in ("run_id", "model", "variant", "weights", "dataset")),
        *((name, _WORD) for name in ("degradation", "protocol", "clip")),
        ("frame", pa.int32()),  # 0-based; -1 = the clip as a whole
        ("metric", _WORD),
        ("value", pa.float64()),  # dB, or no unit; NaN = could not be measured (no face in GT)
    ]
)
COLUMNS = tuple(SCHEMA.names)
KEY = ["run_id", "clip", "frame", "metric", "protocol"]
FACE_KEYS = {"gt": "dlib-gt-box", "each": "dlib-each-box", "whole": "dlib-whole-box"}


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """The columns that are the same on every row of a run."""

    run_id: str
    model: str
    variant: str  # "full" or the ablation's name
    weights: str  # tag, or "none"
    dataset: str
    degradation: str


def protocol_key(metric: str, protocol: EvalProtocol) -> str:
    """Name the records' protocol column under which `protocol` finds `metric`."""
    if metric == "face":
        return FACE_KEYS[protocol.face_box]
    if metric == "ssim":
        return protocol.ssim_key()
    return protocol.measure_key()


def clip_table(key: RunKey, clip: str, measurements: Measurements) -> pa.Table:
    """Build the rows of one clip of one run, ordered by metric, protocol and frame."""
    names = sorted(measurements)
    values = [np.asarray(measurements[name], dtype=np.float64) for name in names]
    frames = [
        np.arange(value.size, dtype=np.int32) if value.ndim else np.array([WHOLE_CLIP], np.int32)
        for value in values
    ]
    lengths = [value.size for value in values]
    total = sum(lengths)
    same = dict(zip((f.name for f in fields(key)), astuple(key), strict=True)) | {"clip": clip}
    which = pa.array(np.repeat(np.arange(len(names), dtype=np.int32), lengths))
    columns = {name: _constant(text, total) for name, text in same.items()}
    columns["metric"] = _words([metric for metric, _ in names], which)
    columns["protocol"] = _words([protocol for _, protocol in names], which)
    columns["frame"] = pa.array(np.concatenate(frames))
    columns["value"] = pa.array(np.concatenate([value.ravel() for value in values]))
    return pa.table([columns[name] for name in COLUMNS], schema=SCHEMA)


def _constant(text: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def _words(texts: list[str], which: pa.Array) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(which, pa.array(texts))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a parquet file so that it is either whole or absent, whatever happens meanwhile."""
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=[name for name in COLUMNS if SCHEMA.field(name).type == _WORD],
            column_encoding={"value": "BYTE_STREAM_SPLIT", "frame": "DELTA_BINARY_PACKED"},
        )


def read_table(path: Path) -> pa.Table:
    """Read one parquet file of records; a damaged or foreign file is a `DataError`."""
    hint = "delete it and run the same command again"
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        if not path.exists():
            raise DataError(f"{path}: no such records file; run the same command again") from error
        raise DataError(f"{path}: damaged records file ({_first_line(error)}); {hint}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: not a records file, lacks column {', '.join(missing)}; {hint}")
    try:
        return table.select(list(COLUMNS)).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{path}: a column has another type ({_first_line(error)}); {hint}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:120]


def merge_parts(parts: list[Path], path: Path) -> None:
    """Join the parts of a run (one per clip) into its final file, in the order given."""
    tables = [read_table(part) for part in parts]
    write_table(pa.concat_tables(tables).unify_dictionaries(), path)


def read_records(folder: Path, stems: Iterable[str] | None = None) -> pd.DataFrame:
    """Read finished runs of a `records` folder (all, or those named) into one tidy table.

    Raises `DataError` when there is none, one is damaged, or a record occurs twice.
    """
    if stems is None:
        paths = sorted(folder.glob("*.parquet"))
    else:
        paths = [folder / f"{stem}.parquet" for stem in sorted(stems)]
    if not paths:
        raise DataError(
            f"{folder}: no records here; make them with: fvsr-bench run --models all --out "
            f"{folder.parent}"
        )
    table = pa.concat_tables([read_table(path) for path in paths]).unify_dictionaries()
    frame = table.to_pandas()
    twice = frame.duplicated(KEY)
    if twice.any():
        row = frame.loc[twice.idxmax(), KEY]
        raise DataError(
            f"{folder}: {int(twice.sum())} records occur twice, first {row.to_dict()}; keep one of "
            "the files that hold them"
        )
    return frame


def select_frames(records: pd.DataFrame, frames: str) -> pd.DataFrame:
    """Keep the frames a protocol averages over: all | drop-2-2 | first-10."""
    if frames == "first-10":
        return records[records["frame"] < 10]
    if frames == "drop-2-2":
        last = records.groupby("clip", observed=True)["frame"].transform("max")
        return records[(records["frame"] >= 2) & (records["frame"] <= last - 2)]
    return records


def clip_values(records: pd.DataFrame, metric: str, protocol: EvalProtocol) -> pd.DataFrame:
    """Average one metric over frames: one row per clip, one column per run_id.

    PSNR is capped at `psnr_cap` first. `average="frame"` takes the mean of the frames' values;
    "pooled" takes the PSNR of the clip's mean squared error (other metrics: as "frame"). A clip
    where nothing could be measured is NaN. Raises `DataError` when no record has this protocol.
    """
    key = protocol_key(metric, protocol)
    rows = records[(records["metric"] == metric) & (records["protocol"] == key)]
    if rows.empty:
        known = sorted(records.loc[records["metric"] == metric, "protocol"].unique())
        raise DataError(
            f"no {metric} records under '{key}' (protocol '{protocol.name}'); "
            f"there are: {', '.join(map(str, known)) or 'none'}"
        )
    rows = select_frames(rows, protocol.frames)
    values = rows["value"].to_numpy()
    pooled = metric == "psnr" and protocol.average == "pooled"
    if metric == "psnr":
        values = np.minimum(values, protocol.psnr_cap)
    if pooled:
        values = mse_of_psnr(values, protocol.psnr_cap)
    mean = (
        rows.assign(value=values)
        .groupby(["clip", "run_id"], observed=True)["value"]
        .mean()
        .unstack("run_id")
    )
    wide = pd.DataFrame(mean)
    if pooled:
        floor = 255.0**2 * 10 ** (-protocol.psnr_cap / 10)
        wide = wide.clip(lower=floor).apply(lambda mse: 10 * np.log10(255.0**2 / mse))
    wide.index, wide.columns = wide.index.astype(str), wide.columns.astype(str)
    return wide.sort_index()


def frame_values(records: pd.DataFrame, metric: str, protocol: EvalProtocol) -> pd.DataFrame:
    """Return one metric frame by frame: a row per (run_id, clip), a column per frame (0-based).

    PSNR is capped at `psnr_cap`; a frame where nothing could be measured is NaN.
    """
    key = protocol_key(metric, protocol)
    rows = records[(records["metric"] == metric) & (records["protocol"] == key)]
    mean = rows.groupby(["run_id", "clip", "frame"], observed=True)["value"].mean()
    wide = pd.DataFrame(mean.unstack("frame"))
    if metric == "psnr":
        wide = wide.clip(upper=protocol.psnr_cap)
    names = ("run_id", "clip")
    levels = [wide.index.get_level_values(name).astype(str) for name in names]
    wide.index = pd.MultiIndex.from_arrays(levels, names=names)
    return wide.sort_index()


def frame_curve(records: pd.DataFrame, metric: str, protocol: EvalProtocol) -> pd.DataFrame:
    """Average one metric over clips, frame by frame: one row per frame, one column per run_id."""
    return frame_values(records, metric, protocol).groupby(level="run_id").mean().T


def whole_clip_values(records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a measure of whole clips: one row per clip, one column per run_id; may be empty."""
    rows = records[(records["metric"] == metric) & (records["frame"] == WHOLE_CLIP)]
    wide = rows.pivot_table(
        index="clip", columns="run_id", values="value", observed=True, dropna=False
    )
    wide.index, wide.columns = wide.index.astype(str), wide.columns.astype(str)
    return wide.sort_index()


def measured_frames(records: pd.DataFrame, metric: str, protocol: EvalProtocol) -> pd.Series:
    """Count, per run_id, the frames that enter the average of `metric` (NaN ones do not)."""
    key = protocol_key(metric, protocol)
    rows = records[(records["metric"] == metric) & (records["protocol"] == key)]
    rows = select_frames(rows, protocol.frames)
    return rows.groupby("run_id", observed=True)["value"].count()
