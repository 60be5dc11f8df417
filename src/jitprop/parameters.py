"""The parameters of a network by the course's names: views of one buffer that can be assigned to, and only
so."""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NoReturn

from .architecture import Architecture, allocate
from .checks import Array, check_parameter

__all__ = ["Parameters", "complete_arrays"]


class Parameters(MutableMapping[str, Array]):
    """W1, b1, ..., WL, bL in this order, each a view with contiguous rows of one aligned buffer.

    ``parameters["W1"] = array`` checks shape, dtype and finiteness and copies the values in; `update` does so
    for several arrays, all or none. Writing into a view changes the network. Names can be neither added nor
    deleted.

    Attributes
    ----------
    arrays : list of ndarray
        The views in order, as the kernels take them.
    flat : ndarray
        The buffer, with the zeros that pad the rows.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.flat, self.arrays = allocate(architecture)
        self._views = dict(zip(architecture.parameter_shapes, self.arrays, strict=True))

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> NoReturn:
        raise TypeError(f"parameter {name!r} cannot be deleted; assign new values to it")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def update(self, *arguments: Any, **arrays: Any) -> None:
        """Assign several arrays; when one is refused, none is assigned."""
        try:
            given = dict(*arguments, **arrays)
        except (TypeError, ValueError):
            kind = ", ".join(type(argument).__name__ for argument in arguments)
            raise TypeError(f"parameters must be given as a mapping of names to arrays, got {kind}") from None
        checked = {name: self._check(name, value) for name, value in given.items()}
        for name, array in checked.items():
            self._views[name][:] = array

    def _check(self, name: str, value: Any) -> Array:
        if name not in self._views:
            raise KeyError(f"no parameter {name!r}; accepted: {', '.join(self._views)}")
        view = self._views[name]
        rows, columns = view.shape
        return check_parameter(name, value, (rows, columns), view.dtype.name)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {view.shape}" for name, view in self._views.items())
        return f"<parameters {shapes}, {self.flat.dtype}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "parameters belong to their network: pickle or copy that, or dict(network.parameters)"
        )


def complete_arrays(arrays: Mapping[str, Any], architecture: Architecture, what: str) -> dict[str, Array]:
    """`arrays` checked to be all the parameters of `architecture` and no others."""
    expected = architecture.parameter_shapes
    missing = [name for name in expected if name not in arrays]
    unknown = [str(name) for name in arrays if name not in expected]
    if missing or unknown:
        raise ValueError(
            f"{what} must give the arrays {', '.join(expected)}; "
            f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )
    dtype = architecture.dtype
    return {name: check_parameter(name, arrays[name], shape, dtype) for name, shape in expected.items()}
