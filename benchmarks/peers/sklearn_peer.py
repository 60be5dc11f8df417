"""scikit-learn: MLPClassifier.partial_fit, which is one epoch a call, with neither momentum nor L2."""

import numpy as np

from . import data
from .reference import BETA1, BETA2, EPSILON

__all__ = ["runners", "versions"]


def versions():
    import scipy
    import sklearn

    return {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__}


def _classifier(case, parameters, rate):
    """A classifier that starts from these parameters."""
    from sklearn.neural_network import MLPClassifier

    layers = iter([(W.T.copy(), b.copy()) for W, b in zip(parameters[::2], parameters[1::2], strict=True)])

    class Started(MLPClassifier):
        def _init_coef(self, fan_in, fan_out, dtype):
            W, b = next(layers)
            if W.shape != (fan_in, fan_out) or W.dtype != dtype:
                raise ValueError(f"W is {W.dtype} {W.shape}, not {dtype} {(fan_in, fan_out)}")
            return W, b

    net = case.network
    return Started(
        hidden_layer_sizes=net.units[1:-1],
        activation="relu",
        solver=case.optimizer,
        alpha=0.0,
        batch_size=net.batch,
        learning_rate_init=rate,
        momentum=0.0,
        nesterovs_momentum=False,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPSILON,
        shuffle=not net.full,
    )


class Training:
    """Whole epochs; in ten given steps, a call for each batch."""

    def __init__(self, case):
        self.case = case
        self.X, self.y = data.examples(case.network, case.dtype)
        self.classes = np.arange(max(2, case.network.units[-1]))

    def reset(self, parameters, rate):
        self.model = _classifier(self.case, parameters, rate)

    def parameters(self):
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [array for W, b in pairs for array in (W.T, b)]

    def epochs(self, count):
        for _ in range(count):
            self.model.partial_fit(self.X, self.y, classes=self.classes)
        return float(self.model.loss_)

    def follow(self, batches):
        for t, batch in enumerate(batches, start=1):
            chosen = slice(None) if batch is None else batch
            if t > 1 and self.case.optimizer == "adam":
                # It adds epsilon to sqrt(v) outside the bias correction: scaled with it, the others' convention.
                self.model._optimizer.epsilon = EPSILON * np.sqrt(1 - BETA2**t)
            elif self.case.optimizer == "adam":
                self.model.set_params(epsilon=EPSILON * np.sqrt(1 - BETA2))
            self.model.partial_fit(self.X[chosen], self.y[chosen], classes=self.classes)


class Prediction:
    """predict_proba, which validates X as a user's call does."""

    def __init__(self, case):
        self.X = data.examples(case.network, case.dtype, case.examples)[0]
        parameters = data.parameters(case.network, case.dtype)
        self.model = _classifier(case, parameters, 1e-30)
        X, y = data.examples(case.network, case.dtype, min(case.network.examples, 16))
        # One step with a vanishing rate makes it a fitted classifier.
        self.model.set_params(batch_size=len(X))
        self.model.partial_fit(X, y, classes=np.arange(max(2, case.network.units[-1])))
        self.single = case.network.units[-1] == 1

    def predict(self):
        return self.model.predict_proba(self.X)

    def result(self):
        return self.predict()[:, 1:] if self.single else self.predict()


def runners(case, threads):
    """{row: {way: how to make it}}."""
    kind = Training if case.task == "train" else Prediction
    return {"scikit-learn": {"": lambda: kind(case)}}
