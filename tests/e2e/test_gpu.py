"""On a graphics card everything is only faster: `pytest -m gpu`, where there is one."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric

from fvsr_bench.data.loader import TrainSampler
from fvsr_bench.data.store import open_dataset
from fvsr_bench.evaluate import evaluate
from fvsr_bench.evaluate.measure import load_network
from fvsr_bench.evaluate.plan import Job, Setting
from fvsr_bench.infer import choose_device, super_resolve
from fvsr_bench.judges import Judges
from fvsr_bench.recipes import choose_recipe
from fvsr_bench.records import read_records
from fvsr_bench.registry import load_spec
from fvsr_bench.spec import FAPN_PROTOCOL
from fvsr_bench.train import Learner, TrainJob

DEVICE = "cuda"
TRAINED = ["fapn", "frvsr", "sofvsr", "tecogan", "vespcn"]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device here"
    ),
]


@pytest.mark.parametrize("method", TRAINED)
def test_a_network_computes_the_same(patterns: Path, method: str) -> None:
    lr = open_dataset(patterns).load("c5").lr
    choose_device(DEVICE)
    here, there = (
        super_resolve(load_network(method, "bi", device), lr, device=device).cpu()
        for device in ("cpu", DEVICE)
    )
    torch.testing.assert_close(there, here, atol=2e-3, rtol=0)


def test_records_are_the_same(patterns: Path, tmp_path: Path) -> None:
    jobs = [Job(method="bicubic"), Job(method="fapn", weights="bi")]
    tables = []
    for name, device in (("here", "cpu"), ("there", DEVICE)):
        setting = Setting(
            dataset=open_dataset(patterns),
            clips=("c5",),
            split="test",
            protocol=FAPN_PROTOCOL,
            device=device,
        )
        evaluate(jobs, setting, tmp_path / name)
        rows = read_records(tmp_path / name / "records")
        index = ["model", "metric", "protocol", "frame"]
        tables.append(rows.set_index(index)["value"].astype(float).sort_index())
    here, there = tables
    pd.testing.assert_index_equal(here.index, there.index)
    gap = (here - there).abs()
    assert gap.xs("psnr", level="metric").max() < 0.02
    assert gap.xs("ssim", level="metric").max() < 1e-3
    assert gap.xs("face", level="metric").max() < 0.02


@pytest.mark.parametrize(("method", "recipe"), [("fapn", "default"), ("tecogan", "tecogan")])
def test_a_training_step_is_the_same(patterns: Path, method: str, recipe: str) -> None:
    dataset, found = open_dataset(patterns), []
    chosen, changes = choose_recipe(load_spec(method), recipe)
    chosen = dataclasses.replace(chosen, precision="fp32", frames=4, batch=2, patch=12)
    for device in ("cpu", DEVICE):
        fabric = Fabric(accelerator=device, devices=1)
        job = TrainJob(method=method, recipe=chosen, options=changes)
        learner = Learner(job, dataset, fabric, Judges())
        batch = TrainSampler(dataset, chosen, seed=0).batch(0)
        found.append([learner.step(batch.to(fabric.device), number) for number in range(2)])
    for here, there in zip(*found, strict=True):
        assert there == pytest.approx(here, rel=0.02)
