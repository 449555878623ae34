"""Several sums over vectors at once, in explicit vectors: what norms need of every row, and L-BFGS.

LLVM makes no vectors of a sum whose order it has to keep. Here lane k of `LANES` adds up every
element k, k + LANES, and so on; the lanes are added in pairs, halves first, and what is left over
at the end of the vector comes last. So bits do not depend on how long a machine's vectors are.
"""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.view import data_of, lengths_of

LANES = 16


@intrinsic
def row_moments(typingctx, z):
    """Sums of the differences of a vector's elements from its first, and of their squares.

    Of the differences, as squares of large numbers that differ little would lose what differs.
    """
    signature = types.UniTuple(z.dtype, 2)(z)

    def codegen(context, builder, signature, args):
        first = builder.load(data_of(context, builder, z, args[0]))

        def terms(values):
            (value,) = values
            difference = builder.fsub(value, _spread(builder, first, value.type))
            return difference, builder.fmul(difference, difference)

        return _sums(context, builder, signature, args, terms)

    return signature, codegen


@intrinsic
def delta_moments(typingctx, delta, gamma, hat):
    """Sums of delta * gamma and of delta * gamma * hat, for three vectors of one length."""
    signature = types.UniTuple(delta.dtype, 2)(delta, gamma, hat)

    def codegen(context, builder, signature, args):
        def terms(values):
            product = builder.fmul(values[0], values[1])
            return product, builder.fmul(product, values[2])

        return _sums(context, builder, signature, args, terms)

    return signature, codegen


@intrinsic
def pair_products(typingctx, s, y, v, w):
    """Inner products s'v, s'w, y'v and y'w of four vectors of one length."""
    signature = types.UniTuple(s.dtype, 4)(s, y, v, w)

    def codegen(context, builder, signature, args):
        def terms(values):
            return [builder.fmul(a, b) for a in values[:2] for b in values[2:]]

        return _sums(context, builder, signature, args, terms)

    return signature, codegen


def _spread(builder, scalar, kind):
    """A scalar, or a vector with it in every lane."""
    if not isinstance(kind, ir.VectorType):
        return scalar
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, undefined, mask)


def _sums(context, builder, signature, args, terms):
    """Tuple of the sums of the `terms` of each element of some vectors, as many as it has."""
    kind, n_sums = signature.args[0], len(signature.return_type)
    pointers = [
        data_of(context, builder, one, value)
        for one, value in zip(signature.args, args, strict=True)
    ]
    (size,) = lengths_of(context, builder, kind, args[0])
    element = pointers[0].type.pointee
    vector = ir.VectorType(element, LANES)
    lanes = ir.Constant(size.type, LANES)
    n_vectors = builder.sdiv(size, lanes)
    sums = [_zeroed(builder, vector) for _ in range(n_sums)]
    with cgutils.for_range(builder, n_vectors) as loop:
        at = builder.mul(loop.index, lanes)
        values = [_load(builder, pointer, at, vector) for pointer in pointers]
        _add(builder, sums, terms(values))
    rests = [_zeroed(builder, element) for _ in range(n_sums)]
    with cgutils.for_range_slice(
        builder, builder.mul(n_vectors, lanes), size, ir.Constant(size.type, 1)
    ) as (at, _):
        values = [builder.load(builder.gep(pointer, [at])) for pointer in pointers]
        _add(builder, rests, terms(values))
    totals = [
        builder.fadd(_lanes_total(builder, builder.load(total)), builder.load(rest))
        for total, rest in zip(sums, rests, strict=True)
    ]
    return cgutils.pack_array(builder, totals)


def _zeroed(builder, kind):
    place = cgutils.alloca_once(builder, kind)
    builder.store(ir.Constant(kind, None if isinstance(kind, ir.VectorType) else 0.0), place)
    return place


def _load(builder, pointer, at, vector):
    place = builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())
    return builder.load(place, align=4 if isinstance(vector.element, ir.FloatType) else 8)


def _add(builder, places, values):
    for place, value in zip(places, values, strict=True):
        builder.store(builder.fadd(builder.load(place), value), place)


def _lanes_total(builder, value):
    """Sum of a vector's lanes, halves added until one is left."""
    while value.type.count > 1:
        half = value.type.count // 2
        halves = [
            builder.shuffle_vector(
                value,
                value,
                ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(start, start + half))),
            )
            for start in (0, half)
        ]
        value = builder.fadd(*halves)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


if numba.config.DISABLE_JIT:

    def row_moments(z):
        difference = z - z[0]
        return difference.sum(), (difference * difference).sum()

    def delta_moments(delta, gamma, hat):
        product = delta * gamma
        return product.sum(), (product * hat).sum()

    def pair_products(s, y, v, w):
        return (s * v).sum(), (s * w).sum(), (y * v).sum(), (y * w).sum()
