"""torch: eager with each implementation of its optimizer, and compiled in two ways."""

from . import data
from .reference import BETA1, BETA2, EPSILON

__all__ = ["runners", "versions"]


def versions():
    import torch

    return {"torch": torch.__version__, "torch BLAS": "MKL" if torch.backends.mkl.is_available() else "other"}


def _model(case):
    import torch

    layers = []
    units = case.network.units
    for n_prev, n in zip(units, units[1:], strict=False):
        layers += [torch.nn.Linear(n_prev, n, dtype=getattr(torch, case.dtype)), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _fill(model, parameters):
    import torch

    with torch.no_grad():
        for tensor, array in zip(model.parameters(), parameters, strict=True):
            tensor.copy_(torch.from_numpy(array))


class Training:
    """The usual loop; `way` is the implementation of the optimizer, or how torch.compile is used."""

    def __init__(self, case, threads, way, compiled=False):
        import torch

        torch.set_num_threads(threads)
        self.case, self.way, self.model = case, way, _model(case)
        X, y = data.examples(case.network, case.dtype)
        self.X, self.single = torch.from_numpy(X), case.network.units[-1] == 1
        self.Y = torch.from_numpy(y.astype(case.dtype)[:, None] if self.single else y)
        self.x = self.X.new_empty((case.network.batch, X.shape[1]))
        self.target = self.Y.new_empty((case.network.batch, *self.Y.shape[1:]))
        self.loss = torch.compile(self._loss) if compiled else self._loss

    def _loss(self, x, target):
        import torch.nn.functional as F

        Z = self.model(x)
        return F.binary_cross_entropy_with_logits(Z, target) if self.single else F.cross_entropy(Z, target)

    def reset(self, parameters, rate):
        import torch

        _fill(self.model, parameters)
        how = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}[self.way]
        given = list(self.model.parameters())
        if self.case.optimizer == "sgd":
            self.optimizer = torch.optim.SGD(given, lr=rate, **how)
        else:
            self.optimizer = torch.optim.Adam(given, lr=rate, betas=(BETA1, BETA2), eps=EPSILON, **how)

    def parameters(self):
        return [tensor.detach().numpy().copy() for tensor in self.model.parameters()]

    def epochs(self, count):
        import torch

        net = self.case.network
        for _ in range(count):
            if net.full:
                costs = [self.step(None)]
            else:
                batches = torch.randperm(net.examples).split(net.batch)
                costs = [self.step(batch) for batch in batches]
        return torch.stack(costs).mean().item()

    def follow(self, batches):
        import torch

        for batch in batches:
            self.step(None if batch is None else torch.from_numpy(batch))

    def gather(self, batch):
        import torch

        if batch is None:
            return self.X, self.Y
        torch.index_select(self.X, 0, batch, out=self.x)
        torch.index_select(self.Y, 0, batch, out=self.target)
        return self.x, self.target

    def step(self, batch):
        x, target = self.gather(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, target)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class WholeStep(Training):
    """Forward, backward and update in one compiled graph, with the update written out."""

    def __init__(self, case, threads):
        import torch

        super().__init__(case, threads, "for-loop")
        self.compiled = torch.compile(self._step, fullgraph=True)

    def reset(self, parameters, rate):
        import torch

        _fill(self.model, parameters)
        self.p = [tensor.detach() for tensor in self.model.parameters()]
        self.m, self.v = ([torch.zeros_like(p) for p in self.p] for _ in "mv")
        self.rate, self.t = rate, 0
        self.scalars = torch.zeros(2, dtype=self.X.dtype)
        self.scalars[0] = rate

    def _cost(self, p, x, target):
        import torch.nn.functional as F

        for W, b in zip(p[:-2:2], p[1:-2:2], strict=True):
            x = F.relu(F.linear(x, W, b))
        Z = F.linear(x, p[-2], p[-1])
        return F.binary_cross_entropy_with_logits(Z, target) if self.single else F.cross_entropy(Z, target)

    def _step(self, p, m, v, x, target, scalars):
        import torch

        gradients, cost = torch.func.grad_and_value(self._cost)(p, x, target)
        rate, epsilon = scalars[0], scalars[1]
        for i, g in enumerate(gradients):
            if self.case.optimizer == "sgd":
                p[i].sub_(rate * g)
                continue
            m[i].mul_(BETA1).add_(g, alpha=1 - BETA1)
            v[i].mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            p[i].sub_(rate * m[i] / (v[i].sqrt() + epsilon))
        return cost

    def step(self, batch):
        x, target = self.gather(batch)
        if self.case.optimizer == "adam":
            self.t += 1
            root = (1 - BETA2**self.t) ** 0.5
            self.scalars[0], self.scalars[1] = self.rate * root / (1 - BETA1**self.t), EPSILON * root
        return self.compiled(self.p, self.m, self.v, x, target, self.scalars)


class Prediction:
    """Forward in inference mode."""

    def __init__(self, case, threads, compiled):
        import torch

        torch.set_num_threads(threads)
        self.model = _model(case)
        _fill(self.model, data.parameters(case.network, case.dtype))
        self.model.append(torch.nn.Sigmoid() if case.network.units[-1] == 1 else torch.nn.Softmax(1))
        self.model.eval()
        self.X = torch.from_numpy(data.examples(case.network, case.dtype, case.examples)[0])
        self.call = torch.compile(self.model) if compiled else self.model

    def predict(self):
        import torch

        with torch.inference_mode():
            return self.call(self.X)

    def result(self):
        return self.predict().numpy()


def runners(case, threads):
    """{row: {way: how to make it}}."""
    import torch

    # Each case is compiled afresh: after some recompilations of one function torch would run it uncompiled.
    torch._dynamo.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    if case.task != "train":
        return {
            "torch eager": {"": lambda: Prediction(case, threads, False)},
            "torch.compile": {"": lambda: Prediction(case, threads, True)},
        }
    eager = {way: lambda way=way: Training(case, threads, way) for way in ("for-loop", "foreach", "fused")}
    compiled = {
        "loss, fused": lambda: Training(case, threads, "fused", compiled=True),
        "whole step": lambda: WholeStep(case, threads),
    }
    return {"torch eager": eager, "torch.compile": compiled}
