"""Broadcasting: the rule, axis and keepdims, ``*`` against ``@``, and rank-1 arrays."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CALORIES", "EXERCISE", "FOODS", "NUTRIENTS", "draw", "meet", "percentages", "run"]

FOODS = ("apple", "beef", "egg", "potato")
NUTRIENTS = ("carbs", "protein", "fat")
# Calories in 100 g, a food in each column.
CALORIES = np.array([[56.0, 0.0, 4.4, 68.0], [1.2, 104.0, 52.0, 8.0], [1.8, 135.0, 99.0, 0.9]])

PAIRS = (
    ((4, 3), (4, 1), "a column, beside every column"),
    ((4, 3), (1, 3), "a row, under every row"),
    ((4, 3), (1, 1), "one number, everywhere"),
    ((4, 1), (1, 3), "both are stretched"),
    ((4, 3), (3,), "rank 1 counts as a row (1, 3)"),
    ((4, 3), (4,), "so four numbers are no column"),
    ((4, 3), (3, 2), "4 against 3: neither is 1"),
)

EXERCISE = Exercise(
    function="linear_forward",
    task="Write the affine map of a layer, `Z = W A_prev + b`, for all examples at once and without a loop. W is "
    "(n, n_prev), A_prev (n_prev, m), b (n, 1), and Z must come out as (n, m).",
    start="""
    import numpy as np

    def linear_forward(W, A_prev, b):
        ...
    """,
)


def meet(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that two shapes broadcast to, or None where NumPy refuses."""
    try:
        return np.broadcast_shapes(left, right)
    except ValueError:
        return None


def percentages(calories: np.ndarray = CALORIES) -> np.ndarray:
    """What share of a food's calories each nutrient brings, in percent: one division of (3, 4) by (1, 4)."""
    return 100 * calories / calories.sum(axis=0, keepdims=True)


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("The rule")
    page.text(
        "Two arrays meet element by element. Their sizes are compared from the last axis to the first, and each "
        "pair must be equal, or one of the two must be 1 (or missing). What is 1 is repeated as often as needed, "
        "without a copy. Anything else is refused."
    )
    for left, right, why in PAIRS:
        page.line(f"    {left!s:<7} with {right!s:<7} -> {meet(left, right) or 'refused'!s:<8}  {why}")
    page.line()
    _table(page)
    _products(page)
    _rank_one(page)


def _table(page: Page) -> None:
    sums = CALORIES.sum(axis=0, keepdims=True)
    page.heading("One division for a whole table")
    page.text("Calories in 100 g of four foods, from carbohydrates, protein and fat: an array A of shape (3, 4).")
    page.table([["A", *FOODS], *([name, *row] for name, row in zip(NUTRIENTS, CALORIES, strict=True))])
    page.predict(
        "Which share of an egg's calories is protein? To get all twelve percentages in one division you need the "
        "total of each food: is that A.sum(axis=0) or A.sum(axis=1), and what is its shape?"
    )
    page.code("100 * A / A.sum(axis=0, keepdims=True)")
    shown = [[name, *(f"{p:.1f}" for p in row)] for name, row in zip(NUTRIENTS, percentages(), strict=True)]
    page.table([["percent", *FOODS], *shown, ["sum of A", *(f"{total:g}" for total in sums[0])]])
    page.answer(
        f"{percentages()[1, 2]:.1f} percent. axis=0 runs down the rows and leaves one number a column: shape "
        f"{CALORIES.sum(axis=0).shape}, and with keepdims=True {sums.shape}. axis=1 sums horizontally, over the "
        f"foods: {CALORIES.sum(axis=1, keepdims=True).shape}, which is how db sums over the examples."
    )


def _products(page: Page) -> None:
    W, A = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[10.0, 0.0], [0.0, 1.0]])
    page.heading("* is not @")
    page.text("On paper two matrices side by side are multiplied row by column. In NumPy * does not do that:")
    left, right = str(W * A).splitlines(), str(W @ A).splitlines()
    one, two = str(W).splitlines(), str(A).splitlines()
    page.code(
        f"W = {one[0]:<10} A = {two[0]:<13} W * A = {left[0]:<13} W @ A = {right[0]}\n"
        f"    {one[1]:<10}     {two[1]:<13}         {left[1]:<13}         {right[1]}"
    )
    page.text("Both run without a word when the shapes allow it. `W A_prev` in a formula is `W @ A_prev` in a program.")


def _rank_one(page: Page) -> None:
    page.heading("The rank-1 trap")
    a = np.arange(5.0)
    y, column = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.full((5, 1), 0.5)
    page.text(f"np.arange(5.0) has the shape {a.shape}: neither a row nor a column. Its transpose is itself.")
    page.predict(
        "A holds five predictions as a column (5, 1), y their five labels as a rank-1 array (5,). "
        "What is the shape of A - y?"
    )
    page.code(
        f"(A - y).shape           {(column - y).shape}\n"
        f"a.T.shape               {a.T.shape}\n"
        f"a @ a.T                 {a @ a.T:g}\n"
        f"column @ column.T       shape {(column @ column.T).shape}"
    )
    page.answer(
        "(5, 5): every prediction against every label, 25 differences where five were meant, and no error. A cost "
        "made of them is simply wrong. Use columns (n, 1) and rows (1, m), `np.zeros((n, 1))`, `a.reshape(1, -1)`, and "
        "assert shapes. The kernels of this package refuse rank 1:"
    )
    page.code(f"relu(np.ones(5))\nValueError: {refusal()}")


def refusal() -> str:
    """What a kernel says to a rank-1 array."""
    set_: Any = kernels()
    try:
        set_.relu(np.ones(5))
    except ValueError as error:
        return str(error)
    raise AssertionError("relu accepted a rank-1 array")


def draw() -> "Figure":
    """The division of the table, the row of sums shown as it is stretched."""
    figure, axes = plots.new_figure(1, 3, 4.0, 2.6)
    sums = CALORIES.sum(axis=0, keepdims=True)
    stretched = np.repeat(sums, len(CALORIES), axis=0)
    titles = ("A  (3, 4)", "A.sum(axis=0, keepdims=True)\n(1, 4), stretched to (3, 4)", "100 A / sums  (3, 4)")
    for axis, values, title in zip(axes, (CALORIES, stretched, percentages()), titles, strict=True):
        axis.imshow(values, cmap="Blues", vmin=0, vmax=values.max() * 1.8, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            repeated = values is stretched and i > 0
            style = {"style": "italic", "alpha": 0.6} if repeated else {}
            axis.text(j, i, f"{round(value, 1):g}", ha="center", va="center", color="black", **style)
        axis.set_xticks(range(4), FOODS)
        axis.set_yticks(range(3), NUTRIENTS if values is not stretched else ("sum", "(again)", "(again)"))
        axis.set_title(title, fontsize=10)
        axis.set_xticks(np.arange(-0.5, 4), minor=True)
        axis.set_yticks(np.arange(-0.5, 3), minor=True)
        axis.grid(which="minor", color="white", linewidth=2)
        axis.tick_params(which="both", length=0)
    return figure
