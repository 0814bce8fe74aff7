"""The frozen networks that loss terms ask: a face recogniser and VGG19, loaded by name or file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fvsr_bench import losses
from fvsr_bench.errors import UsageError, WeightsError, unknown
from fvsr_bench.files import sha256
from fvsr_bench.spec import TrainRecipe

VGG_FILE = "vgg19-dcbb9e9d.pth"
VGG_LAYERS = (8, 17, 26, 35)  # ReLU outputs before pools 2, 3, 4, 5: conv2_2, 3_4, 4_4, 5_4


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The frozen networks that loss terms ask; None where a recipe needs none.

    `files` has the SHA-256 of each one's file: they decide what is trained, as the recipe does.
    """

    encoder: losses.vector.Encoder | None = None
    vgg: losses.vector.Features | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def load_judges(recipe: TrainRecipe, *, encoder: str, vgg: Path | None, device: Any) -> Judges:
    """Load what the recipe's terms need.

    `encoder` is `onnx:PATH`, `insightface:NAME`, `dlib!` (the judge of Face distance, forced) or
    empty. Raises UsageError if a term needs a judge that was not named, WeightsError if it cannot
    be loaded.
    """
    face = load_encoder(encoder, device) if "face" in recipe.losses else None
    features = load_vgg(vgg, device) if "vgg" in recipe.losses else None
    asked = {"encoder": face, "vgg": features}
    files = {name: getattr(judge, "sha256", "dlib") for name, judge in asked.items() if judge}
    return Judges(encoder=face, vgg=features, files=files)


def load_encoder(name: str, device: Any) -> losses.vector.Encoder:
    """Load the recogniser of the face-vector loss by name or file, frozen and differentiable."""
    kind, _, where = name.partition(":")
    if kind == "onnx" and where:
        from fvsr_bench.faces.arcface import load_arcface

        return load_arcface(Path(where), device=device)
    if kind == "insightface" and where:
        from fvsr_bench.faces.arcface import load_arcface

        root = Path(os.environ.get("INSIGHTFACE_HOME", "~/.insightface")).expanduser()
        folder = root / "models" / where
        found = sorted(folder.glob("*w600k*.onnx")) or sorted(folder.glob("*r50*.onnx"))
        if not found:
            raise WeightsError(
                f"InsightFace's '{where}' is not in {folder}: run `python -c \"from "
                f"insightface.app import FaceAnalysis; FaceAnalysis('{where}', root='{root}')\"` "
                "where there is "
                "internet, or give a recogniser with --encoder onnx:FILE."
            )
        return load_arcface(found[0], device=device)
    if kind in ("dlib", "dlib!"):
        if kind == "dlib":
            raise UsageError(
                "--encoder dlib: Face distance is measured with this very network, and a network "
                "must not be trained on its own judge. Use onnx:FILE or insightface:NAME, or say "
                "'dlib!' if you know why."
            )
        from fvsr_bench.faces.arcface import align
        from fvsr_bench.faces.embedder import load_face_net

        network = load_face_net(device=device)

        def encode(frames: Tensor, points: Tensor) -> Tensor:
            # ArcFace's template, enlarged, frames a face about as dlib's chip does.
            # In float32, as ArcFace's: bfloat16 drowns the distance of faces that are nearly alike.
            with torch.autocast(frames.device.type, enabled=False):
                chips = align(frames.float(), points, (112, 112))
                chips = nn.functional.interpolate(chips, size=(150, 150))
                return nn.functional.normalize(network(chips), dim=1)

        return encode
    if not name:
        raise UsageError(
            "the loss 'face' needs a recogniser: --encoder insightface:buffalo_l or onnx:FILE."
        )
    raise unknown("encoder", kind, ["insightface", "onnx", "dlib"])


class VGGFeatures(nn.Module):
    """The layers of VGG19 whose feature maps are compared; inputs are RGB in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential, sha256: str = "") -> None:
        super().__init__()
        self.sha256 = sha256
        self.layers = features[: VGG_LAYERS[-1] + 1]
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Return the feature maps of `VGG_LAYERS`."""
        x, found = (frames - self.mean) / self.std, []
        for i, layer in enumerate(self.layers):
            # An in-place ReLU would overwrite a map that the loss still compares.
            x = torch.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
            if i in VGG_LAYERS:
                found.append(x)
        return found


def load_vgg(path: Path | None, device: Any) -> VGGFeatures:
    """Load torchvision's VGG19 from a file or the torch cache; nothing is downloaded.

    Raises WeightsError that names the file and where to put it.
    """
    from torchvision.models import vgg19

    path = path or Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
    if not path.is_file():
        raise WeightsError(
            f"the loss 'vgg' needs torchvision's VGG19 weights: put {VGG_FILE} (from "
            f"https://download.pytorch.org/models/{VGG_FILE}) at {path}, or name it with --vgg."
        )
    layers = vgg19(weights=None, init_weights=False).features
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        mine = {k.removeprefix("features."): v for k, v in state.items() if k[:9] == "features."}
        layers.load_state_dict(mine)
    except Exception as error:
        raise WeightsError(f"{path} does not hold torchvision's VGG19: {error}") from error
    return VGGFeatures(layers, sha256(path)).eval().requires_grad_(False).to(device)
