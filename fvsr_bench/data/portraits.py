"""The photographs behind the demo set: where they lie, whose they are, where the face parts are.

All coordinates were measured by hand on enlarged crops (the five landmarks by MTCNN, once) in
pixels of the original photograph, so that no detector runs when the demo set is made. A photograph
qualifies if a face fills a crop of at least 160 px without enlarging: insightface's
`Tom_Hanks_54745.png` (a grey 112 px crop) and scikit-image's `lfw_subset.npy` (25 px) do not.
"""

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One image file inside an installed package, pinned by content."""

    package: str  # the import name whose folder holds it
    distribution: str  # the name to type behind `pip install`
    path: str  # below the package folder
    sha256: str
    credit: str


@dataclass(frozen=True, kw_only=True)
class Eye:
    """An eye that can blink: its lids meet on an arc that lies `meet` px below its centre."""

    at: Point
    half: float  # px from the centre to a corner
    up: float  # px from the centre to the skin above the lashes
    down: float  # px from the centre to the skin below
    brow: float  # px above the centre where nothing moves any more
    meet: float
    angle: float = 0.0  # degrees, clockwise on the screen


@dataclass(frozen=True, kw_only=True)
class Mouth:
    """A mouth that can open along the curve between its lips."""

    at: Point  # middle of the straight line between the corners
    half: float
    bow: float  # px by which the lip line hangs below that straight line in the middle
    chin: float  # px from the lip line down to where nothing moves any more
    gape: float  # px of the widest opening
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """One photographed person: one subject of the demo set."""

    subject: str
    photo: Literal["t1", "astronaut", "grace_hopper"]
    centre: Point  # of the crop at rest
    side: float  # px of the crop at rest; HR is 160 px, so never below 160
    head: Point  # centre of the ellipsoid that stands for the head's depth
    half_width: float  # of that ellipsoid
    landmarks: tuple[Point, Point, Point, Point, Point]  # eyes, nose, mouth corners, left first
    eyes: tuple[Eye, ...]
    mouth: Mouth


PHOTOS: dict[str, Photo] = {
    "t1": Photo(
        package="insightface",
        distribution="insightface",
        path="data/images/t1.jpg",
        sha256="47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
        credit="test image of the insightface package: a publicity photograph of six actors",
    ),
    "astronaut": Photo(
        package="skimage",
        distribution="scikit-image",
        path="data/astronaut.png",
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        credit="Eileen Collins, NASA, public domain; sample image of scikit-image",
    ),
    "grace_hopper": Photo(
        package="matplotlib",
        distribution="matplotlib",
        path="mpl-data/sample_data/grace_hopper.jpg",
        sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        credit="Grace Hopper, US Navy, public domain; sample image of matplotlib",
    ),
}

PORTRAITS: tuple[Portrait, ...] = (
    Portrait(
        subject="collins",
        photo="astronaut",
        centre=(224, 120),
        side=172,
        head=(225, 112),
        half_width=54,
        landmarks=((205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9)),
        eyes=(
            Eye(at=(203, 101.5), half=13, up=5.5, down=3.5, brow=9, meet=2),
            Eye(at=(247, 104), half=13, up=5.5, down=3, brow=10, meet=1.8),
        ),
        mouth=Mouth(at=(224.5, 140.5), half=24, bow=9, chin=25, gape=2),
    ),
    Portrait(
        subject="hopper",
        photo="grace_hopper",
        centre=(266, 226),
        side=256,
        head=(265, 222),
        half_width=98,
        landmarks=((221.7, 192.2), (309.8, 186.1), (269.4, 239.2), (232.7, 279.6), (306.6, 275.9)),
        eyes=(
            Eye(at=(223, 190.5), half=21, up=8, down=7, brow=10.5, meet=1.5, angle=7),
            Eye(at=(306, 188.5), half=21, up=9, down=7, brow=15, meet=2, angle=-4),
        ),
        mouth=Mouth(at=(267, 279), half=41, bow=0, chin=50, gape=6, angle=-3),
    ),
    Portrait(
        subject="t1-1",
        photo="t1",
        centre=(516, 335),
        side=182,
        head=(515, 332),
        half_width=62,
        landmarks=((492.8, 319.0), (543.4, 331.6), (510.6, 362.9), (482.5, 369.6), (529.9, 380.5)),
        eyes=(
            Eye(at=(492.5, 320), half=11, up=4, down=4, brow=8, meet=2, angle=18),
            Eye(at=(538, 331.5), half=11, up=4, down=3.5, brow=8, meet=2, angle=14),
        ),
        mouth=Mouth(at=(510, 373), half=30, bow=10.5, chin=26, gape=2, angle=8),
    ),
    Portrait(
        subject="t1-2",
        photo="t1",
        centre=(114, 333),
        side=178,
        head=(113, 328),
        half_width=62,
        landmarks=((84.1, 330.3), (128.1, 303.5), (118.4, 337.7), (114.5, 373.2), (149.7, 349.0)),
        eyes=(
            Eye(at=(86.5, 328.5), half=13, up=2, down=2.5, brow=10, meet=1.2, angle=-25),
            Eye(at=(129.5, 308.5), half=13, up=2, down=2.5, brow=10, meet=1.2, angle=-19),
        ),
        mouth=Mouth(at=(130.5, 361.5), half=21, bow=0, chin=30, gape=3.5, angle=-28),
    ),
    Portrait(
        subject="t1-3",
        photo="t1",
        centre=(952, 136),
        side=178,
        head=(960, 135),
        half_width=62,
        landmarks=((919.2, 119.1), (954.6, 112.0), (926.2, 151.1), (933.2, 176.5), (961.5, 170.0)),
        eyes=(Eye(at=(945, 115.5), half=15, up=4, down=5.5, brow=8, meet=2.5, angle=2),),
        mouth=Mouth(at=(947, 171.5), half=17, bow=1.5, chin=28, gape=3, angle=-13),
    ),
    Portrait(
        subject="t1-4",
        photo="t1",
        centre=(322, 214),
        side=176,
        head=(326, 210),
        half_width=60,
        landmarks=((292.5, 209.1), (323.1, 187.4), (311.4, 224.2), (315.1, 244.3), (344.2, 228.2)),
        eyes=(
            Eye(at=(320, 195.5), half=11, up=3.5, down=5, brow=9, meet=2.5, angle=-30),
            Eye(at=(291.5, 213), half=8, up=4, down=4, brow=8, meet=2, angle=-40),
        ),
        mouth=Mouth(at=(327, 240), half=17, bow=0.5, chin=26, gape=3, angle=-28),
    ),
    Portrait(
        subject="t1-5",
        photo="t1",
        centre=(795, 412),
        side=180,
        head=(794, 408),
        half_width=60,
        landmarks=((761.2, 397.2), (803.4, 401.4), (773.6, 431.8), (761.6, 439.0), (808.7, 442.4)),
        eyes=(
            Eye(at=(763, 398.5), half=11, up=2.5, down=2.5, brow=7, meet=1, angle=16),
            Eye(at=(804, 404), half=14, up=2.5, down=2.5, brow=8, meet=1, angle=5),
        ),
        mouth=Mouth(at=(789, 441.5), half=22, bow=8, chin=26, gape=2, angle=1),
    ),
    Portrait(
        subject="t1-6",
        photo="t1",
        centre=(1178, 338),
        side=176,
        head=(1177, 335),
        half_width=58,
        landmarks=(
            (1150.1, 326.3),
            (1193.7, 324.6),
            (1164.1, 349.5),
            (1155.3, 367.6),
            (1196.5, 365.4),
        ),
        eyes=(
            Eye(at=(1149, 327), half=12, up=2, down=2.5, brow=10, meet=1, angle=-6),
            Eye(at=(1193, 324.5), half=13, up=2, down=2.5, brow=10, meet=1, angle=-2),
        ),
        mouth=Mouth(at=(1175, 366), half=24, bow=1, chin=28, gape=3, angle=-5),
    ),
)
