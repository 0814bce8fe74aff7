"""The ledger of a paper's claims: typed entries read from TOML, every misspelt key an error."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fvsr_bench.errors import DataError, did_you_mean

Kind = Literal["cell", "difference", "ranking", "level", "arithmetic"]
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Whose claims these are, and on what data it measured."""

    __pydantic_config__ = STRICT
    key: str
    title: str
    authors: str
    data: str  # letters and digits of its dataset's name, e.g. "300vw"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A column of the paper's tables, and which runs of ours stand for it."""

    __pydantic_config__ = STRICT
    title: str
    model: str
    without: tuple[str, ...] = ()  # ablated components
    loss: str = ""  # a training loss other than the method's own
    trained_with: tuple[str, ...] = ()  # loss terms without which it is another method


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean of one metric of one method; `within` and `above` are for levels."""

    __pydantic_config__ = STRICT
    type: Literal["mean"]
    of: str
    within: str = ""  # "about": value plus or minus this
    above: bool = False  # "exceeds"


@dataclass(frozen=True, kw_only=True)
class Paired:
    """`better` against each of `than`, clip by clip."""

    __pydantic_config__ = STRICT
    type: Literal["paired"]
    better: str
    than: tuple[str, ...]
    metric: str = ""  # if it is not the claim's own
    relative: bool = False  # in percent of the other method's mean
    at_least: bool = False  # "over 0.31": a larger difference bears the claim out too


@dataclass(frozen=True, kw_only=True)
class Order:
    """Each method is better than the next one."""

    __pydantic_config__ = STRICT
    type: Literal["order"]
    best_first: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """`worst` is worse than each of `than`."""

    __pydantic_config__ = STRICT
    type: Literal["worst"]
    worst: str
    than: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """`better` is better than each of `than` in each of the first frames."""

    __pydantic_config__ = STRICT
    type: Literal["frames"]
    better: str
    than: tuple[str, ...]
    first: int


@dataclass(frozen=True, kw_only=True)
class Rise:
    """The first `early` frames of a clip are worse than those from frame index `late` on."""

    __pydantic_config__ = STRICT
    type: Literal["rise"]
    of: str
    early: int
    late: int


@dataclass(frozen=True, kw_only=True)
class Split:
    """A count of the dataset."""

    __pydantic_config__ = STRICT
    type: Literal["split"]
    split: Literal["train", "val", "test"]
    what: Literal["sequences", "frames"]


Measured = Mean | Paired | Order | Worst | Frames | Rise | Split


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One number or sentence of the paper. The keys are explained at the top of the TOML file."""

    __pydantic_config__ = STRICT
    id: str
    kind: Kind
    where: str
    quote: str
    metric: str
    methods: tuple[str, ...] = ()
    value: str = ""  # as printed: its decimals say how it was rounded
    unit: str = ""
    number: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    measured: Measured | None = field(default=None)
    untested: str = ""
    note: str = ""

    @property
    def decimals(self) -> int:
        """Digits after the point of the printed value."""
        return len(self.value.partition(".")[2])

    @property
    def judged_metric(self) -> str:
        """The metric that is looked up in the records."""
        other = self.measured.metric if isinstance(self.measured, Paired) else ""
        return other or self.metric


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """All claims of one paper."""

    __pydantic_config__ = STRICT
    paper: Paper
    methods: Mapping[str, Method]
    claim: tuple[Claim, ...]

    @property
    def cells(self) -> dict[str, Claim]:
        """The printed table cells by id: the only facts that the arithmetic may use."""
        return {claim.id: claim for claim in self.claim if claim.kind == "cell"}


def load_ledger(path: Path | None = None) -> Ledger:
    """Read a ledger; None = the one of the paper under reproduction, which is installed with us.

    Raises DataError that names the entry and the key when something is missing, misspelt, doubled
    or refers to a method that is not there.
    """
    where = str(path or "fvsr_claims/fapn.toml")
    try:
        if path is None:
            text = resources.files("fvsr_claims").joinpath("fapn.toml").read_text("utf-8")
        else:
            text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (OSError, ModuleNotFoundError) as error:
        raise DataError(f"{where}: cannot read the ledger of claims ({error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: not valid TOML: {error}") from error
    try:
        ledger = TypeAdapter(Ledger).validate_python(raw)
    except ValidationError as error:
        raise DataError(f"{where}: {_first_problem(error, raw)}") from error
    _check(ledger, where)
    return ledger


def _first_problem(error: ValidationError, raw: object) -> str:
    extra = [e for e in error.errors() if "unexpected" in e["type"] or "extra" in e["type"]]
    problem = (extra or error.errors())[0]  # a misspelt key explains why another is missing
    parts: list[str] = []
    for part in problem["loc"]:
        if isinstance(part, int) and parts[-1:] == ["claim"] and isinstance(raw, dict):
            entry = raw["claim"][part]
            name = entry.get("id", "without id") if isinstance(entry, dict) else "not a table"
            parts[-1] = f"claim {part + 1} ({name})"
        else:
            parts.append(str(part))
    return f"{', '.join(parts)}: {problem['msg']}"


def _check(ledger: Ledger, where: str) -> None:
    seen: set[str] = set()
    for claim in ledger.claim:
        if claim.id in seen:
            raise DataError(f"{where}: two claims are called '{claim.id}'; rename one")
        seen.add(claim.id)
        for name in [*claim.methods, *named_methods(claim.measured)]:
            if name not in ledger.methods:
                hint = did_you_mean(name, ledger.methods)
                raise DataError(f"{where}: claim '{claim.id}' names method '{name}'.{hint}")
        if claim.kind in ("cell", "difference", "level"):
            try:
                float(claim.value)
            except ValueError as error:
                what = f"value '{claim.value}' is no number"
                raise DataError(f"{where}: claim '{claim.id}' ({claim.kind}): {what}") from error


def named_methods(measured: Measured | None) -> tuple[str, ...]:
    """List the methods that a claim's measurement needs."""
    if isinstance(measured, Mean | Rise):
        return (measured.of,)
    if isinstance(measured, Paired | Frames):
        return (measured.better, *measured.than)
    if isinstance(measured, Worst):
        return (measured.worst, *measured.than)
    if isinstance(measured, Order):
        return measured.best_first
    return ()
