"""Run the phase experiment: the same weights on LR frames of both decimation phases.

Two datasets that differ in nothing but the LR frames; bicubic, VESPCN, FRVSR and TecoGAN with
weights made for either; every mismatch evaluated on purpose, and marked as one in every table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fvsr_bench import registry
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import FvsrError, UsageError, unknown
from fvsr_bench.evaluate import Folder, claim, evaluate, remove_older
from fvsr_bench.evaluate.plan import Job, Setting, choose_clips, covers, plan
from fvsr_bench.explain.finding import Finding, read_phase, trained_for
from fvsr_bench.files import write_atomic
from fvsr_bench.manifest import read_facts, read_manifest
from fvsr_bench.spec import DEGRADATIONS, FAPN_PROTOCOL, EvalProtocol

METHODS = ("frvsr", "tecogan")  # both are recurrent, and both were released for BD frames
REFERENCE = "vespcn"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the experiment needs and has."""

    jobs: tuple[Job, ...]
    missing: tuple[str, ...]  # one command per network that has to be trained first


def check_out(out: Path, blurred: str, dataset: Dataset) -> None:
    """Raise UsageError for an unknown degradation, or where OUT has another experiment.

    That is one with another degradation, or on other data: said before a twin is made.
    """
    kinds = [name for name in DEGRADATIONS if name != "bi"]
    if blurred not in kinds:
        raise unknown("degradation", blurred, kinds)
    there = {path.parent.name for path in out.glob("b*/manifests")}
    runs = (out / "bi" / "manifests").glob("*-*.json")
    there |= {trained_for(read_manifest(path)) for path in runs}
    if other := there - {"", "bi", blurred}:
        raise UsageError(
            f"{out} holds the experiment with {' and '.join(sorted(other))}, not with {blurred}: "
            "choose another --out"
        )
    path = out / "bi" / "manifests" / "dataset.json"
    if path.exists() and (facts := read_facts(path)).id != dataset.id:
        raise UsageError(
            f"{out} holds the experiment on dataset '{facts.name}' ({facts.id}), not on "
            f"'{dataset.name}' ({dataset.id}): choose another --out"
        )


def plan_phase(data: str, twin: str, blurred: str = "bd15") -> Plan:
    """List the jobs whose weights exist, and the commands that train the others."""
    jobs, missing = [Job(method="bicubic")], []
    for method, tag, folder in (
        (REFERENCE, "bi", data),
        *((name, "bi", data) for name in METHODS),
        *((name, blurred, twin) for name in METHODS),
    ):
        if _has(method, tag):
            jobs.append(Job(method=method, weights=tag))
        else:
            command = f"fvsr-bench train {method} --data {folder} --tag {tag}"
            missing.append(command + _budget(method))
    return Plan(jobs=tuple(jobs), missing=tuple(missing))


def _budget(method: str) -> str:
    """Return the options that train a twin exactly as long as the BI weights, if these exist."""
    if not _has(method, "bi"):
        return ""
    card = registry.load_card(method, "bi")
    recipe, steps = card.recipe.get("name", "default"), card.recipe.get("steps", card.steps)
    rate = card.recipe.get("learning_rate", 0)
    return f" --recipe {recipe} --steps {steps} --learning-rate {rate:g} --seed {card.seed}"


def _has(method: str, tag: str) -> bool:
    try:
        return tag in registry.weights_tags(method)
    except FvsrError:
        return False


def twin_folder(dataset: Dataset, blurred: str, where: Path | None) -> Path:
    """Return where the dataset with blurred LR frames lies: beside the other unless said so."""
    if dataset.degradation.name != "bi":
        raise UsageError(
            f"{dataset.root} has LR frames by {dataset.degradation.name}; give the one made by bi"
        )
    return where or dataset.root.with_name(f"{dataset.root.name}-{blurred}")


def run_phase(
    dataset: Dataset,
    twin: Dataset | None,
    jobs: tuple[Job, ...],
    out: Path,
    *,
    split: str = "test",
    limit: int = 0,
    device: str = "cpu",
    protocol: EvalProtocol = FAPN_PROTOCOL,
    reuse: Path | None = None,
    progress: Progress | None = None,
) -> Finding:
    """Evaluate all jobs on both datasets into OUT/bi and OUT/bd15; skips what is there.

    Without `twin` only the BI half is evaluated, which is the half that the paper can be held to.
    `reuse` is a results folder whose runs of the same networks on the same clips are taken over.
    Raises UsageError, before any run, when OUT holds results of other data.
    """
    settings = [
        Setting(
            dataset=data,
            clips=choose_clips(data, split, limit),
            split=split,
            protocol=protocol,
            device=device,
            allow_mismatch=True,
        )
        for data in ((dataset, twin) if twin else (dataset,))
    ]
    for setting in settings:
        claim(_folder(out, setting), setting.facts())
    for setting in settings:
        folder = _folder(out, setting)
        left = [job for job in jobs if not (reuse and take_over(job, setting, reuse, folder))]
        evaluate(left, setting, folder.root, progress)
    return read_phase(out, protocol)


def _folder(out: Path, setting: Setting) -> Folder:
    return Folder(out / setting.dataset.degradation.name)


def take_over(job: Job, setting: Setting, source: Path, target: Folder) -> bool:
    """Copy the finished run of a job from another results folder, if there is one.

    Everything that decides its numbers must be equal; which judges were asked as well must not.
    Older runs of the same row give way to it. Returns True, too, if the target has it already.
    """
    wanted = plan(job, setting)
    for folder in (target, Folder(source)):
        for path in sorted(folder.manifests.glob(f"{wanted.model}-*.json")):
            run = read_manifest(path)
            records = folder.final(run)
            if run.status != "complete" or not covers(run, wanted) or not records.exists():
                continue
            if folder is not target:
                write_atomic(target.final(run), records.read_bytes())
                write_atomic(target.manifest(run), path.read_bytes())
            remove_older(run, target)
            return True
    return False
