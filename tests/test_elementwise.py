"""Elementwise kernels: errors in ulp against wider arithmetic, limits, and the code LLVM makes."""

import hashlib
import os
import platform
import re
import subprocess
import sys

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
import reference
from marks import INTERPRETED
from scipy import special

from fastmlp.kernels import elementwise
from fastmlp.kernels._jit import FLAGS

needs_jit = pytest.mark.skipif(INTERPRETED, reason="looks at compiled code")
needs_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly"
)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])

# The bounds, in ulp, that the docstrings promise.
BOUNDS = {
    "exp": 1,
    "expm1": 2,
    "tanh": 2,
    "sigmoid": 2,
    "softplus": 2,
    "mish": 5,
    "log": 2,
    "normal_pdf": 2,
    "normal_cdf": 3,
}
compiled = numba.njit(**FLAGS)
every_function = pytest.mark.parametrize("name", BOUNDS)


def loop_over(function):
    @compiled
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return loop


LOOPS = {name: loop_over(getattr(elementwise, name)) for name in BOUNDS}


def evaluate(name, x):
    out = np.empty_like(x)
    # Interpreted arithmetic warns where compiled arithmetic is silent, as in exp's overflow.
    with np.errstate(all="ignore"):
        LOOPS[name](x, out)
    return out


# --- Accuracy ---

ORACLES = {
    "exp": np.exp,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "softplus": lambda x: np.logaddexp(x, 0),
    # tanh(softplus(x)) by expm1, whose argument 2 softplus(x) loses no small number.
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(np.minimum(x, 50)))),
    "log": np.log,
    "normal_pdf": lambda x: np.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    "normal_cdf": special.ndtr,
}
# From below the last subnormal result (or the lower limit) to the overflow or the upper limit.
SPANS = {
    ("exp", np.float32): (-105, 89),
    ("exp", np.float64): (-747, 710),
    ("expm1", np.float32): (-25, 89),
    ("expm1", np.float64): (-45, 710),
    ("tanh", np.float32): (-12, 12),
    ("tanh", np.float64): (-25, 25),
    ("sigmoid", np.float32): (-105, 20),
    ("sigmoid", np.float64): (-747, 40),
    ("softplus", np.float32): (-105, 105),
    ("softplus", np.float64): (-747, 747),
    ("mish", np.float32): (-85, 85),
    ("mish", np.float64): (-700, 700),
    ("log", np.float32): (1, 2.0**126),
    ("log", np.float64): (1, 2.0**126),
    ("normal_pdf", np.float32): (-15, 15),
    ("normal_pdf", np.float64): (-39, 39),
    ("normal_cdf", np.float32): (-15, 7),
    ("normal_cdf", np.float64): (-39, 10),
}


def arguments(name, dtype, count):
    """A grid over the whole span, one around zero, normal and log-uniform random values."""
    low, high = SPANS[name, dtype]
    rng = np.random.default_rng(20)
    magnitudes = rng.uniform(1, 2, count) * 2.0 ** rng.integers(-60, 4, count)
    x = np.concatenate(
        [
            np.linspace(low, high, count),
            np.linspace(-2, 2, count),
            2 * rng.standard_normal(count),
            2.0 ** rng.uniform(0, 126, count),
            magnitudes * rng.choice([-1, 1], count),
        ]
    )
    return x[(x >= low) & (x <= high)].astype(dtype)


def errors_in_ulp(result, exact):
    """|result - exact| in units of the last place that result's type has at the exact value."""
    info = np.finfo(result.dtype)
    with np.errstate(over="ignore"):
        rounded = exact.astype(result.dtype)
    overflow = np.isinf(rounded)
    assert np.array_equal(result[overflow], rounded[overflow])
    result, exact = result[~overflow], exact[~overflow]
    last_place = np.maximum(np.frexp(np.abs(exact))[1] - 1, info.minexp) - info.nmant
    return np.abs(result.astype(exact.dtype) - exact) / np.ldexp(exact.dtype.type(1), last_place)


@every_function
def test_float32_error_is_within_the_stated_bound(name):
    x = arguments(name, np.float32, 400 if INTERPRETED else 300_000)
    errors = errors_in_ulp(evaluate(name, x), ORACLES[name](x.astype(np.float64)))
    assert errors.max() <= BOUNDS[name]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="needs 80-bit long double")
@pytest.mark.parametrize("name", [n for n in BOUNDS if not n.startswith("normal")])
def test_float64_error_is_within_the_stated_bound(name):
    x = arguments(name, np.float64, 400 if INTERPRETED else 300_000)
    errors = errors_in_ulp(evaluate(name, x), ORACLES[name](x.astype(np.longdouble)))
    assert errors.max() <= BOUNDS[name]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant != 63, reason="needs 80-bit long double")
@pytest.mark.parametrize("name", ["normal_pdf", "normal_cdf"])
def test_float64_normal_error_is_within_the_stated_bound(name):
    mpmath = pytest.importorskip("mpmath")
    x = arguments(name, np.float64, 200 if INTERPRETED else 1_500)
    with mpmath.workdps(50):
        oracle = {
            "normal_pdf": mpmath.npdf,
            "normal_cdf": lambda v: mpmath.erfc(-v / mpmath.sqrt(2)) / 2,
        }[name]
        digits = [mpmath.nstr(oracle(mpmath.mpf(float(v))), 25) for v in x]
    exact = np.array([np.longdouble(d) for d in digits])
    assert errors_in_ulp(evaluate(name, x), exact).max() <= BOUNDS[name]


@compiled
def sine_cosine_loop(x, sines, cosines):
    for i in range(x.size):
        sines[i], cosines[i] = elementwise.sine_cosine(x[i])


def sines_and_cosines(x):
    sines, cosines = np.empty_like(x), np.empty_like(x)
    with np.errstate(invalid="ignore"):
        sine_cosine_loop(x, sines, cosines)
    return sines, cosines


def turns(dtype, count):
    """Up to the stated bound, around zero, and about multiples of pi / 4, where a quarter ends."""
    rng = np.random.default_rng(21)
    multiples = rng.integers(-12_000, 12_000, count) * (np.pi / 4)
    near = np.concatenate([multiples, multiples + rng.normal(0, 1e-6, count)])
    x = np.concatenate(
        [np.linspace(-1e4, 1e4, count), np.linspace(-4, 4, count), rng.normal(0, 3, count), near]
    )
    return x[np.abs(x) <= 1e4].astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (np.float32, np.float64),
        pytest.param(
            np.float64,
            np.longdouble,
            marks=pytest.mark.skipif(
                np.finfo(np.longdouble).nmant != 63, reason="needs 80-bit long double"
            ),
        ),
    ],
)
def test_sine_and_cosine_are_within_the_stated_bound(dtype, wide):
    """Of an absolute error, in ulp of 1."""
    x = turns(dtype, 100 if INTERPRETED else 200_000)
    found = sines_and_cosines(x)
    for one, exact in zip(found, reference.sine_cosine(x.astype(wide)), strict=True):
        assert np.abs(one.astype(wide) - exact).max() <= 2 * np.finfo(dtype).eps


@both_dtypes
def test_sine_and_cosine_of_large_numbers_are_those_of_some_angle(dtype):
    """Also where neighbouring numbers are many turns apart."""
    x = np.concatenate([np.geomspace(1e4, 0.99 * np.finfo(dtype).max, 5000), [1.7e9, 2.0**40]])
    sines, cosines = sines_and_cosines(x.astype(dtype))
    squares = np.square(sines, dtype=np.float64) + np.square(cosines, dtype=np.float64)
    assert np.abs(squares - 1).max() <= 8 * np.finfo(dtype).eps


@both_dtypes
def test_sine_is_odd_and_cosine_even(dtype):
    x = turns(dtype, 50 if INTERPRETED else 10_000)
    sines, cosines = sines_and_cosines(x)
    mirrored = sines_and_cosines(-x)
    np.testing.assert_array_equal(mirrored[0], -sines)
    np.testing.assert_array_equal(mirrored[1], cosines)


@both_dtypes
def test_sine_of_small_numbers_is_their_value_and_cosine_one(dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, smallest, -3 * smallest, np.finfo(dtype).tiny], dtype)
    sines, cosines = sines_and_cosines(x)
    np.testing.assert_array_equal(sines, x)
    np.testing.assert_array_equal(cosines, 1)


@both_dtypes
def test_sine_and_cosine_of_what_is_not_finite_are_nan(dtype):
    x = np.array([np.nan, -np.nan, np.inf, -np.inf] * 9, dtype)
    assert np.isnan(sines_and_cosines(x)).all()


# --- Limits, signs, symmetries ---

INF = np.inf
LIMITS = {
    "exp": {-INF: 0, 0: 1, INF: INF},
    "expm1": {-INF: -1, 0: 0, INF: INF},
    "tanh": {-INF: -1, 0: 0, INF: 1},
    "sigmoid": {-INF: 0, 0: 0.5, INF: 1},
    "softplus": {-INF: 0, INF: INF},
    "normal_pdf": {-INF: 0, INF: 0},
    "normal_cdf": {-INF: 0, 0: 0.5, INF: 1},
}


every_limited = pytest.mark.parametrize("name", LIMITS)


@both_dtypes
@every_limited
def test_limits_are_exact(name, dtype):
    x = np.array(list(LIMITS[name]), dtype)
    np.testing.assert_array_equal(evaluate(name, x), np.array(list(LIMITS[name].values()), dtype))


@both_dtypes
@every_limited
def test_the_largest_finite_arguments_are_at_the_limits_too(name, dtype):
    largest = np.finfo(dtype).max
    expected = [LIMITS[name][-INF], LIMITS[name][INF]]
    if name == "softplus":
        expected[1] = largest
    np.testing.assert_array_equal(
        evaluate(name, np.array([-largest, largest])), np.array(expected, dtype)
    )


@both_dtypes
@every_function
def test_nan_gives_nan(name, dtype):
    # Nine of them, so that the vectorized part of a loop meets NaN as well.
    x = np.full(9 if INTERPRETED else 129, np.nan, dtype)
    assert np.isnan(evaluate(name, x)).all()
    assert np.isnan(evaluate(name, -x)).all()


@both_dtypes
@pytest.mark.parametrize("name", ["expm1", "tanh"])
def test_zero_keeps_its_sign_and_subnormals_their_value(name, dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, smallest, -3 * smallest, np.finfo(dtype).tiny], dtype)
    result = evaluate(name, x)
    np.testing.assert_array_equal(result, x)
    np.testing.assert_array_equal(np.signbit(result), np.signbit(x))


@pytest.mark.parametrize(
    ("dtype", "last"),
    # The last arguments below log of the largest number, 88.72283905... and 709.78271289338397...
    [(np.float32, 88.722832), (np.float64, 709.782712893383973)],
)
def test_exp_overflows_after_the_largest_number_and_not_before(dtype, last):
    x = np.array([last, np.nextafter(dtype(last), dtype(INF))], dtype)
    below, above = evaluate("exp", x)
    assert np.finfo(dtype).max * 0.9999 < below < INF
    assert above == INF


@pytest.mark.parametrize(
    ("dtype", "first"),
    # 1 - tanh(x) is half the distance from 1 to the next lower number at 9.0109... and 19.0615...
    [(np.float32, 9.011), (np.float64, 19.0616)],
)
def test_tanh_is_one_wherever_it_rounds_to_one(dtype, first):
    x = np.linspace(first, first + 1, 200 if INTERPRETED else 20_000).astype(dtype)
    assert (evaluate("tanh", x) == 1).all()


@both_dtypes
def test_lower_tails_of_sigmoid_and_softplus_are_exp(dtype):
    # Below -40, e**x is smaller than half an ulp of one even in float64.
    x = np.linspace(-750 if dtype == np.float64 else -106, -40, 200 if INTERPRETED else 20_000)
    x = x.astype(dtype)
    np.testing.assert_array_equal(evaluate("sigmoid", x), evaluate("exp", x))
    np.testing.assert_array_equal(evaluate("softplus", x), evaluate("exp", x))


@both_dtypes
def test_tanh_is_odd_and_normal_pdf_even(dtype):
    x = arguments("tanh", dtype, 50 if INTERPRETED else 5_000)
    np.testing.assert_array_equal(evaluate("tanh", -x), -evaluate("tanh", x))
    np.testing.assert_array_equal(evaluate("normal_pdf", -x), evaluate("normal_pdf", x))


@both_dtypes
@pytest.mark.parametrize(("name", "low"), [("tanh", -1), ("sigmoid", 0), ("normal_cdf", 0)])
def test_rounding_never_leaves_the_range(name, low, dtype):
    result = evaluate(name, arguments(name, dtype, 50 if INTERPRETED else 100_000))
    assert result.min() >= low
    assert result.max() <= 1


@both_dtypes
def test_mish_is_the_identity_from_twenty_on_and_zero_at_zero(dtype):
    x = np.array([0, 20, 20.5, 1e6, np.finfo(dtype).max, INF], dtype)
    np.testing.assert_array_equal(evaluate("mish", x), x)


@both_dtypes
def test_the_slope_of_mish_is_its_derivative(dtype):
    """Misra (2019), equation 4: f' = e^x w / d^2 with w = 4 (x + 1) + 4 e^2x + e^3x + e^x (4 x + 6)
    and d = 2 e^x + e^2x + 2."""
    x = arguments("mish", dtype, 400 if INTERPRETED else 100_000)
    slope = np.empty_like(x)
    loop_over(elementwise.mish_slope)(x, slope)
    wide = np.longdouble if dtype == np.float64 else np.float64
    y = np.minimum(x.astype(wide), 100)  # so that e^3x is finite
    w = np.exp(y)
    numerator = 4 * (y + 1) + 4 * w**2 + w**3 + w * (4 * y + 6)
    exact = w * numerator / (2 * w + w**2 + 2) ** 2
    assert np.abs(slope - exact).max() <= 3 * np.finfo(dtype).eps
    beyond = np.array([1e6, np.finfo(dtype).max, INF], dtype)
    slope = np.empty_like(beyond)
    loop_over(elementwise.mish_slope)(beyond, slope)
    assert (slope == 1).all()


# --- Building blocks ---


@both_dtypes
def test_fma_keeps_the_part_of_a_square_that_rounding_takes(dtype):
    # (1 + h)**2 = 1 + 2 h + h**2, and h**2 is below the last place of 1 + 2 h.
    h = np.finfo(dtype).eps
    x = np.array([1 + h], dtype)
    rest = np.empty_like(x)

    @compiled
    def square_rest(x, out):
        for i in range(x.size):
            out[i] = elementwise.fma(x[i], x[i], -(x[i] * x[i]))

    square_rest(x, rest)
    assert rest[0] == h * h


@both_dtypes
def test_pow2_is_exact_over_all_normal_powers(dtype):
    info = np.finfo(dtype)
    n = np.arange(info.minexp, info.maxexp)
    result = np.empty(n.size, dtype)
    loop_over(elementwise.pow2)(n.astype(dtype), result)
    np.testing.assert_array_equal(result, np.ldexp(dtype(1), n))


@both_dtypes
def test_log_of_powers_of_two_is_the_power(dtype):
    n = np.arange(127).astype(dtype)
    ln_2 = np.log(dtype(2))
    # One rounding of ln 2, and two of the sum.
    expected, eps = n * np.float64(ln_2), np.finfo(dtype).eps
    np.testing.assert_allclose(evaluate("log", np.exp2(n)), expected, rtol=2 * eps, atol=0)


@both_dtypes
def test_exponents_are_those_of_numbers_about_one(dtype):
    least, most = dtype(2 / 3), np.nextafter(dtype(4 / 3), dtype(0))
    powers = np.arange(-100, 100)
    for mantissa in (least, dtype(1), most):
        x = np.ldexp(mantissa, powers)
        result = np.empty_like(x)
        loop_over(elementwise._exponent)(x, result)
        np.testing.assert_array_equal(result, powers)


@needs_jit
@both_dtypes
def test_interpreted_fma_rounds_as_the_compiled_one(dtype):
    rng = np.random.default_rng(21)
    a, b = rng.standard_normal((2, 2_000)).astype(dtype)
    # c close to -a b, where a second rounding would show most.
    c = -(a * b) * (1 + rng.integers(-4, 4, a.size) * np.finfo(dtype).eps).astype(dtype)
    machine = np.empty_like(a)

    @compiled
    def fma_loop(a, b, c, out):
        for i in range(a.size):
            out[i] = elementwise.fma(a[i], b[i], c[i])

    fma_loop(a, b, c, machine)
    interpreted = [elementwise.fma(*row) for row in zip(a, b, c, strict=True)]
    np.testing.assert_array_equal(np.array(interpreted, dtype), machine)
    assert {type(value) for value in interpreted} == {dtype}


# --- The machine code ---


def fingerprint(dtype, count):
    """A hash of the bits of every function on the same arguments."""
    digest = hashlib.sha256()
    for name in BOUNDS:
        digest.update(evaluate(name, arguments(name, np.dtype(dtype).type, count)).tobytes())
    return digest.hexdigest()


@both_dtypes
@every_function
def test_bits_do_not_depend_on_the_place_in_the_loop(name, dtype):
    # One element alone goes through the scalar remainder of the vectorized loop.
    x = arguments(name, dtype, 20 if INTERPRETED else 500)
    alone = np.concatenate([evaluate(name, x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(evaluate(name, x), alone)


@needs_jit
@pytest.mark.parametrize(
    ("dtype", "count", "environment"),
    [
        pytest.param("float32", 5_000, {"NUMBA_CPU_NAME": "haswell"}, id="float32-avx2"),
        pytest.param("float64", 5_000, {"NUMBA_CPU_NAME": "haswell"}, id="float64-avx2"),
        pytest.param("float32", 1_000, {"NUMBA_CPU_NAME": "generic"}, id="float32-no-fma"),
        pytest.param("float64", 20, {"NUMBA_DISABLE_JIT": "1"}, id="float64-interpreted"),
    ],
)
def test_bits_do_not_depend_on_the_simd_width(dtype, count, environment):
    if environment.get("NUMBA_CPU_NAME") == "haswell":
        features = llvm.get_host_cpu_features()
        if not (features.get("avx2") and features.get("fma")):
            pytest.skip("needs a machine that can run AVX2 code")
        enabled = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+fma"
        environment = {**environment, "NUMBA_CPU_FEATURES": enabled}
    program = f"import test_elementwise as t; print(t.fingerprint({dtype!r}, {count}))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == fingerprint(dtype, count)


DOUBLE_ARITHMETIC = re.compile(
    r"\bv?(?:add|sub|mul|div|min|max|sqrt|cmp\w*|u?comi|fn?m(?:add|sub)\d+|cvt\w*2)[ps]d\b"
    r"|\bv?cvt[ps]d2\w+"
)


def assembly(name, dtype):
    array = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")
    LOOPS[name].compile((array, array))
    return LOOPS[name].inspect_asm((array, array))


@needs_jit
@needs_x86
@every_function
def test_float32_code_has_no_double_arithmetic(name):
    assert not DOUBLE_ARITHMETIC.findall(assembly(name, np.float32))
    assert DOUBLE_ARITHMETIC.search(assembly(name, np.float64))  # the pattern does find it


@needs_jit
@needs_x86
@both_dtypes
@every_function
def test_loops_are_vectorized(name, dtype):
    if numba.config.CPU_NAME or not llvm.get_host_cpu_features().get("fma"):
        pytest.skip("needs code for a machine with fused multiply-add")
    suffix = "ps" if dtype == np.float32 else "pd"
    assert re.search(rf"vfn?m(?:add|sub)\d+{suffix}\b.*%[yz]mm", assembly(name, dtype))


@both_dtypes
@every_function
def test_results_have_the_type_of_the_argument(name, dtype):
    function = getattr(elementwise, name)

    @compiled
    def call(x):
        return function(x)

    if INTERPRETED:
        assert type(call(dtype(0.5))) is dtype
    else:
        kind = numba.from_dtype(np.dtype(dtype))
        call.compile((kind,))
        assert call.overloads[(kind,)].signature.return_type == kind
