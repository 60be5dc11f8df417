"""What is wrong with results: type, shape, dtype, numbers; and which usual mistake would give just these."""

import numbers
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .mistakes import general
from .trials import RESULTS, duplicate

__all__ = ["judge"]

Run = tuple[tuple[Any, ...], tuple[Any, ...], Any]  # the arguments, what became of them in the call, its result
Failure = tuple[tuple[Any, ...], Any, Any]  # the arguments, a result and what it should be
MOST = 6  # messages: who reads more of them is no wiser
CHANGED = {"update": {0: "parameter", 2: "state"}, "train_epoch": {0: "parameters", 9: "state"}}


def judge(
    kernel: str, names: Sequence[str], right: Callable[..., Any], runs: Sequence[Run], usual: Any = None
) -> list[str]:
    """Messages on what is wrong with the results of a function; none if all are right.

    Parameters
    ----------
    kernel : str
    names : sequence of str
        Of the parameters.
    right : callable
        Gives the right results.
    runs : sequence of (arguments, arguments after the call, result)
    usual : callable, optional
        ``usual(kernel, arguments)`` yields wrong results with their explanations, see `mistakes`.
    """
    shapes: dict[str, str] = {}  # what is wrong with the form of a result, or with an argument after the call
    types: dict[str, str] = {}  # what is wrong beside the numbers
    wrong: dict[str, list[Failure]] = {}
    for arguments, after, result in runs:
        expected_after = duplicate(arguments)
        expected = right(*expected_after)
        in_place = CHANGED.get(kernel, {})
        for name, message in _side_effects(names, arguments, after, result, in_place):
            shapes.setdefault(name, message)
        pairs = _pairs(kernel, result, expected)
        if isinstance(pairs, str):
            return [pairs + _for(names, arguments)]
        for position, name in in_place.items():
            pairs += _flat(name, after[position], expected_after[position])
        for name, have, want in pairs:
            message = _form(name, have, want)
            if message:
                # A result for the first layer says nothing on those for the others.
                (types if want is None else shapes).setdefault(name, message + _for(names, arguments))
                continue
            if isinstance(want, np.ndarray) and have.dtype != want.dtype:
                message = f"{name} is {have.dtype}, should be {want.dtype} as the arguments are"
                types.setdefault(name, message + _for(names, arguments))
            if not _same(have, want, arguments):
                wrong.setdefault(name, []).append((arguments, have, want))
    # A wrong shape explains wrong numbers; a wrong dtype does not.
    numbers_wrong = [_explain(kernel, name, names, wrong[name], usual) for name in wrong if name not in shapes]
    return [*shapes.values(), *numbers_wrong, *types.values()][:MOST]


def _pairs(kernel: str, result: Any, expected: Any) -> list[tuple[str, Any, Any]] | str:
    """Each result with its name and what it should be; or what is wrong with them as a whole."""
    names = RESULTS.get(kernel, ("the result",))
    if kernel == "update":
        return []
    if result is None and expected is not None:
        return "it returns None: is there a `return` at its end?"
    if isinstance(expected, tuple):
        if not isinstance(result, (tuple, list)) or len(result) != len(expected):
            got = f"{len(result)} results" if isinstance(result, (tuple, list)) else _describe(result)
            wanted = ", ".join(names) if len(names) == len(expected) else f"{len(expected)} results"
            return f"it returns {got}; wanted: {wanted}"
        names = names if len(names) == len(expected) else tuple(f"result {i + 1}" for i in range(len(expected)))
        pairs = zip(names, result, expected, strict=True)
        return [pair for name, have, want in pairs for pair in _flat(name, have, want)]
    return _flat(names[0], result, expected)


def _flat(name: str, have: Any, want: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(want, dict) and isinstance(have, dict) and have.keys() >= want.keys():
        return [pair for key in want for pair in _flat(str(key), have[key], want[key])]
    if isinstance(want, (list, tuple)) and isinstance(have, (list, tuple)) and len(have) == len(want):
        if not any(isinstance(part, np.ndarray) for part in want):
            return [(name, have, want)] if not have == want else []
        return [p for i, (h, w) in enumerate(zip(have, want, strict=True)) for p in _flat(f"{name}[{i}]", h, w)]
    return [(name, have, want)]


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if value is None:
        return "None"
    return f"a {type(value).__name__}"


def _form(name: str, have: Any, want: Any) -> str:
    """What is wrong with the type or the shape of a result, or nothing."""
    if want is None:
        return "" if have is None else f"{name} is {_describe(have)}; for the first layer it is None: nothing uses it"
    if isinstance(want, numbers.Real):
        if isinstance(have, numbers.Real) and not isinstance(have, bool):
            return ""
        if isinstance(have, np.ndarray) and have.ndim == 0:
            return ""
        return f"{name} is {_describe(have)}; it should be a number (x.item() takes it out of an array)"
    if isinstance(want, dict) and isinstance(have, dict):  # with all its entries it would not be here as a whole
        absent = [str(key) for key in want if key not in have]
        return f"{name} lacks {', '.join(absent[:4])}{' and more' if len(absent) > 4 else ''}"
    if not isinstance(want, np.ndarray):
        return "" if type(have) is type(want) else f"{name} is {_describe(have)}; it should be {_describe(want)}"
    if not isinstance(have, np.ndarray):
        more = "; a sum over the examples only, axis=1, keepdims=True" if np.ndim(have) == 0 and name == "db" else ""
        return f"{name} is {_describe(have)}; it should be an array of shape {want.shape}{more}"
    if have.shape != want.shape:
        text = f"{name} has shape {have.shape}, should be {want.shape}"
        if have.ndim == 1:
            return f"{text}: a rank-1 array; sums need keepdims=True to stay columns"
        if have.shape == want.shape[::-1]:
            return f"{text}: it is transposed"
        if name == "db" and have.ndim == 2 and have.shape[0] == 1:
            return f"{text}: summed over the units, axis 0; the examples are the columns: axis=1, keepdims=True"
        return text
    return ""


def _side_effects(
    names: Sequence[str], arguments: tuple[Any, ...], after: tuple[Any, ...], result: Any, in_place: dict[int, str]
) -> Iterator[tuple[str, str]]:
    """Arguments that the call has changed or given back, with what to do about it."""
    results = result if isinstance(result, (tuple, list)) else (result,)
    for i, (name, before, now) in enumerate(zip(names, arguments, after, strict=False)):
        if i in in_place:
            continue
        if isinstance(before, np.ndarray) and not np.array_equal(before, now, equal_nan=True):
            yield name, f"{name} is an argument and is changed by the call: work on a copy, {name}.copy()"
        elif isinstance(now, np.ndarray) and any(
            isinstance(part, np.ndarray) and np.shares_memory(part, now) for part in results
        ):
            yield name, f"{name} is an argument and comes back as a result: return a new array, {name}.copy()"


def _explain(
    kernel: str, name: str, names: Sequence[str], failures: list[Failure], usual: Any
) -> str:
    """The mistake that gives every one of the wrong numbers, and the first of them."""
    telling = [failure for failure in failures if np.size(failure[2]) > 1] or failures
    example = _example(name, *telling[0], names)
    fitting = [_fitting(kernel, name, *failure, usual) for failure in failures]
    for text in fitting[0]:
        if all(text in others for others in fitting):
            return f"{name}: {text}; {example}"
    return f"{name} is not right{_pattern(failures)}; {example}"


def _fitting(
    kernel: str, name: str, arguments: tuple[Any, ...], have: Any, want: Any, usual: Any
) -> list[str]:
    """The mistakes that give this wrong result."""
    with np.errstate(all="ignore"):
        of_kernel = usual(kernel, arguments) if usual else ()
        candidates = [(text, value) for what, text, value in of_kernel if what == name]
        if isinstance(want, np.ndarray):
            candidates += general(want)
    return [text for text, value in candidates if _same(have, value, arguments)]


def _same(have: Any, want: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether two results are the same; nan and infinity are where the other has them.

    One may sum in any order and use any formula: what is wrong is wrong by more than the tolerance.
    """
    if want is None or not isinstance(want, (numbers.Real, np.ndarray)):
        return bool(have == want)
    a, e = np.asarray(have, np.float64), np.asarray(want, np.float64)
    scale = np.abs(e).max(initial=1.0, where=np.isfinite(e))
    atol = (1e-4 if _single(arguments) else 1e-9) * scale
    return a.shape == e.shape and bool(np.allclose(a, e, rtol=0, atol=atol, equal_nan=True))


def _single(value: Any) -> bool:
    """Whether there is a float32 array among the arguments."""
    if isinstance(value, (tuple, list)):
        return any(map(_single, value))
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def _pattern(failures: list[Failure]) -> str:
    """What the wrong numbers have in common."""
    if all(not np.isfinite(np.asarray(have, np.float64)).all() for _, have, _ in failures):
        return ": nan or infinity, where a power of e overflows or a logarithm meets 0"
    arrays = [(a, h, w) for a, h, w in failures if isinstance(w, np.ndarray) and w.ndim == 2 and w.size > 1]
    if not arrays:
        return ""
    for where, part in (("last row", np.s_[:-1]), ("last column", np.s_[:, :-1])):
        if all(h[part].size and _same(h[part], w[part], a) for a, h, w in arrays):
            return f" in the {where} only: does a loop stop one short?"
    _, have, want = arrays[0]
    with np.errstate(all="ignore"):
        ratio = np.asarray(have, np.float64) / want
    if np.isfinite(ratio).all() and np.ptp(ratio) < 1e-6 * abs(ratio.flat[0]):
        return f": {ratio.flat[0]:.4g} times what it should be"
    return ""


def _example(name: str, arguments: tuple[Any, ...], have: Any, want: Any, names: Sequence[str]) -> str:
    if not isinstance(want, np.ndarray):
        return f"it is {_number(have)}, should be {_number(want)}{_for(names, arguments)}"
    apart = ~np.isclose(np.asarray(have, np.float64), want, rtol=1e-4, atol=1e-9)
    at = tuple(int(i) for i in np.argwhere(apart)[0]) if apart.any() else (0,) * want.ndim
    place = f"{name}[{', '.join(map(str, at))}]" if name.isidentifier() else f"at {list(at)} it"
    z = ""
    if names[:1] == ("Z",) and np.shape(arguments[0]) == want.shape:
        z = f" at z = {arguments[0][at]:g}"
    return f"{place} is {_number(have[at])}{z}, should be {_number(want[at])}{_for(names, arguments)}"


def _number(value: Any) -> str:
    return f"{float(value):.5g}" if isinstance(value, numbers.Real) or np.ndim(value) == 0 else str(value)


def _for(names: Sequence[str], arguments: tuple[Any, ...]) -> str:
    """The arguments of a case as far as they fit a line."""
    parts = []
    for name, value in zip(names, arguments, strict=False):
        if isinstance(value, np.ndarray):
            parts.append(f"{name} {value.shape}" + (" float32" if value.dtype == np.float32 else ""))
        elif isinstance(value, (str, numbers.Real)):
            parts.append(f"{name} {value}")
    return f" (for {', '.join(parts)})" if parts else ""
