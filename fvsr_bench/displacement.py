"""What a displacement of SR against the ground truth means. Torch-free: reports can say it too."""

import math
from dataclasses import dataclass

WARN = 0.25  # px: displacements from here on are reported
_PHASE = {"bi": "centre", "bd": "corner"}


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far SR's content lies right of (dx) and below (dy) GT's, in px; NaN if undecidable."""

    dx: float
    dy: float

    @property
    def size(self) -> float:
        """Length of the displacement in px."""
        return math.hypot(self.dx, self.dy)


def explain(shift: Shift, scale: int = 4) -> str | None:
    """Return a one-line warning for a displacement above 0.25 px, with its likely cause."""
    if not shift.size > WARN:
        return None
    phase = (scale - 1) / 2
    where = f"SR lies {shift.dx:+.2f} px right of and {shift.dy:+.2f} px below the ground truth"
    off = [abs(abs(v) - phase) for v in (shift.dx, shift.dy)]
    if max(off) < 0.3 and (shift.dx > 0) == (shift.dy > 0):
        trained, fed = ("bi", "bd") if shift.dx > 0 else ("bd", "bi")
        return (
            f"{where}: that is the {phase:g} px between the two decimation phases. The weights "
            f"expect LR frames of the {_PHASE[trained]} phase ({trained}) and were fed the "
            f"{_PHASE[fed]} phase ({fed}); use weights or a dataset of the same degradation"
        )
    return (
        f"{where}: a constant offset, as transposed convolutions, resizing with other corner "
        "conventions or cropping make; check how the method upsamples"
    )
