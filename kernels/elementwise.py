"""Scalar functions that LLVM turns into SIMD code: exp, log, tanh, sigmoid, softplus, mish...

libm's functions are opaque calls, which keep a loop scalar at about 10 ns an element. Those here
are straight-line polynomials with selects instead of branches, so that

    for i in range(x.size):
        out[i] = exp(x[i])

over contiguous arrays becomes vector code of whatever width the machine has. They take float32
or float64 and answer in the same type; NaN gives NaN. Every fused multiply-add is written out
and nothing is left to the compiler's contraction, so the bits do not depend on that width.

Each function has one source for both types: constants are pairs (float32, float64), of which
`_typed` picks one at compile time, so that a float32 loop never widens to float64.

Polynomials are weighted minimax fits made in 60-digit arithmetic; coefficients are rounded from
the lowest order up, the rest fitted anew after each of the leading ones. A bound in a docstring
is in ulp (units in the last place of the exact result), holds for both types and is tested.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable

from fastmlp.kernels._jit import scalar

FLOATS = (types.float32, types.float64)

# --- Building blocks: Python functions for NUMBA_DISABLE_JIT, each with its LLVM lowering ---


def fma(a, b, c):
    """Return a * b + c rounded once; the three share one type, float32 or float64.

    Compiled, this is the machine's fused multiply-add. Interpreted, float64 is exact arithmetic
    rounded once, and float32 is float64 arithmetic rounded to float32, which differs from a
    single rounding only when the float64 sum falls on a tie.
    """
    if isinstance(a, np.float32):
        return np.float32(float(a) * float(b) + float(c))
    plain = a * b + c
    if not np.isfinite(plain):
        return plain
    # Imported here because compiled code never needs it.
    from fractions import Fraction

    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    return np.float64(float(exact)) if exact else plain


@type_callable(fma)
def _type_fma(context):
    def typer(a, b, c):
        return a if a in FLOATS and a == b == c else None

    return typer


@lower_builtin(fma, types.Float, types.Float, types.Float)
def _lower_fma(context, builder, sig, args):
    return builder.fma(*args)


def pow2(n):
    """Return 2**n for an integral n of float32 or float64 whose power is a normal number."""
    return n if np.isnan(n) else np.ldexp(type(n)(1), int(n))


def _exponent(x):
    """Return the integral n, in the type of `x`, with x / 2**n in [2/3, 4/3), for a normal x > 0.

    What it is for any other `x` does not matter.
    """
    if not np.isfinite(x):
        return type(x)(0)
    mantissa, n = np.frexp(x)
    return type(x)(n if mantissa >= type(x)(2 / 3) else n - 1)


@type_callable(pow2)
@type_callable(_exponent)
def _type_alike(context):
    def typer(x):
        return x if x in FLOATS else None

    return typer


@lower_builtin(pow2, types.Float)
def _lower_pow2(context, builder, sig, args):
    # Adding 1.5 * 2**m puts the integer n + bias into the lowest of the m mantissa bits, and
    # shifting left by m makes it the exponent field: no conversion to integer, any SIMD width.
    mantissa, bias = (23, 127) if sig.return_type == types.float32 else (52, 1023)
    kind = args[0].type
    shifted = builder.fadd(args[0], ir.Constant(kind, 1.5 * 2.0**mantissa + bias))
    bits = builder.bitcast(shifted, ir.IntType(sig.return_type.bitwidth))
    return builder.bitcast(builder.shl(bits, ir.Constant(bits.type, mantissa)), kind)


@lower_builtin(_exponent, types.Float)
def _lower_exponent(context, builder, sig, args):
    # The reverse of `pow2`: exponents are what the bits of x and of 2/3 are apart, without their
    # mantissas, and the lowest bits of 1.5 * 2**m are an integer.
    is_float32 = sig.return_type == types.float32
    mantissa, least = (23, float(np.float32(2 / 3))) if is_float32 else (52, 2 / 3)
    kind, number = args[0].type, ir.IntType(sig.return_type.bitwidth)
    rounder = ir.Constant(kind, 1.5 * 2.0**mantissa)
    x, first, zero = (
        builder.bitcast(value, number) for value in (args[0], ir.Constant(kind, least), rounder)
    )
    n = builder.ashr(builder.sub(x, first), ir.Constant(number, mantissa))
    return builder.fsub(builder.bitcast(builder.add(n, zero), kind), rounder)


def _typed(x, pair):
    """Return the member of a (float32, float64) pair that belongs to the type of `x`."""
    return pair[0] if isinstance(x, np.float32) else pair[1]


@type_callable(_typed)
def _type_typed(context):
    def typer(x, pair):
        return pair[0 if x == types.float32 else 1] if x in FLOATS else None

    return typer


@lower_builtin(_typed, types.Float, types.BaseTuple)
def _lower_typed(context, builder, sig, args):
    return builder.extract_value(args[1], 0 if sig.args[0] == types.float32 else 1)


def _polynomial(x, coefficients):
    """Evaluate by Horner's rule the polynomial whose coefficients, lowest first, suit `x`."""
    *lower, result = _typed(x, coefficients)
    for coefficient in reversed(lower):
        result = fma(result, x, coefficient)
    return result


@type_callable(_polynomial)
def _type_polynomial(context):
    def typer(x, coefficients):
        return x if x in FLOATS else None

    return typer


@lower_builtin(_polynomial, types.Float, types.BaseTuple)
def _lower_polynomial(context, builder, sig, args):
    row = _lower_typed(context, builder, sig, args)
    *lower, result = (builder.extract_value(row, i) for i in range(row.type.count))
    for coefficient in reversed(lower):
        result = builder.fma(result, args[0], coefficient)
    return result


# --- Constants ---


def _pair(for_float32, for_float64=None):
    return np.float32(for_float32), np.float64(for_float32 if for_float64 is None else for_float64)


def _rows(for_float32, for_float64):
    return (
        tuple(np.float32(c) for c in for_float32),
        tuple(np.float64(c) for c in for_float64),
    )


ZERO = _pair(0.0)
HALF = _pair(0.5)
ONE = _pair(1.0)
TWO = _pair(2.0)
FOUR = _pair(4.0)
LOG2_E = _pair(1.4426950408889634)
# ln 2 as its rounded value and the rest, so that x - n ln 2 is exact to twice the precision.
LN2_HIGH = _pair(0.6931471805599453)
LN2_LOW = _pair(-1.9046542999578e-09, 2.3190468138462996e-17)
# Adding 1.5 * 2**(mantissa bits) rounds to an integer, subtracting it again leaves that integer.
ROUNDER = _pair(1.5 * 2.0**23, 1.5 * 2.0**52)

# Beyond these, results have reached their limit: infinity, or zero after the last subnormal.
EXP_MAX = _pair(89.0, 710.0)
EXP_MIN = _pair(-104.0, -746.0)
EXPM1_MIN = _pair(-20.0, -40.0)
TANH_MAX = _pair(9.02, 19.07)
# From here on mish(x) rounds to x, and its derivative to 1.
MISH_MAX = _pair(24.0)
NORMAL_MAX = _pair(14.5, 39.0)
# Here expm1(x) is x, and x may be subnormal or a signed zero.
TINY = _pair(2.0**-25, 2.0**-54)

# (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2; relative error of exp(r) - 1: 2**-31, 2**-61.
EXP_TAIL = _rows(
    (0.5, 0.16666666, 0.041666493, 0.008333544, 0.0013932376, 0.0001976355),
    (
        0.5,
        0.16666666666666677,
        0.04166666666666663,
        0.008333333333321426,
        0.0013888888888913624,
        0.00019841269886662288,
        2.4801587257796884e-05,
        2.7557243639604398e-06,
        2.7557335858210156e-07,
        2.5109247884330163e-08,
        2.0894656748990423e-09,
    ),
)
# (2 atanh(s) / s - 2) / s**2 in s**2 for 0 <= s <= 1/3; relative error of atanh: 2**-33, 2**-59.
ATANH_TAIL = _rows(
    (0.66666675, 0.3999895, 0.28615215, 0.21443813, 0.24245726),
    (
        0.6666666666666631,
        0.400000000001557,
        0.28571428548054617,
        0.22222223957177623,
        0.18181744364578578,
        0.15386550678068375,
        0.1330109289734651,
        0.12105160869210013,
        0.08344060078514322,
        0.17011398098186778,
    ),
)
# tanh(x / 2) = p / (2 q) with p = x + x s P(s), q = 1 + s Q(s) and s = x**2 for |x| <= TANH_MAX,
# P and Q by these coefficients; relative error of tanh(x) made from p and q: 2**-26.9, 2**-59.
TANH_P = _rows(
    (0.029777702, 0.00011433503),
    (
        0.03648955616544803,
        0.0003197876179202899,
        9.84298512480247e-07,
        1.131436636690936e-09,
        4.087770231093511e-13,
        2.0777792162474628e-17,
    ),
)
TANH_Q = _rows(
    (0.113111004, 0.0012069532, 1.2306269e-06),
    (
        0.11982288949878135,
        0.00197169507615209,
        1.0022110622599444e-05,
        1.8952483737065477e-08,
        1.2727820978629886e-11,
        2.098425936730605e-15,
    ),
)
# (a + 4) exp(a**2 / 2) Phi(-a) in u = (a - 4) / (a + 4) for 0 <= a <= 14.3 (float32), 38.6
# (float64); relative error 2**-25.7, 2**-54.7. The substitution follows M. Shepherd and
# J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc(x)", Math. Comp. 36 (1981).
# The first coefficient, which is most of the sum, stands apart so that it can be added exactly.
MILLS_POLE = _pair(4.0)
MILLS_CENTER = _pair(0.75528514, 0.7552851304157515)
MILLS_SLOPE = _rows(
    (
        -0.6078966,
        0.38713646,
        -0.18652233,
        0.06040779,
        -0.0075325705,
        -0.0035268029,
        0.0015865092,
        0.00020299199,
        -0.00014344387,
        -1.4047864e-05,
    ),
    (
        -0.6078966419718921,
        0.38713740074220754,
        -0.18652185795965692,
        0.06039657489130902,
        -0.007540188966797602,
        -0.0034796923751675758,
        0.0016308184589289465,
        0.00013334439618876545,
        -0.00023109494360291273,
        -1.9087894496804974e-06,
        3.514468921783466e-05,
        7.187832235493411e-07,
        -5.919965521268658e-06,
        -6.351684092044248e-07,
        1.0204366393434416e-06,
        2.8097736977829956e-07,
        -1.5214445197829546e-07,
        -9.504485872394008e-08,
        9.378348415826999e-09,
        2.5389912230035622e-08,
        4.773769363768299e-09,
        -4.0259101025756595e-09,
        -1.5928140900101218e-09,
    ),
)
INVERSE_SQRT_2PI = _pair(0.3989422804014327)

# pi / 2 in three parts, each the rest of those before it, and 2 / pi.
HALF_PI = _pair(np.float32(1.5707963267948966), 1.5707963267948966)
HALF_PI_REST = _pair(np.float32(-4.3711390063e-08), 6.123233995736766e-17)
HALF_PI_LAST = _pair(np.float32(-1.7151245100e-15), -1.4973849048591833e-33)
TWO_OVER_PI = _pair(0.6366197723675814)
QUARTER = _pair(0.25)
ABOVE_QUARTER_PI = _pair(0.8)

# sin(r) = r + r^3 P(r^2) and cos(r) = 1 - r^2 / 2 + r^4 Q(r^2) for |r| <= pi / 4: Sun's fdlibm
# (k_sin.c, k_cos.c) in double precision, Moshier's Cephes (sinf.c) in single.
SINE_TAIL = _rows(
    (-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4),
    (
        -1.66666666666666324348e-01,
        8.33333333332248946124e-03,
        -1.98412698298579493134e-04,
        2.75573137070700676789e-06,
        -2.50507602534068634195e-08,
        1.58969099521155010221e-10,
    ),
)
COSINE_TAIL = _rows(
    (4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5),
    (
        4.16666666666666019037e-02,
        -1.38888888888741095749e-03,
        2.48015872894767294178e-05,
        -2.75573143513906633035e-07,
        2.08757232129817482790e-09,
        -1.13596475577881948265e-11,
    ),
)


@scalar
def _nearest(a, b):
    """Return the integer nearest to a * b, as a float."""
    rounder = _typed(a, ROUNDER)
    return fma(a, b, rounder) - rounder


@scalar
def _reduce(x, correction):
    """Return n, r, rest with x + correction = n ln 2 + r + rest.

    n is integral, |r| <= ln(2) / 2, and rest is what rounding took from r.
    """
    n = _nearest(x, _typed(x, LOG2_E))
    high = fma(-n, _typed(x, LN2_HIGH), x)  # exact: no bit is below the last of LN2_HIGH or x
    low = fma(-n, _typed(x, LN2_LOW), correction)
    r = high + low
    return n, r, (high - r) + low


@scalar
def _expm1_reduced(r, rest):
    """Return exp(r + rest) - 1 for |r| <= ln(2) / 2 and a rest below the precision of r."""
    return r + fma(r * r, _polynomial(r, EXP_TAIL), rest)


@scalar
def _scale(y, n):
    """Return y * 2**n; in two halves, so that overflow and underflow happen in y alone."""
    half = _nearest(n, _typed(n, HALF))
    return y * pow2(half) * pow2(n - half)


@scalar
def _exp_in_range(x):
    """Return exp(x) for EXP_MIN <= x <= EXP_MAX or NaN."""
    n, r, _ = _reduce(x, _typed(x, ZERO))
    # Unlike in expm1, the rest of r would hardly show: it is added to one.
    return _scale(_typed(x, ONE) + fma(r * r, _polynomial(r, EXP_TAIL), r), n)


@scalar
def _expm1_in_range(x):
    """Return exp(x) - 1 for EXPM1_MIN <= x <= EXP_MAX or NaN, x not subnormal."""
    n, r, rest = _reduce(x, _typed(x, ZERO))
    # Half the result, since 2**n itself overflows before exp does.
    half_power = pow2(n - _typed(x, ONE))
    half = fma(half_power, _expm1_reduced(r, rest), half_power - _typed(x, HALF))
    return half + half


@scalar
def _log1p(d):
    """Return log(1 + d) for -1/2 <= d <= 1."""
    # 2 atanh(s) with s = d / (2 + d), arranged so that d comes in unrounded.
    s = d / (_typed(d, TWO) + d)
    square = s * s
    return fma(-s, fma(-square, _polynomial(square, ATANH_TAIL), d), d)


@scalar
def _at_most(x, limit):
    """Return min(x, limit), or NaN for NaN."""
    return limit if x > limit else x


@scalar
def _at_least(x, limit):
    """Return max(x, limit), or NaN for NaN."""
    return limit if x < limit else x


@scalar
def _gaussian(a):
    """Return n and m with exp(-a**2 / 2) = 2**n (1 + m), for 0 <= a <= NORMAL_MAX or NaN."""
    # The exponential multiplies an error of the square by up to 745: keep the rounded-off part.
    square = a * a
    rounded_off = fma(a, a, -square)
    half = _typed(a, HALF)
    n, r, rest = _reduce(-half * square, -half * rounded_off)
    return n, _expm1_reduced(r, rest)


@scalar
def _divide(numerator, larger, smaller):
    """Return numerator / (larger + smaller) as if the sum had not been rounded.

    The quotient is corrected by its remainder, which is exact but for its own rounding when
    1/2 <= quotient * larger / numerator <= 2.
    """
    reciprocal = _typed(larger, ONE) / (larger + smaller)
    quotient = numerator * reciprocal
    remainder = fma(-quotient, smaller, fma(-quotient, larger, numerator))
    return fma(remainder, reciprocal, quotient)


# --- The functions ---


@scalar
def exp(x):
    """Return e**x, with overflow to infinity and gradual underflow to zero.

    Within 1 ulp; the largest error found is 0.98.
    """
    return _exp_in_range(_at_least(_at_most(x, _typed(x, EXP_MAX)), _typed(x, EXP_MIN)))


@scalar
def expm1(x):
    """Return e**x - 1 without cancellation near zero.

    Within 2 ulp; the largest error found is 1.6.
    """
    in_range = _at_least(_at_most(x, _typed(x, EXP_MAX)), _typed(x, EXPM1_MIN))
    return x if abs(x) < _typed(x, TINY) else _expm1_in_range(in_range)


@scalar
def tanh(x):
    """Return the hyperbolic tangent.

    Within 2 ulp; the largest error found is 1.81.
    """
    # With tanh(a / 2) = p / (2 q), tanh(a) = n / (n + d**2) where n = p q and d = q - p / 2. Near
    # saturation d vanishes, and with it what errors of p and q do. Elsewhere the names in _rest
    # hold what is left of p and n after a, of q and d after one, so that roundings are small.
    one = _typed(x, ONE)
    a = _at_most(abs(x), _typed(x, TANH_MAX))
    square = a * a
    p_rest = a * square * _polynomial(square, TANH_P)
    q_rest = square * _polynomial(square, TANH_Q)
    p = a + p_rest
    n_rest = fma(p, q_rest, p_rest)
    d_rest = fma(-_typed(x, HALF), p, q_rest)
    # The quotient as min(a, 1) and a rest, too: that of n + d**2 is what it has over max(a, 1).
    start = _at_most(a, one)
    rest = n_rest + fma(d_rest, d_rest + _typed(x, TWO), start)
    result = start + fma(-start, rest, n_rest) / (_at_least(a, one) + rest)
    return np.copysign(result, x)


@scalar
def sigmoid(x):
    """Return 1 / (1 + e**-x), to full relative accuracy in the lower tail.

    Within 2 ulp; the largest error found is 1.48.
    """
    one = _typed(x, ONE)
    decay = _exp_in_range(_at_least(-abs(x), _typed(x, EXP_MIN)))
    return _divide(decay if x < _typed(x, ZERO) else one, one, decay)


@scalar
def softplus(x):
    """Return log(1 + e**x), to full relative accuracy in the lower tail.

    Within 2 ulp; the largest error found is 1.76.
    """
    decay = _exp_in_range(_at_least(-abs(x), _typed(x, EXP_MIN)))
    return _at_least(x, _typed(x, ZERO)) + _log1p(decay)


@scalar
def _mish_terms(x):
    """Return w = e**x, tanh(softplus(x)) and its denominator, for x up to MISH_MAX or NaN.

    With m = w (w + 2), (1 + w)**2 is m + 1, so that the tanh is m / (m + 2).
    """
    two = _typed(x, TWO)
    w = _exp_in_range(_at_least(x, _typed(x, EXP_MIN)))
    m = w * (w + two)
    return w, m / (m + two), m + two


@scalar
def mish(x):
    """Return x tanh(softplus(x)), by one exponential; NaN for -infinity.

    Within 5 ulp; the largest error found is 4.09.
    """
    _, ratio, _ = _mish_terms(_at_most(x, _typed(x, MISH_MAX)))
    return x * ratio


@scalar
def mish_slope(x):
    """Return the derivative of `mish`, by the same exponential.

    Within 3 units in the last place of 1: relative to the result it cannot be, as there is a root
    near -1.19. The largest error found is 2.0.
    """
    bounded = _at_most(x, _typed(x, MISH_MAX))
    w, ratio, denominator = _mish_terms(bounded)
    rest = _typed(x, FOUR) * bounded * (w / denominator) * ((w + _typed(x, ONE)) / denominator)
    return ratio + rest


@scalar
def log(x):
    """Return the natural logarithm of a number from 1 to 2**126.

    Within 2 ulp; the largest error found is 1.19.
    """
    n = _exponent(x)
    rest = _log1p(x * pow2(-n) - _typed(x, ONE))
    return fma(n, _typed(x, LN2_HIGH), fma(n, _typed(x, LN2_LOW), rest))


@scalar
def normal_pdf(x):
    """Return the standard normal density exp(-x**2 / 2) / sqrt(2 pi).

    Within 2 ulp; the largest error found is 1.31.
    """
    n, m = _gaussian(_at_most(abs(x), _typed(x, NORMAL_MAX)))
    scale = _typed(x, INVERSE_SQRT_2PI)
    return _scale(fma(scale, m, scale), n)


@scalar
def normal_cdf(x):
    """Return the standard normal distribution function Phi(x).

    Within 3 ulp, in both tails; the largest error found is 2.51.
    """
    one = _typed(x, ONE)
    pole = _typed(x, MILLS_POLE)
    a = _at_most(abs(x), _typed(x, NORMAL_MAX))
    # Phi(-a) = exp(-a**2 / 2) mills(u) / (a + 4). `error` is what rounding a + 4 and its
    # reciprocal t did to t, relatively; the larger product goes first, which is exact enough.
    # The names in _rest hold what rounding took from mills and from the ratio.
    t = one / (a + pole)
    larger, smaller = (a, pole) if a > pole else (pole, a)
    error = fma(-t, smaller, fma(-t, larger, one))
    slope = -(pole + pole) * t
    u = fma(slope, error, one + slope)
    center = _typed(x, MILLS_CENTER)
    mills_slope = _polynomial(u, MILLS_SLOPE)
    mills = fma(u, mills_slope, center)
    mills_rest = fma(u, mills_slope, center - mills)
    ratio = t * mills
    ratio_rest = fma(t, mills_rest, fma(t, mills, -ratio))
    n, m = _gaussian(a)
    tail = _scale(ratio + fma(ratio, m + error, ratio_rest), n)
    return tail if x < _typed(x, ZERO) else one - tail


@scalar
def sine_cosine(x):
    """Return sin(x) and cos(x), to 2 ulp of 1 for |x| up to 10^4.

    Of numbers so large that neighbours are turns apart they are those of some angle.
    """
    n = _nearest(x, _typed(x, TWO_OVER_PI))
    r = fma(-n, _typed(x, HALF_PI), x)
    r = fma(-n, _typed(x, HALF_PI_REST), r)
    r = fma(-n, _typed(x, HALF_PI_LAST), r)
    # What is left of a large number may be large, and its powers would be no sine.
    most = _typed(x, ABOVE_QUARTER_PI)
    r = _at_least(_at_most(r, most), -most)
    square = r * r
    s = fma(r * square, _polynomial(square, SINE_TAIL), r)
    tail = fma(square * square, _polynomial(square, COSINE_TAIL), _typed(x, ONE))
    c = fma(-_typed(x, HALF), square, tail)
    # The quarter of the circle, -2 to 2, says which is which, and its sign.
    quarter = fma(-_typed(x, FOUR), _nearest(n, _typed(x, QUARTER)), n)
    is_odd = abs(quarter) == _typed(x, ONE)
    sine = c if is_odd else s
    cosine = s if is_odd else c
    back = abs(quarter) == _typed(x, TWO)
    sine = -sine if back or quarter == -_typed(x, ONE) else sine
    cosine = -cosine if back or quarter == _typed(x, ONE) else cosine
    return sine, cosine
