"""The tasks of a training step, on panels: the examples of a batch, NR at a time, as the columns of the register tile.

In a panel the activations of a layer are a block of n rows of NR numbers without gaps, so the tile reads and writes
them where they lie, and nothing is packed. Three products make a step::

    Z[l]    = W[l] A[l-1] + b[l]          rows of W times a panel            one thread: some panels
    dA[l-1] = W[l]^T dZ[l]                columns of W times a panel         one thread: some panels
    dW[l]   = dZ[l] A[l-1]^T              sums over the examples             one thread: some elements of W

The last one needs A[l-1] with examples as rows: `turn` transposes panels, while they are in cache, into blocks of NR
units, each examples x NR. What follows a product (activation, derivative, update) is applied to each tile at once.

An element is computed by one thread, and its sum is cut at places that depend on its length only, so the bits of a
step do not depend on the number of threads, nor on the other examples of a batch where it does not sum over them.
"""

from . import activations
from .compiling import inlined
from .dots import dots
from .launch import bits, compiled_task, part, part_of
from .panels import transpose
from .tile import GATE, RECTIFY, STORE, call_tile
from .vectors import call_address, cast, float_of, size_of, unpack

__all__ = [
    "CHUNK",
    "DEPTH",
    "PANEL_SCRATCH",
    "SPLIT_PANELS",
    "SPLIT_ROWS",
    "apply",
    "panel_room",
    "product",
    "row_grain",
    "row_pieces",
    "row_product",
    "small",
    "turn",
    "turn_rows",
    "wide",
]

# How threads share a product: each takes panels, or where there are too few of these, rows.
SPLIT_PANELS, SPLIT_ROWS = range(2)

DEPTH = 1024  # terms of a sum that are added up at a time: 128 KiB of a float32 panel
_LENGTH = 32_768  # bytes of them where vectors run along the sum
_WIDE = (64, 4), (128, 32), (2048, 64)  # features from which, units up to which that may be so: see `wide`
CHUNK = 104_448  # numbers of the left operand that stay in the second level of cache while panels pass by
PANEL_SCRATCH = 26  # entry of a record of `product`


@inlined
def _rows_and_panels(n, step, panels, split, t, tasks):
    """The rows i0 to i1 and panels p0 to p1 of part t; rows are shared out in whole tiles of `step`."""
    if split == SPLIT_PANELS:
        p0, p1 = part(panels, t, tasks)
        return 0, n, p0, p1
    s0, s1 = part((n + step - 1) // step, t, tasks)
    return min(n, s0 * step), min(n, s1 * step), 0, panels


@inlined
def _pace(size, rows, step, terms):
    """Bytes of the next panel, or rows of X, to ask for with each term of the tiles that use this one."""
    terms *= (rows + step - 1) // step
    return (size + terms - 1) // terms


def _product(record, t, tasks, one):
    (
        tile, NR, VL, n, k, step, count, split, a, a_rs, a_cs, bias, b, b_panel, b_row, c, c_panel, c_row,
        block, other, other_panel, other_row, parameter, epilogue, x, x_stride, scratch, scratch_size, depth, chunk,
    ) = unpack(record, 30)  # fmt: skip
    size, own = size_of(one), scratch + t * scratch_size
    i0, i1, p0, p1 = _rows_and_panels(n, step, (count + NR - 1) // NR, split, t, tasks)
    if depth < k:  # a tile has no whole sums
        epilogue = STORE
    for r0 in range(i0, i1, chunk):
        last = min(i1, r0 + chunk)
        for k0 in range(0, k, depth):
            length = min(depth, k - k0)
            for p in range(p0, p1):
                columns, right = min(NR, count - p * NR), b + (p * b_panel + k0 * b_row) * size
                ahead, pace = right, 0
                if x != 0:
                    right = ahead = own
                    if p + 1 < p1 and depth == k and x_stride < 2 * k:
                        ahead = x + (p + 1) * NR * x_stride * size
                        pace = _pace(NR * x_stride * size, last - r0, step, k)
                    transpose(x + (p * NR * x_stride + k0) * size, x_stride, columns, length, own, NR, VL, one)
                elif p + 1 < p1 and b_row == NR and last - r0 > step:
                    ahead, pace = right + b_panel * size, _pace(length * NR * size, last - r0, step, length)
                for i in range(r0, last, step):
                    rows, place = min(step, i1 - i), c + (p * c_panel + i * c_row) * size
                    beside = other + (p * other_panel + i * other_row) * size
                    start = bias + i * size if bias != 0 and k0 == 0 else 0
                    call_tile(
                        tile, rows, columns, a + (i * a_rs + k0 * a_cs) * size, a_rs, a_cs, right, b_row,
                        place, c_row, length, length, 0, start, ahead, pace, epilogue, beside, other_row, one,
                        cast(int(k0 > 0), one),
                    )  # fmt: skip
                    ahead += length * pace
                    if block != 0 and epilogue == STORE and k0 + length == k:
                        if c_row == NR:  # the rows of a panel follow each other
                            call_address(block, place, NR, beside, NR, 1, rows * NR, float_of(parameter))
                        else:
                            call_address(block, place, c_row, beside, other_row, rows, columns, float_of(parameter))


def product(
    dtype, tile, n, k, count, split, A, B, C, bias=0, block=0, other=(0, 0, 0), parameter=0.0, X=(0, 0),
    epilogue=STORE,
):  # fmt: skip
    """The task C = A B + bias for `count` columns in panels, then a block on each tile of C and its place in `other`.

    A (n, k) is an `affine.Matrix`; B (k, count), C and `other` (n, count) are (address, numbers from panel to panel,
    numbers from row to row). Where X is given, (address, numbers from row to row), the columns of B are its rows:
    panels of `panel_room` bytes are made of them one by one in scratch, entry PANEL_SCRATCH, and B is (0, 0, NR).
    `epilogue` takes the place of a block: RECTIFY of C, or GATE of C by `other` (see `tile`).
    """
    if epilogue == RECTIFY:
        block, other = activations.block(activations.SIGNED_RELU, activations.IN_PLACE, dtype), C
    elif epilogue == GATE:
        block = activations.block(activations.SIGNED_RELU, activations.CHAIN, dtype)
    step, depth = tile.rows(n), -(-k // -(-k // DEPTH))
    record = [
        tile.address, tile.NR, tile.VL, n, k, step, count, split, *A, bias, *B, *C,
        block, *other, bits(parameter), epilogue, *X, 0, 0, depth, max(1, CHUNK // (step * depth)) * step,
    ]  # fmt: skip
    return compiled_task(_product, dtype), record


def panel_room(dtype, tile, k):
    """Bytes of the panel of `product` with X."""
    return min(k, DEPTH) * tile.NR * dtype.itemsize


def small(units):
    """Whether the weights of the first layer stay in cache, so that a panel of X is used once and may be forgotten."""
    return units[0] * units[1] <= CHUNK


def wide(units):
    """Whether a network has so many features and so few units in its first layer that panels of X are not paid back."""
    k, n = units[:2]
    return any(k >= features and n <= most for features, most in _WIDE)


def _row_product(record, t, tasks, one):
    dots, MR, NR, n, k, count, grain, x, x_row, w, w_row, bias, z, z_row = unpack(record, 14)
    size = size_of(one)
    j0, j1, i0, i1 = 0, count, 0, n
    # Each row of what the threads share, the larger operand, is read once, and the other many times.
    together = count
    if grain != 0:
        j0, j1 = part_of(count, grain, t, tasks)
        together = MR
    else:
        i0, i1 = part_of(n, NR, t, tasks)
    pieces = (k * size + _LENGTH - 1) // _LENGTH
    length = (k + pieces - 1) // pieces
    for k0 in range(0, k, length):
        for block in range(j0, j1, together):
            for i in range(i0, i1, NR):
                columns, start = min(NR, i1 - i), bias + i * size if bias != 0 and k0 == 0 else 0
                for j in range(block, min(j1, block + together), MR):
                    call_address(
                        dots, min(MR, j1 - j), columns, x + (j * x_row + k0) * size, x_row,
                        w + (i * w_row + k0) * size, w_row, z + (j * z_row + i) * size, z_row, min(length, k - k0),
                        start, int(k0 > 0),
                    )  # fmt: skip


def row_pieces(k, size):
    """Where the pieces begin in which `row_product` sums k numbers of `size` bytes, and how long they are."""
    length = -(-k // -(-k * size // _LENGTH))
    return [(k0, min(length, k - k0)) for k0 in range(0, k, length)]


def row_grain(dtype, n, count):
    """How many of `count` examples a tile of `row_product` takes."""
    return dots(dtype, n, count)[1]


def row_product(dtype, n, k, count, grain, X, W, bias, Z, whole=None):
    """The task Z = X W^T + b where examples are rows of X (count, k) and of Z (count, n): each (address, row to row).

    `bias` is the address of b, or 0. With `whole` the examples are some tiles of so many, and tiles are those of all.

    Threads share the examples in multiples of `grain`, or of a tile where it is None, or with grain = 0 the units.
    """
    address, MR, NR = dots(dtype, n, whole or count, grain or None)
    grain = MR if grain is None else grain
    return compiled_task(_row_product, dtype), [address, MR, NR, n, k, count, grain, *X, *W, bias, *Z]


def _turn(record, t, tasks, one):
    a, a_panel, a_row, n, out, out_block, count, NR, VL = unpack(record, 9)
    size = size_of(one)
    p0, p1 = part((count + NR - 1) // NR, t, tasks)
    for p in range(p0, p1):
        for i in range(0, n, NR):
            units = min(NR, n - i)
            source, target = a + (p * a_panel + i * a_row) * size, out + (i // NR * out_block + p * NR * units) * size
            transpose(source, a_row, units, min(NR, count - p * NR), target, units, VL, one)


def turn(dtype, tile, n, count, a, a_panel, a_row, out, out_block):
    """The task that writes panels of n rows as blocks of NR units in which examples are rows."""
    return compiled_task(_turn, dtype), [a, a_panel, a_row, n, out, out_block, count, tile.NR, tile.VL]


def _turn_rows(record, t, tasks, one):
    x, x_stride, n, out, out_panel, out_row, count, NR, VL = unpack(record, 9)
    size = size_of(one)
    p0, p1 = part((count + NR - 1) // NR, t, tasks)
    for p in range(p0, p1):
        source, target = x + p * NR * x_stride * size, out + p * out_panel * size
        transpose(source, x_stride, min(NR, count - p * NR), n, target, out_row, VL, one)


def turn_rows(dtype, tile, n, count, x, x_stride, out, out_panel, out_row):
    """The task that makes panels of `count` rows of n numbers."""
    return compiled_task(_turn_rows, dtype), [x, x_stride, n, out, out_panel, out_row, count, tile.NR, tile.VL]


def _apply(record, t, tasks, one):
    block, x, x_panel, x_row, y, y_panel, y_row, n, count, NR, parameter = unpack(record, 11)
    p0, p1 = part((count + NR - 1) // NR, t, tasks)
    for p in range(p0, p1):
        X, Y = x + p * x_panel * size_of(one), y + p * y_panel * size_of(one)
        if x_row == NR and y_row == NR:  # the rows of a panel follow each other
            call_address(block, X, NR, Y, NR, 1, n * NR, float_of(parameter))
        else:
            call_address(block, X, x_row, Y, y_row, n, min(NR, count - p * NR), float_of(parameter))


def apply(dtype, tile, n, count, block, X, Y, parameter):
    """The task that applies a block to n rows of panels X and Y, places as in `product`."""
    return compiled_task(_apply, dtype), [block, *X, *Y, n, count, tile.NR, bits(parameter)]
