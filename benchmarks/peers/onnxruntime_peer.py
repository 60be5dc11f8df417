"""ONNX Runtime: prediction only, of a model of Gemm, Relu and Sigmoid or Softmax built here."""

from . import data

__all__ = ["runners", "versions"]

_OPSET, _IR = 17, 8  # older than any ONNX Runtime in use


def versions():
    import onnx
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__}


def model(case):
    """The network as bytes of an ONNX model with input X (any, n_x) and output A."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper

    units = case.network.units
    kind = TensorProto.FLOAT if case.dtype == "float32" else TensorProto.DOUBLE
    constants, nodes, A = [], [], "X"
    for i, array in enumerate(data.parameters(case.network, case.dtype)):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{'Wb'[i % 2]}{i // 2 + 1}"))
    for l in range(1, len(units)):
        nodes.append(helper.make_node("Gemm", [A, f"W{l}", f"b{l}"], [f"Z{l}"], transB=1))
        if l < len(units) - 1:
            nodes.append(helper.make_node("Relu", [f"Z{l}"], [f"A{l}"]))
            A = f"A{l}"
    output, axis = ("Sigmoid", {}) if units[-1] == 1 else ("Softmax", {"axis": 1})
    nodes.append(helper.make_node(output, [f"Z{len(units) - 1}"], ["A"], **axis))
    X = helper.make_tensor_value_info("X", kind, ["m", units[0]])
    out = helper.make_tensor_value_info("A", kind, ["m", units[-1]])
    graph = helper.make_graph(nodes, "network", [X], [out], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    checker.check_model(made)
    return made.SerializeToString()


class Prediction:
    """A session that is run with arrays, or with buffers bound once."""

    def __init__(self, case, threads, bound):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(model(case), options, providers=["CPUExecutionProvider"])
        self.X = {"X": data.examples(case.network, case.dtype, case.examples)[0]}
        self.binding = None
        if bound:
            self.binding = self.session.io_binding()
            self.binding.bind_cpu_input("X", self.X["X"])
            self.binding.bind_output("A", "cpu")

    def predict(self):
        if self.binding is None:
            return self.session.run(None, self.X)[0]
        self.session.run_with_iobinding(self.binding)
        return self.binding.get_outputs()[0]

    def result(self):
        found = self.predict()
        return found if self.binding is None else found.numpy()


def runners(case, threads):
    """{row: {way: how to make it}}; it trains nothing."""
    if case.task == "train":
        return {}
    ways = {"run": False, "bound": True}
    return {"ONNX Runtime": {way: lambda bound=bound: Prediction(case, threads, bound) for way, bound in ways.items()}}
