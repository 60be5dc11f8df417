"""The tasks that sum gradients over the examples of a batch, and step the parameters.

    db[l] = 1/m dZ[l] 1          dW[l] = 1/m dZ[l] A[l-1]^T

`weight_gradients` makes dW of register tiles, or chooses another way: `_far_gradients` and `_few_gradients` where
A[l-1] has long rows, which must be read in the order in which they lie, `_outer_gradients` where examples are few. What
becomes of a gradient is told by the same arguments in all: the address of the block that steps W (see `optimizers`),
which is called for each part of dW, or none, where C takes dW itself or the step of plain gradient descent is taken
while it is stored.
"""

from ..contract import COEFFICIENTS
from . import outer
from .batches import AT_CHOSEN, AT_NEXT, RUNNING
from .compiling import inlined
from .launch import compiled_task, part, part_of
from .reductions import panel_sums
from .scalars import fma
from .steps import CHUNK, DEPTH
from .tile import STORE, call_tile, tall_tile
from .vectors import LINE, call_address, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = ["bias_gradients", "way", "weight_gradients"]

TILES, FAR, FEW, OUTER = range(4)  # the ways to sum dW
_DISTANT = 2048  # numbers between rows that lie far apart
_RUN, _WIDTH = 256, 1024  # rows and columns of a part of rows far apart, the size of a second level of cache
_UNITS, _SUMS = 256, 393_216  # units whose dZ of these rows may wait there as well, and bytes of their dW
_LONG, _CACHE = 256, 262_144  # numbers of a long row, and of a second level of cache
_AHEAD = 4  # how many tiles ahead numbers are asked for
_WAITING = 8192  # bytes of dW that wait for the update
_STREAM = 2_097_152  # numbers of W that are better read from end to end
_FIRST_LEVEL = 32_768  # bytes of a first level of cache
_FEW = 4  # units of which plain loops make the gradients
_SUM_BYTES, _PAGE = 8192, 4096  # of the sums of these that stay in the first level of cache, and of a page of memory
_STEP_ENTRY = 6  # of `optimizers.update_record`
_RATE, _DECAY, _SHARE = (COEFFICIENTS.index(name) for name in ("rate", "decay", "gradient_share"))


@inlined
def _scales(parameter, direct, whole, one):
    """By what the tile multiplies its sums and what is there: the mean, or W (decay - rate l2) - rate dW."""
    if direct == 0:
        return cast(1.0 / whole, one), one - one
    coefficients, l2 = unpack(unpack(parameter + _STEP_ENTRY * 8, 1)[0], 2)
    numbers = vector_at(coefficients, len(COEFFICIENTS), 0.0)
    rate = numbers[_RATE] * numbers[_SHARE]
    return cast(-rate / whole, one), cast(numbers[_DECAY] - rate * float_of(l2), one)


@inlined
def _next_batch(running, whole, offset, count, NR, t, tasks):
    """The rows of X that a thread will gather for the next batch: the address of their indices, the first, and the end.

    The indices are `offset` entries behind the first of this batch.
    """
    if running == 0:
        return 0, 0, 0
    entries = unpack(running, RUNNING)
    first, end = part_of(max(0, min(count, entries[AT_NEXT] + whole - offset)), NR, t, tasks)
    return entries[AT_CHOSEN] + offset * 8, first, end


@inlined
def _own_tiles(n, step, k, NR, VL, t, tasks):
    """The tiles of part t, panel after panel: from row i0 of panel f0 on, to before row i1 of panel f1.

    Threads share columns of dW, since they pass on A[l-1] from each to the other; and for equal parts, the rows of the
    panels at which these meet. A panel of fewer vectors counts less.
    """
    panels = (k + NR - 1) // NR
    if tasks == 1:
        return 0, 0, panels, 0
    tiles, vectors, width = (n + step - 1) // step, (k + VL - 1) // VL, NR // VL
    first, last = part(tiles * vectors, t, tasks)
    f0, f1 = first // (tiles * width), last // (tiles * width)
    i0 = (first - f0 * tiles * width) // max(1, min(width, vectors - f0 * width))
    i1 = (last - f1 * tiles * width) // max(1, min(width, vectors - f1 * width))
    return f0, i0 * step, f1, min(n, i1 * step)


@inlined
def _shares(tiles, n, panels, chunk, step, count, lines, arrays, near, wanted, row):
    """How a thread's tiles, of n rows in so many panels, share what there is to ask for while they sum.

    Of those that use a panel, in each chunk of rows, the last ones ask for the next panel, with `arrays` of W, m and v
    where a block updates these; the others for the rows of X that are `wanted` for the next batch, at least a tile for
    each. Where all is `near` there is nothing else to ask for. Returned are how many ask for the next panel, how many
    for one row, and the bytes of it for a term.
    """
    if tiles == 0 or (near and wanted == 0):
        return 0, 1, 0
    chunks, rows = (n + chunk - 1) // chunk, min(chunk, n)
    requests = lines if rows > lines * step else 0  # with so few tiles it is late for the panel at hand
    if requests > 0 and count <= 2 * rows:  # a tile asks for a row with each term, and not for many that are not there
        requests += lines * arrays * ((rows + count - 1) // count)
    requests = max(0, min(requests, (tiles - wanted) // (chunks * panels)))
    tiles_a_row = max(1, (tiles - chunks * requests * panels) // max(1, wanted))
    terms = tiles_a_row * count
    return requests, tiles_a_row, (row + terms - 1) // terms


@inlined
def _next_panel(request, lines, arrays, panel, b_row, parameter, i, j, count, size):
    """What one of the requests for the next panel is for: the address of a line, and bytes from each to the next.

    The first ones are for the lines of each row of the panel, the others for those of `count` rows of W, m or v, from
    element (i, j) on.
    """
    line, request = request % lines * LINE, request // lines - 1
    if request < 0:
        return panel + line, b_row * size
    array, span = request % arrays, request // arrays
    if array > 0 and unpack(parameter + 16, 1)[0] == 0:  # the rule has v, and no m
        array = 2
    place, row = unpack(parameter + array * 16, 2)
    return place + ((i + span * count) * row + j) * size + line, row * size


def _weight_gradients(record, t, tasks, one):
    (
        tile, NR, n, k, step, count, whole, VL, d, d_row, d_column, group, jump, b, b_block, b_row, b_last,
        c, c_row, update, direct, scratch, scratch_size, running, x, x_row, offset,
    ) = unpack(record, 27)  # fmt: skip
    size, own, parameter = size_of(one), scratch + t * scratch_size, record + 27 * 8
    f0, i0, f1, i1 = _own_tiles(n, step, k, NR, VL, t, tasks)
    tiles, end_of_panels = (f1 - f0) * ((n + step - 1) // step) + (i1 - i0 + step - 1) // step, f1 + int(i1 > 0)
    alpha, beta = _scales(parameter, direct, whole, one)
    chunk = max(1, CHUNK // (step * min(DEPTH, count))) * step
    indices, wanted, end = _next_batch(running, whole, offset, count, NR, t, tasks)
    chosen, asked = vector_at(indices, end, t), 0
    lines, arrays, near = max(1, NR * size // LINE), 0, tiles * step * NR * size <= _FIRST_LEVEL
    if update != 0:
        _, _, m, _, v = unpack(parameter, 5)
        arrays = 1 + int(m != 0) + int(v != 0)
    requests, tiles_a_row, pace_of_x = _shares(
        tiles, n, end_of_panels - f0, chunk, step, count, lines, arrays, near, end - wanted, k * size
    )
    for r0 in range(0, n, chunk):
        for f in range(f0, end_of_panels):
            top, last = max(r0, i0) if f == f0 else r0, min(i1 if f == f1 else n, r0 + chunk)
            columns, right = min(NR, k - f * NR), b + f * b_block * size
            right_row = b_row if columns == NR else b_last
            for i in range(top, last, step):
                rows, place, place_row = min(step, n - i), c + (i * c_row + f * NR) * size, c_row
                if update != 0:
                    place, place_row = own, NR
                line, pace, after = right, 0, (last - 1 - i) // step  # how many tiles use this panel after this one
                if after < requests and f + 1 < end_of_panels:
                    next_row = b_row if (f + 2) * NR <= k else b_last
                    line, pace = _next_panel(
                        after, lines, arrays, right + b_block * size, next_row, parameter, r0, (f + 1) * NR, count, size
                    )
                elif wanted < end:
                    line, pace = x + chosen[wanted] * x_row * size + asked * count * pace_of_x, pace_of_x
                    asked += 1
                    if asked == tiles_a_row:
                        wanted, asked = wanted + 1, 0
                for e in range(0, count, DEPTH):
                    left, terms = d + (i * d_row + e * d_column + e // group * jump) * size, min(DEPTH, count - e)
                    call_tile(
                        tile, rows, columns, left, d_row, d_column, right + e * right_row * size, right_row,
                        place, place_row, terms, group, jump, 0, line, pace, STORE, 0, 0, alpha,
                        beta if e == 0 else one,
                    )  # fmt: skip
                    line += DEPTH * pace
                if update != 0:
                    call_address(update, parameter, i, f * NR, own, NR, rows, columns)


def way(n, k, count, stride, group):
    """The way to sum dW (n, k) over `count` examples that are rows of k numbers, `stride` from one to the next.

    In dZ so many examples as `group` follow each other without a gap.
    """
    if count <= min(group, outer.most()):
        return OUTER
    if n <= _FEW and k >= _LONG:
        return FEW
    return FAR if stride >= _DISTANT or (count * stride > _CACHE and n <= _UNITS) else TILES


def weight_gradients(
    dtype, tile, n, k, count, whole, threads, D, B, C, parameter, update=0, plain=False, following=(0, 0, 0, 0, 0)
):
    """The task dW = 1/m dZ A_prev^T: task, record, which of its entries is for scratch, and how much a thread needs.

    The sum is over `count` of the m = `whole` examples of a batch.

    D is (address, numbers from row to row, from example to example, examples without a gap, gap), B (address, numbers
    from block to block of NR units, from example to example, the same in a last block of fewer units), C (address,
    numbers from row to row). `update` is the address of the block that steps W, of which `parameter` is the
    `optimizers.update_record`; without it C takes dW, with it C is W. `plain` tells that the step is that of plain
    gradient descent, which the tile takes while it stores where a sum is not cut. `following` is (record of the running
    step, X, numbers from example to example, `offset` of `_next_batch`, 1 where threads gather columns, not examples)
    where tiles are to ask for examples of the next batch, which takes far longer when all are asked for at once.
    """
    contiguous = B[1] == tile.NR and B[2] == B[3]  # examples as rows of k numbers
    chosen, direct = way(n, k, count, B[2], D[3]) if contiguous else TILES, 0
    if plain and count <= {OUTER: outer.most(), FEW: DEPTH, FAR: _RUN, TILES: DEPTH}[chosen]:
        update, direct = 0, 1
    if chosen == FEW:
        return _few(dtype, n, k, count, whole, threads, D, B, C, parameter, update, direct)
    if chosen == OUTER:
        return _outer(dtype, n, k, count, whole, D, B, C, parameter, update, direct)
    if chosen == FAR:
        return _far(dtype, n, k, count, whole, threads, D, B, C, parameter, update, direct, following)
    step = tile.rows(n)
    record = [
        tile.address, tile.NR, n, k, step, count, whole, tile.VL, *D, *B, *C, update, direct, 0, 0,
        *following[:4], *parameter,
    ]  # fmt: skip
    return compiled_task(_weight_gradients, dtype), record, 21, step * tile.NR * dtype.itemsize


def _most(k, grain, threads):
    """Columns of the largest part that `part_of` makes of k of them."""
    return -(-k // (grain * threads)) * grain


def _far_gradients(record, t, tasks, one):
    (
        tile, NR, n, k, step, count, whole, units, width, d, d_row, d_column, group, jump, b, b_row, c, c_row, update,
        direct, scratch, scratch_size, running, x, x_row, offset, by_columns,
    ) = unpack(record, 27)  # fmt: skip
    size, sums, parameter = size_of(one), scratch + t * scratch_size, record + 27 * 8
    alpha, beta = _scales(parameter, direct, whole, one)
    j0, j1 = part_of(k, NR, t, tasks)
    first_of_x, columns_of_x, part_of_x, parts = 0, k, t, tasks
    if by_columns:
        first_of_x, columns_of_x, part_of_x, parts = j0, j1 - j0, 0, 1
    indices, wanted, end = _next_batch(running, whole, offset, count, NR, part_of_x, parts)
    chosen, asked = vector_at(indices, end, t), 0
    # Of the tiles that use some columns only the first asks for others of the same rows.
    free = (n + step - 1) // step - (n + units - 1) // units
    free *= ((j1 - j0 + NR - 1) // NR) * ((count + _RUN - 1) // _RUN)
    tiles_a_row = max(1, free // max(1, end - wanted))
    terms = tiles_a_row * min(count, _RUN)
    pace_of_x = (columns_of_x * size + terms - 1) // terms
    for first in range(0, n, units):
        last = min(n, first + units)
        for j in range(j0, j1, width):
            columns, target, target_row = min(width, j1 - j), c + (first * c_row + j) * size, c_row
            if update != 0:
                target, target_row = sums, width
            for e in range(0, count, _RUN):
                rows, left = min(_RUN, count - e), d + (e * d_column + e // group * jump) * size
                next_e, next_j = (e + _RUN, j) if e + _RUN < count else (0, j + width)
                for f in range(0, columns, NR):
                    # Asked for are the same rows some tiles on; at the end of a part the first columns of the next.
                    right, on = b + (e * b_row + j + f) * size, f + _AHEAD * NR
                    line, pace = right + _AHEAD * NR * size, b_row * size
                    if on >= columns:
                        line = b + (next_e * b_row + next_j + on - columns) * size
                    for i in range(first, last, step):
                        call_tile(
                            tile, min(step, last - i), min(NR, columns - f), left + i * d_row * size, d_row, d_column,
                            right, b_row, target + ((i - first) * target_row + f) * size, target_row, rows, group, jump,
                            0, line, pace, STORE, 0, 0, alpha, beta if e == 0 else one,
                        )  # fmt: skip
                        line, pace = right, 0
                        if wanted < end and i + step < last:
                            pace = pace_of_x
                            line = x + (chosen[wanted] * x_row + first_of_x) * size + asked * min(count, _RUN) * pace
                            asked += 1
                            if asked == tiles_a_row:
                                wanted, asked = wanted + 1, 0
            if update != 0:
                call_address(update, parameter, first, j, sums, width, last - first, columns)


def _far(dtype, n, k, count, whole, threads, D, B, C, parameter, update, direct, following):
    """`weight_gradients` of rows far apart: part by part, each read in long pieces of rows.

    The tile is tall and narrow, so that few tiles read each number of A_prev: lines of such rows drive each other out
    of the first level of cache.
    """
    tile = tall_tile(dtype)
    step = tile.rows(n)
    units = min(n, _UNITS // step * step)
    width = max(1, _SUMS // (units * tile.NR * dtype.itemsize)) * tile.NR
    width = min(_WIDTH, width, _most(k, tile.NR, threads))
    record = [
        tile.address, tile.NR, n, k, step, count, whole, units, width, *D, B[0], B[2], *C, update, direct, 0, 0,
        *following, *parameter,
    ]  # fmt: skip
    return compiled_task(_far_gradients, dtype), record, 20, units * width * dtype.itemsize if update else 0


@inlined
def _add_examples(sums, n, dZ, stride, x, x_row, together, one):
    """sums = sums + the rows of X of one or four examples, each times its number of dZ, n numbers each."""
    d0, x0 = dZ[0], vector_at(x, n, one)
    if together == 1:
        for j in range(n):
            sums[j] = fma(d0, x0[j], sums[j])
        return
    d1, d2, d3 = dZ[stride], dZ[2 * stride], dZ[3 * stride]
    x1, x2, x3 = vector_at(x + x_row, n, one), vector_at(x + 2 * x_row, n, one), vector_at(x + 3 * x_row, n, one)
    for j in range(n):
        sums[j] = fma(d3, x3[j], fma(d2, x2[j], fma(d1, x1[j], fma(d0, x0[j], sums[j]))))


@inlined
def _sum_examples(sums, n, k, count, d, d_row, d_column, group, jump, e0, b, b_row, one):
    """The n x k numbers at `sums`, row after row: dZ A_prev^T over `count` examples from e0 on, in their order."""
    size = size_of(one)
    total = vector_at(sums, n * k, one)
    for j in range(n * k):
        total[j] = one - one
    # Four examples are in one group, which has NR of them, a multiple of four.
    for e in range(0, count, 4):
        together = 4 if e + 4 <= count else 1
        for r in range(e0 + e, e0 + min(count, e + 4), together):
            for i in range(n):
                dZ = vector_at(d + (i * d_row + r * d_column + r // group * jump) * size, 3 * d_column + 1, one)
                row = vector_at(sums + i * k * size, k, one)
                _add_examples(row, k, dZ, d_column, b + r * b_row * size, b_row * size, together, one)


def _few_gradients(record, t, tasks, one):
    (
        n, k, count, whole, width, grain, d, d_row, d_column, group, jump, b, b_row, c, c_row, update, direct, scratch,
        scratch_size,
    ) = unpack(record, 19)  # fmt: skip
    size, own, parameter = size_of(one), scratch + t * scratch_size, record + 19 * 8
    alpha, beta = _scales(parameter, direct, whole, one)
    j0, j1 = part_of(k, grain, t, tasks)
    start = 0  # columns before those that begin a cache line, in all rows or in none
    if b_row * size % LINE == 0:
        start = -(b + j0 * size) % LINE // size
    j = j0
    while j < j1:
        columns = min(width, j1 - j)
        if j == j0 and start > 0:
            columns = min(columns, start)
        right, target, target_row = b + j * size, c + j * size, c_row
        if update != 0:
            target, target_row = own, width
        # A load waits for a store before it whose address is the same up to multiples of a page.
        sums = own + n * width * size
        sums += (right + _PAGE // 2 - sums) % _PAGE
        for e in range(0, count, DEPTH):
            terms = min(DEPTH, count - e)
            _sum_examples(sums, n, columns, terms, d, d_row, d_column, group, jump, e, right, b_row, one)
            for i in range(n):
                dW = vector_at(target + i * target_row * size, columns, one)
                total = vector_at(sums + i * columns * size, columns, one)
                if e == 0 and beta == 0:  # dW is not read
                    for q in range(columns):
                        dW[q] = alpha * total[q]
                else:
                    keep = beta if e == 0 else one
                    for q in range(columns):
                        dW[q] = fma(alpha, total[q], keep * dW[q])
        if update != 0:
            call_address(update, parameter, 0, j, own, width, n, columns)
        j += columns


def _few(dtype, n, k, count, whole, threads, D, B, C, parameter, update, direct):
    """`weight_gradients` of few units in plain loops; sums of a piece of a row stay in the first level of cache."""
    grain = vector_length(dtype.itemsize)
    width = min(min(_PAGE, _SUM_BYTES // n) // dtype.itemsize // grain * grain, _most(k, grain, threads))
    record = [n, k, count, whole, width, grain, *D, B[0], B[2], *C, update, direct, 0, 0, *parameter]
    return compiled_task(_few_gradients, dtype), record, 17, 2 * n * width * dtype.itemsize + _PAGE


def _outer_gradients(record, t, tasks, one):
    (
        outer, n, k, _, whole, together, width, grain, d, d_row, d_column, b, b_row, c, c_row, update, direct, scratch,
        scratch_size,
    ) = unpack(record, 19)  # fmt: skip
    size, own, parameter = size_of(one), scratch + t * scratch_size, record + 19 * 8
    alpha, beta = _scales(parameter, direct, whole, one)
    i0, i1, j0, j1 = 0, n, 0, k
    if n >= tasks:
        i0, i1 = part(n, t, tasks)
    else:
        j0, j1 = part_of(k, grain, t, tasks)
    for i in range(i0, i1, together):
        rows, left = min(together, i1 - i), d + i * d_row * size
        for j in range(j0, j1, width):
            columns, place, place_row = min(width, j1 - j), c + (i * c_row + j) * size, c_row
            if update != 0:
                place, place_row = own, width
            call_address(
                outer, rows, columns, left, d_row, d_column, b + j * size, b_row, place, place_row, alpha, beta
            )
            if update != 0:
                call_address(update, parameter, i, j, own, width, rows, columns)


def _outer(dtype, n, k, count, whole, D, B, C, parameter, update, direct):
    """`weight_gradients` of few examples: all of dW at once, or as much as waits in cache for the update."""
    together = 1 if count <= 2 and n * k >= _STREAM else n
    width, grain = k, vector_length(dtype.itemsize)
    if update:
        width = min(k, _WAITING // dtype.itemsize)
        together = min(n, _WAITING // (width * dtype.itemsize))
    record = [
        outer.outer(dtype, count), n, k, count, whole, together, width, grain, *D[:3], B[0], B[2], *C, update, direct,
        0, 0, *parameter,
    ]  # fmt: skip
    room = together * width * dtype.itemsize if update else 0
    return compiled_task(_outer_gradients, dtype), record, 17, room


def _bias_gradients(record, t, tasks, one):
    n, count, whole, NR, d, d_row, d_panel, factors, out, update, flat = unpack(record, 11)
    size = size_of(one)
    i0, i1 = part(n, t, tasks)
    db = vector_at(out, n, one)
    if d_row == 1:
        for i in range(i0, i1):
            db[i] = one - one
        for e in range(count):
            dZ = vector_at(d + e * d_panel * size, n, one)
            for i in range(i0, i1):
                db[i] += dZ[i]
        for i in range(i0, i1):
            db[i] = cast(db[i] / whole, one)
    else:
        panel_sums(
            d + i0 * d_row * size, d_row, d_panel, factors, count, NR, out + i0 * size, i1 - i0, 1.0 / whole, one
        )
    if update == 0 or i0 == i1:
        return
    if flat:
        call_address(update, record + 11 * 8, 0, i0, out + i0 * size, 0, 1, i1 - i0)
    else:
        call_address(update, record + 11 * 8, i0, 0, out + i0 * size, 1, i1 - i0, 1)


def bias_gradients(dtype, tile, n, count, whole, D, out, parameter, flat, update=0, factors=0):
    """The task db = 1/m sum of dZ over `count` of m = `whole` examples, then the update.

    D is (address, numbers from row to row, numbers from panel to panel); where the first is 1, examples are rows, and
    the second is the distance from one to the next. `flat` tells that b and its averages are
    contiguous, so that they may be updated as one row.

    The same is dW of one unit, with A_prev in place of dZ, and at `factors` dZ of the unit.
    """
    record = [n, count, whole, tile.NR, *D, factors, out, update, int(flat), *parameter]
    return compiled_task(_bias_gradients, dtype), record
