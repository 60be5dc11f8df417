"""A compile cache that can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.caching import NullCache


class KernelCache(NullCache):  # type: ignore[misc]
    """The compiled forms of one function, kept on disk."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], kind: str = "kernel") -> None:
        self.function, self.options, self.kind = function, options, kind

    def abandon(self) -> None:
        """Release what a compilation that failed still holds."""


baked_addresses: set[int] = set()
