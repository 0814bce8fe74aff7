"""Read a results folder: the records of its complete runs, all manifests, the facts of the data."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fvsr_bench.errors import DataError
from fvsr_bench.manifest import DatasetFacts, RunManifest, read_facts, read_manifest
from fvsr_bench.records import read_records

DEMO_WORDS = "demo: animated photographs, not 300-VW"


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that tables, figures and pages are made from."""

    root: Path
    facts: DatasetFacts
    manifests: tuple[RunManifest, ...]  # ordered by model, variant, weights
    records: pd.DataFrame  # of the complete runs; may be empty

    @property
    def complete(self) -> tuple[RunManifest, ...]:
        """The runs that have numbers."""
        return tuple(m for m in self.manifests if m.status == "complete")

    def clusters(self, clips: list[str]) -> list[str]:
        """Return the subject of each clip, for intervals that respect who is who."""
        return [self.facts.clips[clip] for clip in clips]

    def data_note(self) -> str:
        """Describe the data in one line; demo data is always called that."""
        f = self.facts
        what = DEMO_WORDS if f.kind == "demo" else f"dataset {f.name}"
        subjects = len(set(f.clips.values()))
        return (
            f"{what}; {f.split} split, {len(f.clips)} clips of {subjects} "
            f"subject{'s' if subjects != 1 else ''}; LR by {f.degradation} ({f.phase} phase), "
            f"x{f.scale}"
        )


def load_results(root: Path) -> Results:
    """Read a results folder. Raises DataError when there is none or a file of it is damaged."""
    folder = root / "manifests"
    if not folder.is_dir():
        raise DataError(
            f"{root} is not a results folder (no manifests/); make one with: "
            "fvsr-bench run --models all"
        )
    facts = read_facts(folder / "dataset.json")
    paths = sorted(path for path in folder.glob("*.json") if path.name != "dataset.json")
    manifests = sorted(
        (read_manifest(path) for path in paths),
        key=lambda m: (m.model, m.variant, m.weights, m.run_id),
    )
    stems = [m.stem for m in manifests if m.status == "complete"]
    records = read_records(root / "records", stems) if stems else pd.DataFrame()
    return Results(root=root, facts=facts, manifests=tuple(manifests), records=records)
