"""Matrix products with the register tile: Z = W A_prev + b and the two products of its derivative.

One task serves the three: C = alpha A B + bias, then a block (an activation, a derivative) on the part of C just made,
while it is in cache. A comes with two strides, so it may be W, W^T or dZ. B is read where it lies, or copied into
panels: worth it when many rows of tiles read it again, and needed when it has to be transposed.

Long sums are cut into pieces of at most KC, so that a panel of B stays in the first levels of cache, and so that the
rounding of millions of terms does not pile up in one sum: C takes the sum of the pieces. Where they are cut depends on
the length of the sum only.
"""

from typing import NamedTuple

from . import compiling
from .compiling import inlined
from .launch import bits, compiled_task, workspace
from .panels import pack, transpose
from .tile import STORE, call_tile, tile
from .vectors import call_address, cast, float_of, size_of, unpack

__all__ = ["DIRECT", "PACKED", "TRANSPOSED", "Matrix", "crowded", "parts", "product", "reading", "share"]

# How B is read.
DIRECT = 0  # row p of B at b + p b_stride, by the tile itself
PACKED = 1  # the same, copied into panels
TRANSPOSED = 2  # column j of B at b + j b_stride, transposed into panels

_KC = 512  # 64 KiB of a float32 panel of 32 columns
_MC = 252  # rows of A that stay in the second level while panels pass by: 504 KiB at KC
_GROUP = 32  # panels that are copied before the rows of A pass by
_SPAWN = 400_000  # multiply-adds below which a second thread costs more than it brings
_REUSE = 200  # rows of A from which on copying a well-laid B pays


class Matrix(NamedTuple):
    """A matrix as a record holds it: the address of its first number, and the strides of rows and columns."""

    address: int
    row_stride: int
    column_stride: int = 1


@inlined
def _fill_panels(b, b_stride, b_mode, j0, j1, k0, depth, panel, panel_size, NR, VL, one):
    """Copy rows k0 to k0 + depth of B, columns j0 to j1, into panels."""
    size = size_of(one)
    for j in range(j0, j1, NR):
        columns, target = min(NR, j1 - j), panel + (j - j0) // NR * panel_size
        if b_mode == PACKED:
            pack(b + (k0 * b_stride + j) * size, b_stride, depth, columns, target, NR, one)
        else:
            transpose(b + (j * b_stride + k0) * size, b_stride, columns, depth, target, NR, VL, one)


def _product(record, t, tasks, one):
    (
        tile, MR, VL, NR, n, m, k, a, a_rs, a_cs, a_packed, b, b_stride, b_mode, c, c_rs, bias, alpha,
        block, other, other_stride, parameter, scratch, scratch_size,
    ) = unpack(record, 24)  # fmt: skip
    size = size_of(one)
    panels, tiles = (m + NR - 1) // NR, (n + MR - 1) // MR
    # Each thread takes columns where there are enough of them, else rows.
    i0, i1, j0, j1 = 0, n, panels * t // tasks * NR, min(m, panels * (t + 1) // tasks * NR)
    if panels % tasks != 0 and panels < 4 * tasks:
        i0, i1, j0, j1 = min(n, tiles * t // tasks * MR), min(n, tiles * (t + 1) // tasks * MR), 0, m
    if i0 == i1:
        return
    pieces = (k + _KC - 1) // _KC
    KC = (k + pieces * VL - 1) // (pieces * VL) * VL
    strip = (MR + VL - 1) // VL * VL
    first_strip, strip_size = scratch + t * scratch_size, KC * strip * size
    first_panel, panel_size = first_strip + a_packed * strip_size, KC * NR * size
    for k0 in range(0, k, KC):
        depth = min(KC, k - k0)
        last = k0 + depth == k
        scale = cast(float_of(alpha), one)
        for g0 in range(j0, j1, _GROUP * NR):
            g1 = min(j1, g0 + _GROUP * NR)
            if b_mode != DIRECT:
                _fill_panels(b, b_stride, b_mode, g0, g1, k0, depth, first_panel, panel_size, NR, VL, one)
            for r0 in range(i0, i1, _MC):
                r1 = min(i1, r0 + _MC)
                # Rows are shared out evenly: 100 rows are 8 tiles of 13 or 12, not 7 of 14 and one of 2.
                count = (r1 - r0 + MR - 1) // MR
                step = (r1 - r0 + count - 1) // count
                if a_packed:
                    for i in range(r0, r1, step):
                        target = first_strip + (i - r0) // step * strip_size
                        transpose(a + (i * a_rs + k0) * size, a_rs, min(step, r1 - i), depth, target, strip, VL, one)
                for j in range(g0, g1, NR):
                    columns, source, stride = min(NR, g1 - j), b + (k0 * b_stride + j) * size, b_stride
                    if b_mode != DIRECT:
                        source, stride = first_panel + (j - g0) // NR * panel_size, NR
                    for i in range(r0, r1, step):
                        rows, place = min(step, r1 - i), c + (i * c_rs + j) * size
                        start, left, left_rs, left_cs = 0, a + (i * a_rs + k0 * a_cs) * size, a_rs, a_cs
                        if bias != 0 and k0 == 0:
                            start = bias + i * size
                        if a_packed:
                            left, left_rs, left_cs = first_strip + (i - r0) // step * strip_size, 1, strip
                        call_tile(
                            tile, rows, columns, left, left_rs, left_cs, source, stride,
                            place, c_rs, depth, depth, 0, start, source, 0, STORE, 0, 0, scale,
                            cast(int(k0 > 0), one),
                        )  # fmt: skip
                        if last and block != 0:
                            beside = other + (i * other_stride + j) * size
                            call_address(
                                block, place, c_rs, beside, other_stride, rows, columns, float_of(parameter)
                            )


def crowded(stride, itemsize):
    """Rows so far apart fall into few sets of the cache and drive each other out."""
    return stride * itemsize % 2048 == 0


def reading(n, stride, itemsize):
    """How to read B best when A has `n` rows."""
    return PACKED if n >= _REUSE or (n > 16 and crowded(stride, itemsize)) else DIRECT


def share(work, least):
    """How many threads to cut `work` for: one where it is below `least`, what is worth a second."""
    return compiling.get_num_threads() if work >= least and compiling.may_run_parallel() else 1


def parts(operations):
    """How many threads a product of so many multiply-adds is cut for."""
    return share(operations, _SPAWN)


def product(
    dtype, n, m, k, A, B, mode, C, tasks, bias=0, alpha=1.0, block=0, other=(0, 0), parameter=0.0, scratch=None
):  # fmt: skip
    """The task C (n, m) = alpha A (n, k) B (k, m) + bias, then `block` applied to C and `other`.

    Returns the task, its record, and the bytes of scratch it needs; their address is the entry of the record before
    the last. `scratch=None` takes this thread's workspace.
    """
    shape, size = tile(dtype), dtype.itemsize
    pieces = -(-k // _KC)
    depth = -(-k // (pieces * shape.VL)) * shape.VL
    # Rows of A that crowd each other are copied too, where enough panels of B pass by.
    strips = -(-min(n, _MC) // shape.MR) if A.column_stride == 1 and crowded(A.row_stride, size) and m > 64 else 0
    room = strips * depth * -(-shape.MR // shape.VL) * shape.VL * size
    if mode != DIRECT:
        room += min(-(-m // shape.NR), _GROUP) * depth * shape.NR * size
    # The heights of what `_product` cuts into tiles: all of A or chunks of it, whole tiles, what is left for a thread.
    tiles, height = -(-n // shape.MR), min(n, _MC)
    heights = {height, height if tasks == 1 else shape.MR}
    for rows in heights | {(n - tiles * t // tasks * shape.MR) % _MC or height for t in range(tasks)}:
        shape.rows(rows)
    record = [
        shape.address, shape.MR, shape.VL, shape.NR, n, m, k, *A, strips, B.address, B.row_stride, mode,
        C.address, C.row_stride, bias, bits(alpha), block, *other, bits(parameter),
        workspace(room * tasks) if scratch is None else scratch, room,
    ]  # fmt: skip
    return compiled_task(_product, dtype), record, room * tasks
