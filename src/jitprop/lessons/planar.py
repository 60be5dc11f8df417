"""Points of the plane in two classes that no straight line separates, made here: moons, circles, rings."""

import numpy as np

__all__ = ["circles", "moons", "rings"]


def moons(m: int = 300, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two half moons that reach into each other; X (2, m) and Y (1, m), float32."""
    generator = np.random.default_rng(seed)
    label = np.arange(m) % 2
    angle = generator.uniform(0, np.pi, m)
    X = np.array([
        np.where(label, 1 - np.cos(angle), np.cos(angle)) - 0.5,
        np.where(label, 0.5 - np.sin(angle), np.sin(angle)) - 0.25,
    ])  # fmt: skip
    return _examples(X + generator.normal(0.0, noise, (2, m)), label)


def circles(m: int = 300, noise: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A circle inside a circle; X (2, m) and Y (1, m), float32."""
    generator = np.random.default_rng(seed)
    label = np.arange(m) % 2
    angle, radius = generator.uniform(0, 2 * np.pi, m), np.where(label, 0.5, 1.0)
    X = radius * np.array([np.cos(angle), np.sin(angle)])
    return _examples(X + generator.normal(0.0, noise, (2, m)), label)


def rings(m: int = 800, count: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Nested regions: a disc cut into `count` rings that take turns; X (2, m) and Y (1, m), float32."""
    generator = np.random.default_rng(seed)
    radius, angle = np.sqrt(generator.uniform(0, 1, m)), generator.uniform(0, 2 * np.pi, m)
    X = 2 * radius * np.array([np.cos(angle), np.sin(angle)])
    return _examples(X, np.floor(radius * count) % 2)


def _examples(X: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(X, np.float32), label.reshape(1, -1).astype(np.float32)
