"""The register tile: one small block of a matrix product, kept in vector registers.

`tile` adds the product of a (rows, depth) block of A and a (depth, columns) block of B to a
block of C. It is written as LLVM vectors, because LLVM's own vectorizer reaches half of what
these instructions can do. Every element of C is ONE chain of fused multiply-adds in ascending
order of the summation index, whatever the tile's shape, the vector length or the thread that
runs it: that is why training gives the same bits everywhere.
"""

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I1, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def _host_features():
    """Set of instruction set names that Numba compiles for."""
    if numba.config.CPU_FEATURES is not None:
        return {f[1:] for f in numba.config.CPU_FEATURES.split(",") if f.startswith("+")}
    features = llvmlite.binding.get_host_cpu_features()
    return {name for name, present in features.items() if present}


def _tile_shape():
    """Bytes of a vector, and the rows of the tall, middle and low tile.

    A tile is two vectors wide. The tall one fills the register file with accumulators and
    still leaves room for two vectors of B and one broadcast element of A: 24 + 2 + 1 of 32
    registers, 12 + 2 + 1 of 16.
    """
    features = _host_features()
    if "avx512f" in features:
        return 64, (12, 8, 4)
    if "avx" in features:
        return 32, (6, 4, 2)
    return 16, (12, 8, 4)  # NEON has 32 registers; SSE2 spills a few


VECTOR_BYTES, TILE_ROWS = _tile_shape()
TALL, MIDDLE, LOW = TILE_ROWS


@intrinsic
def matrix(typingctx, flat, offset, n_rows, n_columns):
    """View part of a 1-D array as a C-contiguous matrix, without counting a reference.

    Reference counts are atomic and would be fought over by threads at every layer; `flat`
    must therefore outlive the view. Read-only data come out typed as writable, so that a
    batch can be a slice of the caller's X or a gathered copy: kernels never write to inputs.
    """
    result = types.Array(flat.dtype, 2, "C")
    signature = result(flat, types.intp, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        source = context.make_array(signature.args[0])(context, builder, args[0])
        view = context.make_array(signature.return_type)(context, builder)
        itemsize = context.get_constant(
            types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype))
        )
        row = builder.mul(args[3], itemsize)
        numba.np.arrayobj.populate_array(
            view,
            data=builder.gep(source.data, [args[1]]),
            shape=[args[2], args[3]],
            strides=[row, itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return view._getvalue()

    return signature, codegen


@intrinsic
def vector(typingctx, flat, offset, size):
    """View part of a 1-D array as a vector, on the terms of `matrix`."""
    result = types.Array(flat.dtype, 1, "C")
    signature = result(flat, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        source = context.make_array(signature.args[0])(context, builder, args[0])
        view = context.make_array(signature.return_type)(context, builder)
        itemsize = context.get_constant(
            types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype))
        )
        numba.np.arrayobj.populate_array(
            view,
            data=builder.gep(source.data, [args[1]]),
            shape=[args[2]],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return view._getvalue()

    return signature, codegen


@intrinsic
def panel_width(typingctx, A):
    """Columns of the widest tile for matrices of A's dtype: two vectors."""
    width = 2 * VECTOR_BYTES // (A.dtype.bitwidth // 8)

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, width)

    return types.intp(A), codegen


@intrinsic
def tile(typingctx, A, i, k, transposed, B, j, C, ci, cj, rows, columns, depth):
    """Add a small block of a matrix product to a block of C.

    ``C[ci + r, cj + c] += sum over t < depth of a(r, t) * B[t, j + c]`` with
    ``a(r, t) = A[i + r, k + t]``, or ``A[k + t, i + r]`` if `transposed` is not 0.

    A, B and C are C-contiguous matrices of one dtype, ``0 < rows <= TALL`` and
    ``0 < columns <= panel_width(A)``. Nothing outside of the three blocks is read or written.
    The smallest of the tile shapes that covers the block does the work.
    """
    n = types.intp
    signature = types.void(A, n, n, n, B, n, C, n, n, n, n, n)

    def codegen(context, builder, signature, args):
        a, i, k, transposed, b, j, c, ci, cj, rows, columns, depth = args
        n_lanes = VECTOR_BYTES // (A.dtype.bitwidth // 8)

        def block(array_type, value, row, column):
            array = context.make_array(array_type)(context, builder, value)
            width = cgutils.unpack_tuple(builder, array.shape, 2)[1]
            start = builder.add(builder.mul(row, width), column)
            return builder.gep(array.data, [start]), width

        is_transposed = builder.icmp_signed("!=", transposed, _I64(0))
        first = builder.select(is_transposed, k, i)
        second = builder.select(is_transposed, i, k)
        a, a_width = block(A, a, first, second)
        b, b_width = block(B, b, _I64(0), j)
        c, c_width = block(C, c, ci, cj)
        row_step = builder.select(is_transposed, _I64(1), a_width)
        depth_step = builder.select(is_transposed, a_width, _I64(1))
        operands = [a, row_step, depth_step, b, b_width, c, c_width, rows, columns, depth]

        def call_smallest(shapes):
            (n_rows, n_vectors), *larger = shapes
            function = _tile_function(
                builder.module, a.type.pointee, n_rows, n_vectors, n_lanes
            )
            if not larger:
                builder.call(function, operands)
                return
            covers = builder.and_(
                builder.icmp_signed("<=", rows, _I64(n_rows)),
                builder.icmp_signed("<=", columns, _I64(n_vectors * n_lanes)),
            )
            with builder.if_else(covers) as (then, otherwise):
                with then:
                    builder.call(function, operands)
                with otherwise:
                    call_smallest(larger)

        call_smallest([(n_rows, v) for v in (1, 2) for n_rows in (1, LOW, MIDDLE, TALL)])
        return context.get_dummy_value()

    return signature, codegen


def _tile_function(module, element, n_rows, n_vectors, n_lanes):
    """Define the tile once per LLVM module, as a function of its own.

    Not inlined: one copy serves all products of the module, which keeps compilation short.
    """
    double = isinstance(element, ir.DoubleType)
    name = f"fastmlp_tile_{'f64' if double else 'f32'}_{n_rows}x{n_vectors}x{n_lanes}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    arguments = [pointer, _I64, _I64, pointer, _I64, pointer, _I64, _I64, _I64, _I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    a, a_row, a_depth, b, b_row, c, c_row, rows, columns, depth = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    vector_type = ir.VectorType(element, n_lanes)
    suffix = f"v{n_lanes}{'f64' if double else 'f32'}"
    mask_type = ir.VectorType(_I1, n_lanes)
    load_masked = cgutils.get_or_insert_function(
        module,
        ir.FunctionType(vector_type, [vector_type.as_pointer(), _I32, mask_type, vector_type]),
        f"llvm.masked.load.{suffix}.p0",
    )
    store_masked = cgutils.get_or_insert_function(
        module,
        ir.FunctionType(ir.VoidType(), [vector_type, vector_type.as_pointer(), _I32, mask_type]),
        f"llvm.masked.store.{suffix}.p0",
    )
    fma = cgutils.get_or_insert_function(
        module, ir.FunctionType(vector_type, [vector_type] * 3), f"llvm.fma.{suffix}"
    )
    align = 8 if double else 4

    def splat(scalar):
        undefined = ir.Constant(ir.VectorType(scalar.type, n_lanes), ir.Undefined)
        one = builder.insert_element(undefined, scalar, _I32(0))
        index = ir.Constant(ir.VectorType(_I32, n_lanes), [0] * n_lanes)
        return builder.shuffle_vector(one, undefined, index)

    lane = ir.Constant(ir.VectorType(_I32, n_lanes), list(range(n_lanes)))
    n_last = builder.trunc(builder.sub(columns, _I64((n_vectors - 1) * n_lanes)), _I32)
    mask = builder.icmp_signed("<", lane, splat(n_last))

    def address(base, v):
        return builder.bitcast(builder.gep(base, [_I64(v * n_lanes)]), vector_type.as_pointer())

    def load(base, v):
        if v < n_vectors - 1:
            return builder.load(address(base, v), align=align)
        zero = ir.Constant(vector_type, None)
        return builder.call(load_masked, [address(base, v), _I32(align), mask, zero])

    def store(value, base, v):
        if v < n_vectors - 1:
            builder.store(value, address(base, v), align=align)
        else:
            builder.call(store_masked, [value, address(base, v), _I32(align), mask])

    # Rows past the last one repeat it: they cost time, but no branch in the loop.
    last = builder.sub(rows, _I64(1))
    row = [_I64(0)]
    for r in range(1, n_rows):
        row.append(builder.select(builder.icmp_signed("<", _I64(r), last), _I64(r), last))
    a_start = [builder.gep(a, [builder.mul(r, a_row)]) for r in row]
    c_start = [builder.gep(c, [builder.mul(r, c_row)]) for r in row]
    initial = [load(c_start[r], v) for r in range(n_rows) for v in range(n_vectors)]

    entry = builder.block
    loop = function.append_basic_block("loop")
    done = function.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", depth, _I64(0)), loop, done)

    builder.position_at_end(loop)
    t = builder.phi(_I64)
    a_offset = builder.phi(_I64)
    b_start = builder.phi(pointer)
    sums = [builder.phi(vector_type) for _ in initial]
    b_vectors = [load(b_start, v) for v in range(n_vectors)]
    updated = []
    for r in range(n_rows):
        factor = splat(builder.load(builder.gep(a_start[r], [a_offset])))
        for v in range(n_vectors):
            updated.append(builder.call(fma, [factor, b_vectors[v], sums[r * n_vectors + v]]))
    t_next = builder.add(t, _I64(1))
    steps = [
        (t, _I64(0), t_next),
        (a_offset, _I64(0), builder.add(a_offset, a_depth)),
        (b_start, b, builder.gep(b_start, [b_row])),
        *zip(sums, initial, updated, strict=True),
    ]
    for phi, before, after in steps:
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", t_next, depth), loop, done)

    builder.position_at_end(done)
    final = []
    for before, after in zip(initial, updated, strict=True):
        phi = builder.phi(vector_type)
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
        final.append(phi)
    for r in range(n_rows):
        write = function.append_basic_block(f"write{r}")
        after = function.append_basic_block(f"after{r}")
        builder.cbranch(builder.icmp_signed("<", _I64(r), rows), write, after)
        builder.position_at_end(write)
        for v in range(n_vectors):
            store(final[r * n_vectors + v], c_start[r], v)
        builder.branch(after)
        builder.position_at_end(after)
    builder.ret_void()
    return function


if numba.config.DISABLE_JIT:

    def matrix(flat, offset, n_rows, n_columns):
        view = flat[offset : offset + n_rows * n_columns].reshape(n_rows, n_columns)
        return view

    def vector(flat, offset, size):
        return flat[offset : offset + size]

    def panel_width(A):
        return 2 * VECTOR_BYTES // A.itemsize

    def tile(A, i, k, transposed, B, j, C, ci, cj, rows, columns, depth):
        if transposed:
            block = A[k : k + depth, i : i + rows].T
        else:
            block = A[i : i + rows, k : k + depth]
        C[ci : ci + rows, cj : cj + columns] += block @ B[:depth, j : j + columns]
