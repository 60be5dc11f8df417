"""The elementary functions: errors in ULP against float64 and decimal, special values, vectorized code."""

import decimal
import importlib.util
import math
import os
import platform
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import exhaustive_ulp
import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from jitprop_kernels.jit import constants, functions
from jitprop_kernels.jit.processor import has_fma

NAMES = sorted(exhaustive_ulp.EXACT)
DTYPES = [np.float32, np.float64]
INF, NAN = math.inf, math.nan

# The bounds that the docstrings state: float32, float64.
BOUNDS = {
    "exp": (1.02, 1.0),
    "expm1": (1.24, 1.2),
    "log": (0.9, 0.9),
    "log1p": (1.4, 1.4),
    "tanh": (2.0, 2.0),
    "sigmoid": (1.7, 1.7),
    "softplus": (1.7, 1.7),
    "erf": (1.5, 1.4),
    "normal_cdf": (6.2, 8.0),
    "normal_pdf": (2.3, 2.3),
}


def compile_loop(name):
    """Return the compiled loop out[i] = function(x[i])."""
    function = getattr(functions, name)

    @njit(error_model="numpy", nogil=True)
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return loop


LOOPS = {name: compile_loop(name) for name in NAMES}


def evaluate(name, x):
    """Return the function of the array x, from the compiled loop."""
    out = np.full_like(x, NAN)
    LOOPS[name](x, out)
    return out


def float32_sample():
    """Return every 4099th bit pattern, so every exponent and sign, and the edges of all regions."""
    bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32)
    table = constants.TABLES[constants.types.float32]
    edges = [value for value in table if isinstance(value, np.float32)]
    edges += [n * math.log(2) / 2 for n in range(-300, 300)] + [math.sqrt(0.5), math.sqrt(2) - 1]
    edges = np.concatenate([np.array(edges, np.float32), -np.array(edges, np.float32)]).view(np.uint32)
    near = np.concatenate([edges - np.uint32(1), edges, edges + np.uint32(1)])
    return np.concatenate([bits, near]).view(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_its_bound(name):
    x = float32_sample()
    got = evaluate(name, x)
    exact = exhaustive_ulp.EXACT[name]
    ulp_error = exhaustive_ulp.ulp_error
    measure = njit(lambda x, got: [ulp_error(got[i], exact(np.float64(x[i]))) for i in range(x.size)])
    errors = np.array(measure(x, got))
    worst = errors.argmax()
    assert errors[worst] <= BOUNDS[name][0], f"{name}({x[worst]!r}) = {got[worst]!r}"


def decimal_erf_series(z):
    """Return sum z**(2k+1) / (1 3 ... (2k+1)), (Phi(z) - 1/2) / phi(z) (Abramowitz & Stegun 26.2.11)."""
    total = term = z
    k = 1
    while abs(term) > abs(total) * Decimal(10) ** -decimal.getcontext().prec:
        k += 2
        term = term * z * z / k
        total += term
    return total


PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798"
)


def decimal_phi(z):
    """The normal density of a Decimal."""
    return (-z * z / 2).exp() / (2 * PI).sqrt()


DECIMAL = {
    "exp": lambda x: x.exp(),
    "expm1": lambda x: x.exp() - 1,
    "log": lambda x: x.ln(),
    "log1p": lambda x: (1 + x).ln(),
    "tanh": lambda x: 1 - 2 / ((2 * x).exp() + 1),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).ln(),
    "normal_pdf": decimal_phi,
    "normal_cdf": lambda z: Decimal("0.5") + decimal_phi(z) * decimal_erf_series(z),
    "erf": lambda x: 2 * decimal_phi(x * Decimal(2).sqrt()) * decimal_erf_series(x * Decimal(2).sqrt()),
}

# Where float64 is sampled; the tails of softplus and Phi end where cancellation would need more digits.
RANGES = {
    "exp": (-745, 709), "expm1": (-45, 709), "log": (1e-300, 10), "log1p": (-0.999, 10), "tanh": (-20, 20),
    "erf": (-6, 6), "sigmoid": (-745, 40), "softplus": (-100, 60), "normal_pdf": (-38, 38),
    "normal_cdf": (-17, 6),
}  # fmt: skip


def float64_sample(low, high):
    """Random numbers in [low, high], of every magnitude."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(low, high, 150), rng.normal(0, 1, 150), 2.0 ** rng.uniform(-40, 3, 100)])
    x = np.concatenate([x, -(2.0 ** rng.uniform(-40, 3, 100)), [low, high]])
    return x[(x >= low) & (x <= high)]


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_within_its_bound(name):
    x = float64_sample(*RANGES[name])
    got = evaluate(name, x)
    with decimal.localcontext(decimal.Context(prec=90)):
        for argument, value in zip(x.tolist(), got.tolist(), strict=True):
            exact = DECIMAL[name](Decimal(argument))
            ulp = Decimal(2) ** max(math.frexp(float(exact))[1] - 53, -1074)
            error = abs(Decimal(value) - exact) / ulp
            assert error <= Decimal(BOUNDS[name][1]), f"{name}({argument!r}) = {value!r}"


SPECIAL = {
    "exp": {INF: INF, -INF: 0.0, -0.0: 1.0, 1e30: INF, -1e30: 0.0},
    "expm1": {INF: INF, -INF: -1.0, 0.0: 0.0, 1e-30: 1e-30, 1e30: INF, -1e30: -1.0},
    "log": {INF: INF, -INF: NAN, 0.0: -INF, 1.0: 0.0, -1.0: NAN, -1e-30: NAN},
    "log1p": {INF: INF, -INF: NAN, 0.0: 0.0, -1.0: -INF, -1.5: NAN, 1e-30: 1e-30},
    "tanh": {INF: 1.0, -INF: -1.0, 0.0: 0.0, 1e30: 1.0, -1e30: -1.0, 1e-30: 1e-30},
    "erf": {INF: 1.0, -INF: -1.0, 0.0: 0.0, 1e30: 1.0, -1e30: -1.0},
    "sigmoid": {INF: 1.0, -INF: 0.0, 0.0: 0.5, 1e30: 1.0, -1e30: 0.0},
    "softplus": {INF: INF, -INF: 0.0, 1e30: 1e30, -1e30: 0.0},
    "normal_cdf": {INF: 1.0, -INF: 0.0, 0.0: 0.5, 1e30: 1.0, -1e30: 0.0},
    "normal_pdf": {INF: 0.0, -INF: 0.0, 1e30: 0.0, -1e30: 0.0},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype):
    arguments = np.array([NAN, *SPECIAL[name]], dtype)
    expected = np.array([NAN, *SPECIAL[name].values()], dtype)
    np.testing.assert_array_equal(evaluate(name, arguments), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf"])
def test_odd_at_zero(name, dtype):
    subnormal = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, subnormal, -subnormal], dtype)
    got = evaluate(name, x)
    assert np.array_equal(np.signbit(got), np.signbit(x))
    assert np.array_equal(got, x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_result_has_the_dtype_of_the_argument(name, dtype):
    function = getattr(functions, name)
    scalar = njit(lambda x: function(x))
    scalar(dtype(0.5))
    assert str(scalar.nopython_signatures[0].return_type) == np.dtype(dtype).name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_loop_is_vectorized(name, dtype):
    loop = LOOPS[name]
    evaluate(name, np.ones(3, dtype))
    signature = next(s for s in loop.signatures if s[0].dtype.name == np.dtype(dtype).name)
    code = loop.inspect_llvm(signature)
    body = re.search(r"define [^\n]*@_ZN[^\n]*\n(.*?)\n}", code, re.DOTALL)[1]
    calls = set(re.findall(r"call [^\n]*?@([\w.]+)\(", body))
    assert all(call.startswith(("llvm.", "NRT_")) for call in calls), calls
    kind = "float" if dtype is np.float32 else "double"
    assert re.search(rf"fmul <\d+ x {kind}>", body)
    assert dtype is np.float64 or "double" not in body


def test_wrong_types_are_refused():
    mixed = njit(lambda a, b: functions.fma(a, a, b))
    with pytest.raises(TypingError):
        mixed(np.float32(1), np.float64(1))
    function = functions.exp
    with pytest.raises(TypingError):
        njit(lambda x: function(x))(1)


def test_fma_rounds_once_where_the_processor_does():
    x = np.float64(1 + 2.0**-30)
    residual = njit(lambda x: functions.fma(x, x, -(x * x)))(x)
    assert residual == (2.0**-60 if has_fma() else 0.0)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the others always have FMA")
def test_without_fma_hardware():
    """Compiled for a processor without FMA, the functions stay free of calls and within two more ULP."""
    script = (
        "import test_functions as t, numpy as np\n"
        "assert not t.has_fma()\n"
        "t.BOUNDS = {name: (a + 2, b) for name, (a, b) in t.BOUNDS.items()}\n"
        "for name in ('exp', 'tanh', 'sigmoid', 'normal_cdf', 'log1p'):\n"
        "    t.test_float32_is_within_its_bound(name)\n"
        "    t.test_the_loop_is_vectorized(name, np.float32)\n"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_polynomials_are_those_that_minimax_derives():
    pytest.importorskip("mpmath")
    path = Path(__file__).parents[1] / "docs" / "minimax.py"
    spec = importlib.util.spec_from_file_location("minimax", path)
    minimax = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(minimax)
    for name, coefficients, _ in minimax.derive():
        dtype = type(coefficients[0])
        assert coefficients == [dtype(c) for c in getattr(constants, name)], name
