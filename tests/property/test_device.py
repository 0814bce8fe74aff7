"""The device that is chosen computes what the records call fp32."""

from collections.abc import Iterator

import pytest
import torch

from fvsr_bench.infer import choose_device


@pytest.fixture
def flags() -> Iterator[tuple[object, object]]:
    """Switch TF32 on wherever torch knows it (for convolutions it is by default)."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = True
    yield cudnn, matmul
    cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:0"])
def test_fp32_on_a_graphics_card_is_not_tf32(
    name: str, flags: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device(name).type == "cuda"
    assert [backend.allow_tf32 for backend in flags] == [False, False]
