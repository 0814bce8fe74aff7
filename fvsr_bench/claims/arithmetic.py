"""Does a claim follow from the paper's own printed cells? A pure function over the ledger.

Conditions are written as `t2.psnr.ours - t2.psnr.sofvsr == 0.31`: ids of cells, numbers, + - * /,
max, min, abs, and chained comparisons. Nothing else is evaluated.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fvsr_bench.claims.ledger import Claim, Ledger
from fvsr_bench.errors import DataError, did_you_mean

UNITS = {"psnr": "dB"}  # every other metric here has none
_BINARY: dict[type, tuple[str, Callable[[float, float], float]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
}
_COMPARE: dict[type, tuple[str, str]] = {  # sign, and sign when it does not hold
    ast.Eq: ("=", "≠"),
    ast.NotEq: ("≠", "="),
    ast.Lt: ("<", "≥"),
    ast.LtE: ("≤", ">"),
    ast.Gt: (">", "≤"),
    ast.GtE: ("≥", "<"),
}
_CALLS: dict[str, Callable[..., float]] = {"max": max, "min": min, "abs": abs}


class Arithmetic(StrEnum):
    """What the paper's own tables say about a claim."""

    FOLLOWS = "follows"
    MISWORDED = "misworded"  # the number follows; what it is called, or its unit, does not
    CONTRADICTS = "contradicts"
    ALONE = "stands alone"  # nothing else in the paper bears on it


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition, evaluated."""

    holds: bool
    text: str  # the truth with the numbers put in, e.g. "0.924 - 0.917 = 0.007 ≠ 0.15"


@dataclass(frozen=True, kw_only=True)
class ArithmeticJudgement:
    """The verdict and the sums behind it."""

    verdict: Arithmetic
    detail: str


def judge_arithmetic(claim: Claim, ledger: Ledger) -> ArithmeticJudgement:
    """Judge one claim by the printed cells alone."""
    cells = ledger.cells
    number = [check(text, cells, claim.id) for text in claim.number]
    words = [check(text, cells, claim.id) for text in claim.words]
    wrong_names = _wrong_names(claim, cells)
    texts = [c.text for c in (*number, *words)] + wrong_names
    if not all(c.holds for c in number):
        verdict = Arithmetic.CONTRADICTS
    elif wrong_names or not all(c.holds for c in words):
        verdict = Arithmetic.MISWORDED
    elif number or words:
        verdict = Arithmetic.FOLLOWS
    else:
        verdict = Arithmetic.ALONE
    return ArithmeticJudgement(verdict=verdict, detail="; ".join(texts))


def _wrong_names(claim: Claim, cells: Mapping[str, Claim]) -> list[str]:
    """Say where the unit does not belong to the metric, or what is named is printed nowhere."""
    found = []
    if claim.unit == "dB" and UNITS.get(claim.metric) != "dB":
        found.append(f"{claim.metric.upper()} has no unit; the paper prints dB")
    used = {cells[name].metric for text in claim.number for name in cell_ids(text) if name in cells}
    if used and claim.metric not in {cell.metric for cell in cells.values()}:
        found.append(
            f"computed from {', '.join(sorted(used))}, but called {claim.metric}, which no table "
            "prints"
        )
    return found


def cell_ids(text: str) -> list[str]:
    """List the cells that a condition uses."""
    tree = ast.parse(text, mode="eval")
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return [_dotted(node) for node in nodes if id(node) not in inner]


def check(text: str, cells: Mapping[str, Claim], where: str) -> Check:
    """Evaluate one condition. Raises DataError for anything that is not one."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise DataError(f"claim '{where}': cannot read the condition '{text}'") from error
    if not isinstance(tree, ast.Compare):
        raise DataError(f"claim '{where}': '{text}' compares nothing; write e.g. 'a - b == 0.31'")
    sides = [tree.left, *tree.comparators]
    values = [_value(side, cells, where) for side in sides]
    shown = [_show(side, cells, text) for side in sides]
    holds, parts = True, [shown[0]]
    for k, sign in enumerate(tree.ops):
        left, right = values[k], values[k + 1]
        decimals = _decimals(sides[k + 1], cells, text)
        fine = _compare(sign, left, right, decimals)
        holds = holds and fine
        computed = not isinstance(sides[k], ast.Attribute | ast.Constant)
        if computed and not (fine and isinstance(sign, ast.Eq)):
            parts.append(f" = {round(left, max(decimals, 3)):g}")
        parts.append(f" {_COMPARE[type(sign)][0 if fine else 1]} {shown[k + 1]}")
    return Check(holds=holds, text="".join(parts))


def _compare(sign: ast.cmpop, left: float, right: float, decimals: int) -> bool:
    tiny = 1e-9  # sums of printed decimals are not exact in binary
    equal = abs(round(left + tiny, decimals) - right) < tiny
    outcomes: dict[type, bool] = {
        ast.Eq: equal,
        ast.NotEq: not equal,
        ast.Lt: left < right - tiny,
        ast.LtE: left <= right + tiny,
        ast.Gt: left > right + tiny,
        ast.GtE: left >= right - tiny,
    }
    return outcomes[type(sign)]


def _value(node: ast.expr, cells: Mapping[str, Claim], where: str) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Attribute():
            name = _dotted(node)
            if name not in cells:
                raise DataError(f"claim '{where}': no cell '{name}'.{did_you_mean(name, cells)}")
            return float(cells[name].value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)][1](_value(left, cells, where), _value(right, cells, where))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _CALLS and args:
            values = [_value(arg, cells, where) for arg in args]
            return _CALLS[name](*values) if name == "abs" or len(values) > 1 else values[0]
    raise DataError(
        f"claim '{where}': '{ast.unparse(node)}' is not allowed in a condition; use ids of cells, "
        "numbers, + - * /, max, min, abs"
    )


def _show(node: Any, cells: Mapping[str, Claim], text: str, outer: int = 0) -> str:
    """Write an expression with the printed values in place of the cells' ids."""
    match node:
        case ast.Attribute():
            return cells[_dotted(node)].value
        case ast.BinOp(left=left, op=op, right=right):
            rank = 1 if isinstance(op, ast.Add | ast.Sub) else 2
            sides = _show(left, cells, text, rank), _show(right, cells, text, rank + 1)
            shown = f"{sides[0]} {_BINARY[type(op)][0]} {sides[1]}"
            return f"({shown})" if rank < outer else shown
        case ast.Call(func=ast.Name(id=name), args=args):
            return f"{name}({', '.join(_show(arg, cells, text) for arg in args)})"
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _decimals(node: ast.expr, cells: Mapping[str, Claim], text: str) -> int:
    """Count the decimals of a side: of a number as it is written, of a cell as it is printed."""
    if isinstance(node, ast.Attribute):
        return cells[_dotted(node)].decimals
    if isinstance(node, ast.Constant):
        return len((ast.get_source_segment(text, node) or "").partition(".")[2])
    return 6


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)
