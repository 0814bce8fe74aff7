"""The torch port of the face network gives dlib's encodings, and refuses any other file."""

import importlib.util
import itertools
from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
import torch
from skimage import data

from fvsr_bench.errors import WeightsError
from fvsr_bench.faces.align import LANDMARKS_FILE, PADDING, FaceAligner
from fvsr_bench.faces.embedder import MODEL_FILE, load_face_net, model_path
from fvsr_bench.faces.judge import DlibEncoder


def _photographs() -> list[np.ndarray]:
    """Return pictures with faces that travel inside installed packages (RGB)."""
    found = [np.ascontiguousarray(data.astronaut())]
    for package, name in (
        ("insightface", "data/images/t1.jpg"),
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    ):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        image = cv2.imread(str(Path(spec.origin).parent / name))
        found.append(np.ascontiguousarray(image[:, :, ::-1]))
    return found


def _variants(image: np.ndarray) -> list[np.ndarray]:
    """Return the picture seven ways: dlib's chips of them are seven different chips."""
    rng = np.random.default_rng(3)
    noisy = np.clip(image + rng.normal(0, 8, image.shape), 0, 255)
    made = [
        image,
        image[:, ::-1],
        image * 0.6,
        noisy,
        cv2.GaussianBlur(image, (0, 0), 2.5),
        cv2.resize(cv2.resize(image, None, fx=0.25, fy=0.25), image.shape[1::-1]),
        image[:, :, ::-1],
    ]
    return [np.ascontiguousarray(x).astype(np.uint8) for x in made]


@pytest.fixture(scope="module")
def faces() -> list[tuple[np.ndarray, dlib.rectangle]]:
    detector = dlib.get_frontal_face_detector()
    found = []
    for image in _photographs():
        for box in detector(image, 0):
            flipped = dlib.rectangle(
                image.shape[1] - 1 - box.right(),
                box.top(),
                image.shape[1] - 1 - box.left(),
                box.bottom(),
            )
            for i, variant in enumerate(_variants(image)):
                found.append((variant, flipped if i == 1 else box))
    assert len(found) >= 50
    return found


@pytest.fixture(scope="module")
def theirs(faces) -> np.ndarray:
    """Return what dlib itself computes: landmarks, chip and network, all of dlib's own."""
    predictor = dlib.shape_predictor(str(model_path(LANDMARKS_FILE)))
    network = dlib.face_recognition_model_v1(str(model_path(MODEL_FILE)))
    encodings = [
        network.compute_face_descriptor(image, predictor(image, box), 1, PADDING)
        for image, box in faces
    ]
    return np.array(encodings)


def test_encodings_equal_dlibs_on_fifty_faces(faces, theirs) -> None:
    encoder = DlibEncoder()
    ours = np.concatenate(
        [
            encoder.encode(
                image[None],
                np.array([[box.left(), box.top(), box.right(), box.bottom()]], dtype=np.float64),
            )
            for image, box in faces
        ]
    )
    assert np.abs(ours - theirs).max() <= 1e-5
    between = np.linalg.norm(theirs[:, None] - theirs, axis=-1)
    assert np.median(between) > 0.3  # the faces differ: equality is not trivial


def test_a_batch_is_its_members(faces) -> None:
    aligner, net = FaceAligner(), load_face_net()
    chips = np.stack(
        [
            aligner.chip(image, (box.left(), box.top(), box.right(), box.bottom()))
            for image, box in faces[::9]
        ]
    )
    x = torch.from_numpy(chips).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        single = torch.cat([net(chip[None]) for chip in x])
        torch.testing.assert_close(net(x), single, rtol=0, atol=2e-6)


def test_gradients_are_those_of_finite_differences(faces) -> None:
    net = load_face_net().double()
    x = torch.rand(1, 3, 150, 150, generator=torch.Generator().manual_seed(0)).double()
    x.requires_grad_()
    target = torch.zeros(1, 128, dtype=torch.float64)
    loss = (net(x) - target).square().sum()
    (gradient,) = torch.autograd.grad(loss, x)
    direction = torch.randn_like(x)
    step = 1e-8  # small: ReLU and max-pooling have corners
    with torch.no_grad():
        up, down = ((net(x + sign * step * direction) - target).square().sum() for sign in (1, -1))
    slope = ((up - down) / (2 * step)).item()
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-3)
    assert not any(p.requires_grad for p in net.parameters())


def _damage() -> dict[str, tuple[object, str]]:
    """Return ways to spoil the file: (change of its bytes, what the error says)."""

    def tag(old: bytes, new: bytes):
        return lambda b: b.replace(old, new, 1)

    def put(offset: int, value: bytes):
        return lambda b: b[:offset] + value + b[offset + len(value) :]

    return {
        "empty": (lambda b: b"", "the end of the file instead of 1 more bytes"),
        "truncated": (lambda b: b[:-5], "the end of the file"),
        "cut inside weights": (lambda b: b[:10_000], "the end of the file instead of 18944 more"),
        "longer": (lambda b: b + b"\x00", "1 more bytes instead of the end of the file"),
        "other layer": (tag(b"con_4", b"con_5"), r"'con_5' instead of the layer 'con_4'"),
        "other loss": (tag(b"loss_metric_2", b"loss_metric_3"), "'loss_metric_3'"),
        "other pooling": (tag(b"max_pool_2", b"avg_pool_2"), "'avg_pool_2' instead of"),
        "NaN weight": (put(400, b"\x00\x00\xc0\x7f"), "NaN or infinity instead of 4736 finite"),
        "no integer": (put(0, b"\x70"), "the byte 0x70 instead of the size of an integer"),
        "other mean": (tag(b"\x03\x62\x90\xf5", b"\x03\x63\x90\xf5"), "instead of 16093282"),
        "text": (lambda b: b"<html>not found</html>", "is not the face network"),
    }


@pytest.mark.parametrize("name", _damage())
def test_a_file_that_differs_is_refused(name: str, tmp_path: Path) -> None:
    change, message = _damage()[name]
    path = tmp_path / "face.dat"
    path.write_bytes(change(model_path(MODEL_FILE).read_bytes()))  # type: ignore[operator]
    with pytest.raises(WeightsError, match=message):
        load_face_net(path)


def test_any_changed_byte_outside_the_weights_is_refused(tmp_path: Path) -> None:
    good = model_path(MODEL_FILE).read_bytes()
    path = tmp_path / "face.dat"
    first_weights, head = good.index(b"con_4") + 16, good.index(b"input_rgb")
    for at in itertools.chain(range(0, first_weights, 23), range(head, head + 40, 7)):
        bad = bytearray(good[: first_weights + 100])
        bad[at] ^= 0x02
        path.write_bytes(bad)
        with pytest.raises(WeightsError, match="near byte") as caught:
            load_face_net(path)
        assert "100 more" not in str(caught.value)
        assert "18944" not in str(caught.value), f"byte {at} was not looked at"


def test_a_missing_file_says_how_to_get_it(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(WeightsError, match=r"no\.dat cannot be read: No such file"):
        load_face_net(tmp_path / "no.dat")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install face-recognition-models"):
        load_face_net()


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("face_recognition", "pkg_resources")),
    reason="the package face_recognition is optional (extra 'face-recognition')",
)
def test_distances_equal_the_package_face_recognition(faces) -> None:
    import face_recognition

    encoder = DlibEncoder()
    for (a, box_a), (b, box_b) in itertools.pairwise(faces[:8]):
        reference, ours = [], []
        for image, box in ((a, box_a), (b, box_b)):
            place = (box.top(), box.right(), box.bottom(), box.left())
            reference.append(face_recognition.face_encodings(image, [place])[0])
            corners = np.array([[box.left(), box.top(), box.right(), box.bottom()]], dtype=float)
            ours.append(encoder.encode(image[None], corners)[0])
        expected = face_recognition.face_distance([reference[0]], reference[1])[0]
        assert np.linalg.norm(ours[0] - ours[1]) == pytest.approx(expected, abs=1e-5)
