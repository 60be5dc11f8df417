"""What is measured: the networks with their batches, and the cases made of them."""

from dataclasses import dataclass

__all__ = ["DTYPES", "GROUPS", "NETWORKS", "OPTIMIZERS", "TASKS", "Case", "Network", "select"]

OPTIMIZERS = ("sgd", "adam")
DTYPES = ("float32", "float64")
TASKS = ("train", "predict-one", "predict-many")


@dataclass(frozen=True)
class Network:
    """Units from the input to the output, the examples of a batch, of an epoch, and of a long prediction.

    Hidden layers are ReLU. One output unit is a sigmoid with binary cross-entropy, several are a softmax with
    cross-entropy. A batch of all examples is trained in order, any other is drawn by a permutation.
    """

    units: tuple[int, ...]
    batch: int
    examples: int
    predicted: int = 1797

    @property
    def full(self):
        return self.batch == self.examples

    @property
    def steps(self):
        return self.examples // self.batch

    def __str__(self):
        units = "-".join(map(str, self.units))
        if len(self.units) > 8 and len(set(self.units[1:-1])) == 1:
            units = f"{self.units[0]}-{len(self.units) - 2}x{self.units[1]}-{self.units[-1]}"
        return f"{units} {'full' if self.full else 'b'}{self.batch}"


SIX = {
    "tiny": Network((20, 32, 1), 32, 4096),
    "digits": Network((64, 100, 10), 200, 2000),
    "mnist": Network((784, 128, 64, 10), 128, 12800),
    "cat": Network((12288, 20, 7, 5, 1), 209, 209, predicted=209),
    "wide": Network((784, 1024, 1024, 10), 256, 5120),
    "big": Network((784, 2048, 2048, 10), 1024, 8192),
}
# m is a multiple of the batch: JAX's scan has batches of one size only.
OTHERS = {
    "narrow": Network((16, 8, 8, 3), 64, 4096),
    "deep": Network((64, *[32] * 30, 10), 100, 2000),
    "deep-wide": Network((100, *[256] * 8, 10), 64, 1280),
    "input": Network((10000, 50, 1), 100, 1000, predicted=1000),
    "logistic": Network((100, 1), 50, 5000),
    "logistic-full": Network((1000, 1), 2000, 2000),
    "softmax": Network((784, 10), 100, 6000),
    "one": Network((64, 100, 10), 1, 200),
    "one-wide": Network((784, 256, 10), 1, 100),
    "four": Network((64, 100, 10), 4, 800),
    "sixteen": Network((784, 128, 64, 10), 16, 1600),
    "odd37": Network((64, 100, 10), 37, 1850),
    "odd100": Network((100, 75, 33, 7), 100, 3000),
    "full": Network((30, 64, 64, 1), 5000, 5000),
    "full-wide": Network((784, 100, 10), 4000, 4000),
}
# In search of weak spots: data sets that many know, and shapes between the others.
MORE = {
    "cat-logistic": Network((12288, 1), 209, 209, predicted=209),
    "cancer": Network((30, 1), 569, 569),
    "planar": Network((2, 4, 1), 400, 400),
    "iris": Network((4, 10, 3), 120, 120),
    "adult": Network((8, 16, 1), 32, 3200),
    "covertype": Network((54, 128, 128, 7), 512, 51200),
    "years": Network((90, 256, 1), 1024, 51200),
    "higgs": Network((28, 300, 300, 1), 128, 12800),
    "softmax-full": Network((784, 10), 10000, 10000),
    "genes": Network((5000, 1000, 10), 64, 640),
    "curve": Network((1, 64, 64, 1), 1000, 1000),
    "colours": Network((3072, 200, 10), 200, 2000),
    "long": Network((20000, 10, 1), 30, 300),
    "classes": Network((1000, 200, 1000), 100, 2000),
    "two": Network((100, 100, 10), 2, 400),
    "one-deep": Network((32, 32, 32, 32, 1), 1, 200),
    "odd24": Network((256, 256, 16), 24, 2400),
}
NETWORKS = {**SIX, **OTHERS, **MORE}
GROUPS = {"six": list(SIX), "others": list(OTHERS), "more": list(MORE), "all": list(NETWORKS)}


@dataclass(frozen=True)
class Case:
    """One thing to measure; every framework gets the same."""

    name: str
    task: str = "train"
    optimizer: str = "sgd"
    dtype: str = "float32"

    @property
    def network(self):
        return NETWORKS[self.name]

    @property
    def examples(self):
        """How many examples one call of a prediction gets."""
        return 1 if self.task == "predict-one" else self.network.predicted

    @property
    def units_of_work(self):
        """What the time of one call is divided by: the steps of an epoch, or one prediction."""
        return self.network.steps if self.task == "train" else 1

    @property
    def operations(self):
        """Floating-point operations of the products in one step of training, or in one prediction.

        Twice the multiply-adds: forward, and in training dW and, but for layer 1, dA.
        """
        units = self.network.units
        weights = [n_prev * n for n_prev, n in zip(units, units[1:], strict=False)]
        if self.task == "train":
            return 2 * self.network.batch * (3 * sum(weights) - weights[0])
        return 2 * self.examples * sum(weights)

    def __str__(self):
        how = f" {self.optimizer}" if self.task == "train" else ""
        return f"{self.name} ({self.network}) {self.task}{how} {self.dtype}"


def select(names):
    """The networks that names of networks and of groups choose, each once, in the order of the list."""
    chosen = set()
    for name in names:
        if name not in NETWORKS and name not in GROUPS:
            raise ValueError(f"unknown network {name!r}; accepted: {', '.join([*GROUPS, *NETWORKS])}")
        chosen.update(GROUPS.get(name, [name]))
    return [name for name in NETWORKS if name in chosen]
