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

from ..contract import COEFFICIENTS
from .compiling import inlined
from .dots import dots, dots_shape
from .launch import bits, compiled_task, part_of
from .panels import transpose
from .reductions import panel_sum
from .tile import call_tile
from .vectors import call_address, cast, float_of, prefetch, size_of, unpack, vector_at

__all__ = [
    "DEPTH",
    "FEW_SCRATCH",
    "SCRATCH",
    "SPLIT_PANELS",
    "SPLIT_ROWS",
    "apply",
    "bias_gradients",
    "few",
    "few_gradients",
    "product",
    "row_product",
    "turn",
    "turn_rows",
    "weight_gradients",
    "wide",
]

# How threads share a product: each takes panels, or where there are too few of these, rows.
SPLIT_PANELS, SPLIT_ROWS = range(2)

DEPTH = 1024  # terms of a sum that are added up at a time: 128 KiB of a float32 panel
_LENGTH = 32_768  # the same where vectors run along the sum
_WIDE, _NARROW = 128, 32  # features from which, units up to which that may be so: see `wide`
_APART, _GROUP = 2048, 2048  # numbers between such rows, rows of NR numbers to copy at a time
_FEW, _RUN = 4, 64  # units of such a layer, rows to read at a time: see `few_gradients`
_CHUNK = 98_304  # numbers of the left operand that stay in the second level of cache while panels pass by
FEW_SCRATCH = 15  # entry of a record of `few_gradients`
SCRATCH = 21  # entry of a record of `weight_gradients`
_STEP_ENTRY = 6  # of `optimizers.update_record`
_RATE, _DECAY, _SHARE = (COEFFICIENTS.index(name) for name in ("rate", "decay", "gradient_share"))


@inlined
def _part(n, t, tasks):
    return n * t // tasks, n * (t + 1) // tasks


@inlined
def _share(n, step, panels, split, t, tasks):
    """The rows i0 to i1 and panels p0 to p1 of part t; rows are shared out in whole tiles of `step`."""
    if split == SPLIT_PANELS:
        p0, p1 = _part(panels, t, tasks)
        return 0, n, p0, p1
    s0, s1 = _part((n + step - 1) // step, t, tasks)
    return min(n, s0 * step), min(n, s1 * step), 0, panels


def _product(record, t, tasks, one):
    (
        tile, NR, n, k, step, count, split, a, a_rs, a_cs, bias, b, b_panel, b_row, c, c_panel, c_row,
        block, other, other_panel, other_row, parameter,
    ) = unpack(record, 22)  # fmt: skip
    size = size_of(one)
    i0, i1, p0, p1 = _share(n, step, (count + NR - 1) // NR, split, t, tasks)
    pieces = (k + DEPTH - 1) // DEPTH
    depth = (k + pieces - 1) // pieces
    chunk = max(1, _CHUNK // (step * depth)) * step
    for r0 in range(i0, i1, chunk):
        for k0 in range(0, k, depth):
            length = min(depth, k - k0)
            for p in range(p0, p1):
                columns, right = min(NR, count - p * NR), b + (p * b_panel + k0 * b_row) * size
                for i in range(r0, min(i1, r0 + chunk), step):
                    rows, place = min(step, i1 - i), c + (p * c_panel + i * c_row) * size
                    start = bias + i * size if bias != 0 and k0 == 0 else 0
                    call_tile(
                        tile, rows, columns, a + (i * a_rs + k0 * a_cs) * size, a_rs, a_cs, right, b_row,
                        place, c_row, length, length, 0, start, one, cast(int(k0 > 0), one),
                    )  # fmt: skip
                    if block != 0 and k0 + length == k:
                        beside = other + (p * other_panel + i * other_row) * size
                        if c_row == NR:  # the rows of a panel follow each other
                            call_address(block, place, NR, beside, NR, 1, rows * NR, float_of(parameter))
                        else:
                            call_address(block, place, c_row, beside, other_row, rows, columns, float_of(parameter))


def product(dtype, tile, n, k, count, split, A, B, C, bias=0, block=0, other=(0, 0, 0), parameter=0.0):
    """The task C = A B + bias for `count` columns in panels, then a block on each tile of C and its place in `other`.

    A (n, k) is an `affine.Matrix`; B (k, count), C and `other` (n, count) are (address, numbers from panel to panel,
    numbers from row to row).
    """
    record = [
        tile.address, tile.NR, n, k, tile.rows(n), count, split, *A, bias, *B, *C,
        block, *other, bits(parameter),
    ]  # fmt: skip
    return compiled_task(_product, dtype), record


def wide(units):
    """Whether a network has so many features and so few units in its first layer that panels of X are not paid back."""
    return units[0] >= _WIDE and units[1] <= (_NARROW if units[0] < _APART else 2 * _NARROW)


def _row_product(record, t, tasks, one):
    dots, MR, NR, n, k, count, grain, x, x_row, w, w_row, bias, z, z_row = unpack(record, 14)
    size = size_of(one)
    j0, j1, i0, i1 = 0, count, 0, n
    if grain != 0:
        j0, j1 = part_of(count, grain, t, tasks)
    else:
        i0, i1 = part_of(n, NR, t, tasks)
    pieces = (k + _LENGTH - 1) // _LENGTH
    length = (k + pieces - 1) // pieces
    for k0 in range(0, k, length):
        for i in range(i0, i1, NR):
            columns, start = min(NR, i1 - i), bias + i * size if k0 == 0 else 0
            for j in range(j0, j1, MR):
                call_address(
                    dots, min(MR, j1 - j), columns, x + (j * x_row + k0) * size, x_row, w + (i * w_row + k0) * size,
                    w_row, z + (j * z_row + i) * size, z_row, min(length, k - k0), start, int(k0 > 0),
                )  # fmt: skip


def row_product(dtype, n, k, count, grain, X, W, bias, Z):
    """The task Z = X W^T + b where examples are rows of X (count, k) and of Z (count, n): each (address, row to row).

    Threads share the examples in multiples of `grain`, or with grain = 0 the units.
    """
    return compiled_task(_row_product, dtype), [dots(dtype, n), *dots_shape(), n, k, count, grain, *X, *W, bias, *Z]


def _turn(record, t, tasks, one):
    a, a_panel, a_row, n, out, out_block, count, NR, VL = unpack(record, 9)
    size = size_of(one)
    p0, p1 = _part((count + NR - 1) // NR, t, tasks)
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
    p0, p1 = _part((count + NR - 1) // NR, t, tasks)
    for p in range(p0, p1):
        source, target = x + p * NR * x_stride * size, out + p * out_panel * size
        transpose(source, x_stride, min(NR, count - p * NR), n, target, out_row, VL, one)


def turn_rows(dtype, tile, n, count, x, x_stride, out, out_panel, out_row):
    """The task that makes panels of `count` rows of n numbers."""
    return compiled_task(_turn_rows, dtype), [x, x_stride, n, out, out_panel, out_row, count, tile.NR, tile.VL]


def _apply(record, t, tasks, one):
    block, x, x_panel, x_row, y, y_panel, y_row, n, count, NR, parameter = unpack(record, 11)
    p0, p1 = _part((count + NR - 1) // NR, t, tasks)
    for p in range(p0, p1):
        X, Y = x + p * x_panel * size_of(one), y + p * y_panel * size_of(one)
        if x_row == NR and y_row == NR:  # the rows of a panel follow each other
            call_address(block, X, NR, Y, NR, 1, n * NR, float_of(parameter))
        else:
            call_address(block, X, x_row, Y, y_row, n, min(NR, count - p * NR), float_of(parameter))


def apply(dtype, tile, n, count, block, X, Y, parameter):
    """The task that applies a block to n rows of panels X and Y, places as in `product`."""
    return compiled_task(_apply, dtype), [block, *X, *Y, n, count, tile.NR, bits(parameter)]


@inlined
def _copy_blocks(b, b_block, b_row, e0, e1, blocks, columns, panel, panel_size, NR, one):
    """Copy rows e0 to e1 of some blocks of NR columns, the last of fewer, each into a panel of its own."""
    size = size_of(one)
    for e in range(e0, e1):
        for f in range(blocks):
            width = min(NR, columns - f * NR)
            source = vector_at(b + (f * b_block + e * b_row) * size, width, one)
            target = vector_at(panel + f * panel_size + e * NR * size, width, one)
            for j in range(width):
                target[j] = source[j]


@inlined
def _prefetch_blocks(b, b_row, e0, e1, columns, size):
    for e in range(e0, e1):
        row = b + e * b_row * size
        for place in range(row, row + columns * size, 64):
            prefetch(place)


def _weight_gradients(record, t, tasks, one):
    (
        tile, NR, n, k, step, count, split, d, d_row, d_column, group, jump, b, b_block, b_row, b_last,
        c, c_row, buffer, update, copied, scratch, scratch_size,
    ) = unpack(record, 23)  # fmt: skip
    size, mean, own = size_of(one), 1.0 / count, scratch + t * scratch_size
    panels, panel_size = own + step * NR * size, count * NR * size
    i0, i1, f0, f1 = _share(n, step, (k + NR - 1) // NR, split, t, tasks)
    alpha, beta = cast(mean, one), one - one
    if buffer == 0 and update == 0:
        coefficients, l2 = unpack(unpack(record + (23 + _STEP_ENTRY) * 8, 1)[0], 2)
        numbers = vector_at(coefficients, len(COEFFICIENTS), 0.0)
        rate = numbers[_RATE] * numbers[_SHARE]
        alpha, beta = cast(-rate * mean, one), cast(numbers[_DECAY] - rate * float_of(l2), one)
    chunk = max(1, _CHUNK // (step * min(DEPTH, count))) * step
    for r0 in range(i0, i1, chunk):
        for f in range(f0, f1):
            columns, right = min(NR, k - f * NR), b + f * b_block * size
            right_row = b_row if columns == NR else b_last
            if copied != 0:
                slot = (f - f0) % copied
                if slot == 0:
                    blocks = min(copied, f1 - f)
                    _copy_blocks(right, b_block, b_row, 0, count, blocks, k - f * NR, panels, panel_size, NR, one)
                # A part of the next group of blocks with every block of this one, while that is summed.
                e0, e1 = _part(count, slot, copied)
                ahead = f - slot + copied
                if ahead < f1:
                    width = min(copied * NR, k - ahead * NR)
                    _prefetch_blocks(b + ahead * b_block * size, b_row, e0, e1, width, size)
                right, right_row = panels + slot * panel_size, NR
            for i in range(r0, min(i1, r0 + chunk), step):
                rows, place, place_row = min(step, i1 - i), c + (i * c_row + f * NR) * size, c_row
                if update != 0:
                    place, place_row = own, NR
                for e in range(0, count, DEPTH):
                    left = d + (i * d_row + e * d_column + e // group * jump) * size
                    call_tile(
                        tile, rows, columns, left, d_row, d_column, right + e * right_row * size, right_row,
                        place, place_row, min(DEPTH, count - e), group, jump, 0, alpha, beta if e == 0 else one,
                    )  # fmt: skip
                if update != 0:
                    call_address(update, record + 23 * 8, i, f * NR, own, NR, rows, columns)


def weight_gradients(dtype, tile, n, k, count, split, D, B, C, parameter, update=0, buffer=False):
    """The task dW = 1/m dZ A_prev^T, what becomes of it, and how much scratch a thread needs, entry SCRATCH.

    D is (address, numbers from row to row, from example to example, examples without a gap, gap), B (address, numbers
    from block to block of NR units, from example to example, the same in a last block of fewer units), C (address,
    numbers from row to row). Without `update` and `buffer` C is W, and the tile takes the step of plain gradient
    descent; with `buffer` C takes dW; with `update`, the address of that block, it is applied to each tile of dW.
    `parameter` is `optimizers.update_record`.
    """
    step, size = tile.rows(n), dtype.itemsize
    # Rows of B far apart come slowly, and may crowd each other in few sets of the cache. Where several tiles read them,
    # a group of blocks is copied first, in longer pieces of rows.
    copied = 0
    if B[1] == tile.NR and B[2] >= _APART and step < n and count <= DEPTH:
        copied = max(1, min(_GROUP // count, -(-k // tile.NR)))
    room = (step + count * copied) * tile.NR * size
    record = [
        tile.address, tile.NR, n, k, step, count, split, *D, *B, *C, int(buffer), update, copied, 0, 0, *parameter,
    ]  # fmt: skip
    return compiled_task(_weight_gradients, dtype), record, room


def _few_gradients(record, t, tasks, one):
    (
        tile, NR, n, k, count, d, d_row, d_column, group, jump, b, b_row, c, c_row, update, scratch, scratch_size,
    ) = unpack(record, 17)  # fmt: skip
    size, alpha, own = size_of(one), cast(1.0 / count, one), scratch + t * scratch_size
    j0, j1 = part_of(k, NR, t, tasks)
    for e in range(0, count, _RUN):
        left = d + (e * d_column + e // group * jump) * size
        for j in range(j0, j1, NR):
            call_tile(
                tile, n, min(NR, j1 - j), left, d_row, d_column, b + (e * b_row + j) * size, b_row,
                own + (j - j0) * size, j1 - j0, min(_RUN, count - e), group, jump, 0, alpha,
                one if e > 0 else one - one,
            )  # fmt: skip
    if update != 0:
        call_address(update, record + 17 * 8, 0, j0, own, j1 - j0, n, j1 - j0)
    else:
        for i in range(n):
            dW, sums = vector_at(c + (i * c_row + j0) * size, j1 - j0, one), vector_at(own, n * (j1 - j0), one)
            for j in range(j1 - j0):
                dW[j] = sums[i * (j1 - j0) + j]


def few_gradients(dtype, tile, n, k, count, D, B, C, parameter, update):
    """The task of `weight_gradients` for few units of many features whose examples are rows far apart.

    The rows are read from end to end, some at a time, and the whole of dW waits in cache for the next ones. Returns
    what `weight_gradients` does, the scratch being entry FEW_SCRATCH; without `update` C takes dW.
    """
    tile.rows(n)
    record = [tile.address, tile.NR, n, k, count, *D, B[0], B[2], *C, update, 0, 0, *parameter]
    return compiled_task(_few_gradients, dtype), record, n * k * dtype.itemsize


def few(n, k, count, B, NR):
    """Whether `few_gradients` is the better way."""
    return n <= _FEW and count > _RUN and k * n <= _CHUNK and B[1] == NR and B[3] == B[2] >= 256


def _bias_gradients(record, t, tasks, one):
    n, count, NR, d, d_row, d_panel, out, update, flat = unpack(record, 9)
    size = size_of(one)
    i0, i1 = _part(n, t, tasks)
    db = vector_at(out, n, one)
    if d_row == 1:
        for i in range(i0, i1):
            db[i] = one - one
        for e in range(count):
            dZ = vector_at(d + e * d_panel * size, n, one)
            for i in range(i0, i1):
                db[i] += dZ[i]
        for i in range(i0, i1):
            db[i] = cast(db[i] / count, one)
    else:
        for i in range(i0, i1):
            db[i] = cast(panel_sum(d + i * d_row * size, d_panel * size, count, NR, one) / count, one)
    if update == 0 or i0 == i1:
        return
    if flat:
        call_address(update, record + 9 * 8, 0, i0, out + i0 * size, 0, 1, i1 - i0)
    else:
        call_address(update, record + 9 * 8, i0, 0, out + i0 * size, 1, i1 - i0, 1)


def bias_gradients(dtype, tile, n, count, D, out, parameter, flat, update=0):
    """The task db = 1/m sum of dZ over the examples, then the update.

    D is (address, numbers from row to row, numbers from panel to panel); where the first is 1, examples are rows, and
    the second is the distance from one to the next. `flat` tells that b and its averages are
    contiguous, so that they may be updated as one row.
    """
    return compiled_task(_bias_gradients, dtype), [n, count, tile.NR, *D, out, update, int(flat), *parameter]
