"""Metric math: expressions over series, as ``100 * FILL(errors, 0) / requests``.

A time at which an operand has no value has no result, and neither has a division by
zero. Built are numbers, names, ``+ - * /``, parentheses and ``FILL`` with a number or
another series; other functions are refused.

Source: CloudWatch user guide, "Using math expressions with CloudWatch metrics".
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping

Series = Mapping[int, float]
"""Begin of a period, Unix seconds → value."""

_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Expression:
    """A parsed expression.

    Raises:
        ValueError: It is none, or uses what is not built.
    """

    def __init__(self, text: str) -> None:
        try:
            self._root = ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"The expression `{text}` cannot be read") from error
        for node in ast.walk(self._root):
            _check(node, text)
        calls = {id(node.func) for node in ast.walk(self._root) if isinstance(node, ast.Call)}
        self.names = frozenset(
            node.id
            for node in ast.walk(self._root)
            if isinstance(node, ast.Name) and id(node) not in calls
        )

    def series(self, known: Mapping[str, Series], times: Iterable[int]) -> dict[int, float]:
        """Return the expression's values at these times, where it has one.

        Args:
            known: Series by the names that the expression uses.
            times: Begins of periods.
        """
        found = ((time, _value(self._root, known, time)) for time in times)
        return {time: value for time, value in found if value is not None}


def _check(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.Constant):
        fine = type(node.value) in {int, float}
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id == "FILL"
        fine = named and len(node.args) == 2 and not node.keywords
    elif isinstance(node, ast.BinOp):
        fine = type(node.op) in _OPERATIONS
    elif isinstance(node, ast.UnaryOp):
        fine = isinstance(node.op, ast.USub)
    else:
        fine = isinstance(node, ast.Name | ast.Load | ast.USub | ast.operator)
    if not fine:
        raise ValueError(f"The expression `{text}` uses what is not supported")


def _value(node: ast.expr, known: Mapping[str, Series], time: int) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name):
            return known[name].get(time)
        case ast.UnaryOp(operand=operand):
            value = _value(operand, known, time)
            return None if value is None else -value
        case ast.Call(args=[series, filler]):
            value = _value(series, known, time)
            return _value(filler, known, time) if value is None else value
        case ast.BinOp(left=left, op=op, right=right):
            return _applied(op, _value(left, known, time), _value(right, known, time))
        case _:
            raise AssertionError(node)  # `_check` lets nothing else in


def _applied(op: ast.operator, left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (isinstance(op, ast.Div) and right == 0):
        return None
    return _OPERATIONS[type(op)](left, right)
