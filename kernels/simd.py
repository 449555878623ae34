"""Explicit vectors: the register tile of the matrix product, and the transposition of a block.

`tile` computes a block of C = start + A B in vector registers. It is written as LLVM vectors,
because LLVM's own vectorizer reaches half of what these instructions can do. Every element of C
is ONE chain of fused multiply-adds in ascending order of the summation index, whatever the tile's
shape, the vector length or the thread that runs it: that is why training gives the same bits
everywhere. `inner_product` is for what is a single long sum: as many chains on every machine.
"""

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.view import data_of, lengths_of

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


# A fused multiply-add of sixteen numbers, in LLVM's words.
_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)

define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
    %sum = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
    ret <16 x float> %sum
}
"""


def _features():
    """What this processor has, as Numba reads it: without AVX where ``NUMBA_ENABLE_AVX`` is 0."""
    if numba.config.CPU_FEATURES is not None:
        return numba.config.CPU_FEATURES
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know
        return ""
    if not numba.config.ENABLE_AVX:
        features.update((name, False) for name in features if name.startswith("avx"))
    return features.flatten()


# Of the processor that Numba compiles for, as LLVM writes them: "+avx,-avx512f".
FEATURES = _features()


def _probe_assembly():
    """What `_PROBE` becomes where Numba compiles for this processor, or for the one it is told.

    Asked of LLVM, which alone knows what a processor's name and one feature imply of others.
    """
    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    name = numba.config.CPU_NAME
    target = llvmlite.binding.Target.from_triple(llvmlite.binding.get_process_triple())
    machine = target.create_target_machine(
        cpu=llvmlite.binding.get_host_cpu_name() if name is None else name,
        features=FEATURES,
        opt=0,
    )
    return machine.emit_assembly(llvmlite.binding.parse_assembly(_PROBE))


def _target():
    """Bytes of a vector, heights of the tiles in rows, whether there are fused multiply-adds.

    A tile is one or two vectors wide. The tallest fills the register file with accumulators and
    still leaves room for two vectors of B and one broadcast element of A: 24 + 2 + 1 of 32
    registers, 12 + 2 + 1 of 16. The others make up any smaller number of rows.
    """
    assembly = _probe_assembly()
    has_fma = "fmaf" not in assembly  # the C library's, called for each number
    if "zmm" in assembly:
        return 64, (12, 8, 4, 2, 1), has_fma
    if "ymm" in assembly:
        return 32, (6, 4, 3, 2, 1), has_fma
    return 16, (12, 8, 4, 2, 1), has_fma  # NEON has 32 registers; SSE2 spills a few


VECTOR_BYTES, TILE_ROWS, HAS_FMA = _target()

# Whether a vector is cut short in one instruction. LLVM takes masked loads and stores of SSE2 and
# NEON apart, number by number with a branch each, so that whole vectors have code without masks.
HAS_MASKS = VECTOR_BYTES > 16

# Chains of `inner_product`, whatever the length of vectors: of one vector or several side by side.
CHAINS = 32

# Elements from which a sum is taken that way: a single chain waits for each of its additions.
LONG_SUM = 256

# Vectors that `column_sums` adds up side by side: an addition takes as long as several start.
SUMS_VECTORS = 4
TALL, MIDDLE, LOW = TILE_ROWS[:3]


@intrinsic
def address(typingctx, array, i):
    """Where in memory an element of a contiguous array is."""
    signature = types.intp(array, types.intp)

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_element(context, builder, array, *args), _I64)

    return signature, codegen


@intrinsic
def prefetch(typingctx, array, i):
    """Ask for the cache line of an element of a contiguous array, and do not wait for it.

    It comes to the second level of the cache. Asked for in the first, it takes as long as a load.
    """
    signature = types.void(array, types.intp)

    def codegen(context, builder, signature, args):
        element = _element(context, builder, signature.args[0], *args)
        pointer = builder.bitcast(element, _I8.as_pointer())
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
        read, second_level, data_cache = _I32(0), _I32(2), _I32(1)
        builder.call(function, [pointer, read, second_level, data_cache])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def copy_run(typingctx, source, i, target, j, size):
    """Copy `size` elements of a contiguous array to another: ``target[j + t] = source[i + t]``.

    For runs too short for a compiled loop, which first finds out whether its arrays overlap. They
    must not.
    """
    n = types.intp
    signature = types.void(source, n, target, n, n)

    def codegen(context, builder, signature, args):
        a, i, b, j, size = args
        n_lanes = VECTOR_BYTES // (source.dtype.bitwidth // 8)
        a = _element(context, builder, signature.args[0], a, i)
        b = _element(context, builder, signature.args[2], b, j)
        builder.call(_copy_function(builder.module, a.type.pointee, n_lanes), [a, b, size])
        return context.get_dummy_value()

    return signature, codegen


def _copy_function(module, element, n_lanes):
    """Define the copy of a run once per LLVM module."""
    suffix = "f64" if isinstance(element, ir.DoubleType) else "f32"
    name = f"fastmlp_copy_{suffix}_{n_lanes}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, _I64]), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("alwaysinline")  # a call takes as long as a short run
    source, target, size = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = _Vectors(builder, element, n_lanes)
    lanes = _I64(n_lanes)
    whole, loop, short, rest, last, end = (
        function.append_basic_block(name)
        for name in ("whole", "loop", "short", "rest", "last", "end")
    )

    def copy(start, mask=None):
        value = vectors.load(builder.gep(source, [start]), mask)
        vectors.store(value, builder.gep(target, [start]), mask)

    builder.cbranch(builder.icmp_signed(">=", size, lanes), whole, short)
    builder.position_at_end(whole)
    last_start = builder.sub(size, lanes)
    builder.branch(loop)

    builder.position_at_end(loop)
    start = builder.phi(_I64)
    copy(start)
    stop = builder.add(start, lanes)
    start.add_incoming(_I64(0), whole)
    start.add_incoming(stop, loop)
    builder.cbranch(builder.icmp_signed("<=", stop, last_start), loop, rest)

    # What is left over is the end of one more vector, most of which is there already: a store by a
    # mask takes longer.
    builder.position_at_end(rest)
    builder.cbranch(builder.icmp_signed("<", stop, size), last, end)
    builder.position_at_end(last)
    copy(last_start)
    builder.branch(end)

    builder.position_at_end(short)
    copy(_I64(0), vectors.first_lanes(size))
    builder.branch(end)

    builder.position_at_end(end)
    builder.ret_void()
    return function


@intrinsic
def line_size(typingctx, A):
    """Elements of A's dtype in a cache line of 64 bytes."""
    size = 64 // (A.dtype.bitwidth // 8)

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, size)

    return types.intp(A), codegen


@intrinsic
def panel_width(typingctx, A):
    """Columns of the widest tile for matrices of A's dtype: two vectors."""
    width = 2 * VECTOR_BYTES // (A.dtype.bitwidth // 8)

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, width)

    return types.intp(A), codegen


# Where the sums of a product start.
FROM_ZERO = 0
FROM_ROW = 1
FROM_C = 2


@intrinsic
def tile(typingctx, A, B, origin, row, C):
    """Compute a small block of a matrix product in registers: C = start + A B.

    The start of element (r, c) is 0, ``row[C.column + c]`` or what it holds, as `origin` is
    `FROM_ZERO`, `FROM_ROW` or `FROM_C`.

    A, B and C are each a `blocks.Block` of a C-contiguous matrix, and only A may be transposed;
    `row` is a vector. All have one dtype. The rows of C are one of `TILE_ROWS` and its columns at
    most ``panel_width(A.matrix)``. Nothing outside of the blocks is read or written.
    """
    signature = types.void(A, B, types.intp, row, C)
    matrix_a, matrix_b, matrix_c = A.types[0], B.types[0], C.types[0]

    def codegen(context, builder, signature, args):
        a, b, origin, row, c = args
        a, a_row, a_column, rows, depth, transposed = cgutils.unpack_tuple(builder, a)
        b, b_row, b_column, *_ = cgutils.unpack_tuple(builder, b)
        c, c_row, c_column, rows, columns, _ = cgutils.unpack_tuple(builder, c)
        n_lanes = VECTOR_BYTES // (matrix_a.dtype.bitwidth // 8)

        is_transposed = builder.icmp_signed("!=", transposed, _I64(0))
        a, a_width = _block(context, builder, matrix_a, a, a_row, a_column)
        b, b_width = _block(context, builder, matrix_b, b, b_row, b_column)
        c, c_width = _block(context, builder, matrix_c, c, c_row, c_column)
        row_step = builder.select(is_transposed, _I64(1), a_width)
        depth_step = builder.select(is_transposed, a_width, _I64(1))
        row_data = data_of(context, builder, signature.args[3], row)
        from_row = builder.icmp_signed("==", origin, _I64(FROM_ROW))
        origin_at = builder.select(from_row, builder.gep(row_data, [c_column]), c)
        start_step = builder.select(from_row, _I64(0), c_width)
        from_zero = builder.icmp_signed("==", origin, _I64(FROM_ZERO))
        operands = [a, row_step, depth_step, b, b_width, origin_at, start_step, from_zero]
        operands += [c, c_width, columns, depth]

        def use_tile(heights, n_vectors):
            height, *lower = heights
            is_whole = builder.icmp_signed("==", columns, _I64(n_vectors * n_lanes))
            shape = a.type.pointee, height, n_vectors, n_lanes
            if not lower:
                _call(builder, _tile_function, shape, operands, is_whole)
                return
            fits = builder.icmp_signed("==", rows, _I64(height))
            with builder.if_else(fits) as (then, otherwise):
                with then:
                    _call(builder, _tile_function, shape, operands, is_whole)
                with otherwise:
                    use_tile(lower, n_vectors)

        one_vector = builder.icmp_signed("<=", columns, _I64(n_lanes))
        with builder.if_else(one_vector) as (narrow, wide):
            with narrow:
                use_tile(TILE_ROWS, 1)
            with wide:
                use_tile(TILE_ROWS, 2)
        return context.get_dummy_value()

    return signature, codegen


def _call(builder, define, shape, operands, is_whole):
    """Call a function that may cut vectors short: of two, where masks are dear, by `is_whole`."""
    if HAS_MASKS:
        builder.call(define(builder.module, *shape), operands)
        return
    with builder.if_else(is_whole) as (whole, cut):
        with whole:
            builder.call(define(builder.module, *shape, whole=True), operands)
        with cut:
            builder.call(define(builder.module, *shape), operands)


@intrinsic
def column_sums(typingctx, B, j, origin, C, ci, columns, depth):
    """Sum columns of B in registers: ``C[ci, j + c] = start + sum over t < depth of B[t, j + c]``.

    The start is 0 or what C holds, by `origin`; ``0 < columns <= sums_width(B)``. Each sum is one
    chain of additions in ascending order of t. B and C are C-contiguous matrices of one dtype.
    """
    n = types.intp
    signature = types.void(B, n, n, C, n, n, n)

    def codegen(context, builder, signature, args):
        b, j, origin, c, ci, columns, depth = args
        n_lanes = VECTOR_BYTES // (B.dtype.bitwidth // 8)
        b, b_width = _block(context, builder, B, b, _I64(0), j)
        c, _ = _block(context, builder, C, c, ci, j)
        from_zero = builder.icmp_signed("==", origin, _I64(FROM_ZERO))
        operands = [b, b_width, from_zero, c, columns, depth]

        def use_sums(n_vectors):
            is_whole = builder.icmp_signed("==", columns, _I64(n_vectors * n_lanes))
            shape = b.type.pointee, n_vectors, n_lanes
            _call(builder, _sums_function, shape, operands, is_whole)

        with builder.if_else(builder.icmp_signed("<=", columns, _I64(n_lanes))) as (one, more):
            with one:
                use_sums(1)
            with more:
                use_sums(SUMS_VECTORS)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def sums_width(typingctx, A):
    """Columns that `column_sums` takes at a time for matrices of A's dtype."""
    width = SUMS_VECTORS * VECTOR_BYTES // (A.dtype.bitwidth // 8)

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, width)

    return types.intp(A), codegen


@intrinsic
def inner_product(typingctx, A, i, B, j, size):
    """Sum over t < size of ``A[i + t] B[j + t]``, elements of contiguous arrays of one dtype.

    Of every element k, k + `CHAINS` and so on there is one chain of fused multiply-adds. The chains
    are added in pairs, halves first, and what is left over at the end, in a chain of its own, last.
    """
    n = types.intp
    signature = A.dtype(A, n, B, n, n)

    def codegen(context, builder, signature, args):
        a, i, b, j, size = args
        a = _element(context, builder, signature.args[0], a, i)
        b = _element(context, builder, signature.args[2], b, j)
        return builder.call(_inner_function(builder.module, a.type.pointee), [a, b, size])

    return signature, codegen


def _inner_function(module, element):
    """Define the inner product once per LLVM module."""
    name = f"fastmlp_inner_{'f64' if isinstance(element, ir.DoubleType) else 'f32'}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    function = ir.Function(module, ir.FunctionType(element, [pointer, pointer, _I64]), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    a, b, size = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rest_start = builder.and_(size, _I64(-CHAINS))
    total = None
    for n_lanes, first, stop in ((CHAINS, _I64(0), rest_start), (1, rest_start, size)):
        vectors = _Vectors(builder, element, n_lanes)
        before = builder.block
        loop, after = function.append_basic_block("loop"), function.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", first, stop), loop, after)
        builder.position_at_end(loop)
        t, sums = builder.phi(_I64), builder.phi(vectors.type)
        x, y = (vectors.load(builder.gep(base, [t])) for base in (a, b))
        updated, t_next = vectors.fma(x, y, sums), builder.add(t, _I64(n_lanes))
        for phi, at_first, at_next in ((t, first, t_next), (sums, vectors.zeros, updated)):
            phi.add_incoming(at_first, before)
            phi.add_incoming(at_next, loop)
        builder.cbranch(builder.icmp_signed("<", t_next, stop), loop, after)
        builder.position_at_end(after)
        chains = builder.phi(vectors.type)
        chains.add_incoming(vectors.zeros, before)
        chains.add_incoming(updated, loop)
        half = n_lanes // 2
        while half:
            upper = vectors.shuffle(chains, chains, [(x + half) % n_lanes for x in range(n_lanes)])
            chains, half = builder.fadd(chains, upper), half // 2
        part = builder.extract_element(chains, _I32(0))
        total = part if total is None else builder.fadd(total, part)
    builder.ret(total)
    return function


def _sums_function(module, element, n_vectors, n_lanes, whole=False):
    """Define the sums of up to so many vectors of columns, or so many, once per LLVM module."""
    suffix = "f64" if isinstance(element, ir.DoubleType) else "f32"
    name = f"fastmlp_sums_{suffix}_{n_vectors}x{n_lanes}{'_whole' * whole}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    arguments = [pointer, _I64, _I1, pointer, _I64, _I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    b, b_row, from_zero, c, columns, depth = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = _Vectors(builder, element, n_lanes)
    offsets = [_I64(v * n_lanes) for v in range(n_vectors)]
    masks = [None] * n_vectors
    if not whole:
        masks = [vectors.first_lanes(builder.sub(columns, offset)) for offset in offsets]

    def load_row(base):
        return [
            vectors.load(builder.gep(base, [offset]), mask)
            for offset, mask in zip(offsets, masks, strict=True)
        ]

    initial = [builder.select(from_zero, vectors.zeros, x) for x in load_row(c)]
    entry = builder.block
    loop = function.append_basic_block("loop")
    done = function.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", depth, _I64(0)), loop, done)

    builder.position_at_end(loop)
    left = builder.phi(_I64)
    row = builder.phi(pointer)
    sums = [builder.phi(vectors.type) for _ in initial]
    updated = [builder.fadd(x, y) for x, y in zip(sums, load_row(row), strict=True)]
    left_next = builder.sub(left, _I64(1))
    steps = [
        (left, depth, left_next),
        (row, b, builder.gep(row, [b_row])),
        *zip(sums, initial, updated, strict=True),
    ]
    for phi, before, after in steps:
        phi.add_incoming(before, entry)
        phi.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed(">", left_next, _I64(0)), loop, done)

    builder.position_at_end(done)
    results = []
    for before, after in zip(initial, updated, strict=True):
        results.append(builder.phi(vectors.type))
        results[-1].add_incoming(before, entry)
        results[-1].add_incoming(after, loop)
    for result, offset, mask in zip(results, offsets, masks, strict=True):
        vectors.store(result, builder.gep(c, [offset]), mask)
    builder.ret_void()
    return function


def _element(context, builder, kind, value, i):
    """Pointer to an element of a contiguous array or view, counted in the order of memory."""
    return builder.gep(data_of(context, builder, kind, value), [i])


def _block(context, builder, kind, value, row, column):
    """Pointer to an element of a C-contiguous matrix, and the length of its rows."""
    _, width = lengths_of(context, builder, kind, value)
    first = data_of(context, builder, kind, value)
    return builder.gep(first, [builder.add(builder.mul(row, width), column)]), width


def _tile_function(module, element, n_rows, n_vectors, n_lanes, whole=False):
    """Define the tile of one shape once per LLVM module, as a function of its own.

    Not inlined: one copy serves all products of the module, which keeps compilation short. A
    `whole` tile has as many columns as its vectors have lanes.
    """
    suffix = "f64" if isinstance(element, ir.DoubleType) else "f32"
    name = f"fastmlp_tile_{suffix}_{n_rows}x{n_vectors}x{n_lanes}{'_whole' * whole}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    arguments = [pointer, _I64, _I64, pointer, _I64, pointer, _I64, _I1, pointer, _I64, _I64, _I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    a, a_row, a_depth, b, b_row, start, start_row, from_zero, c, c_row, columns, depth = (
        function.args
    )
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = _Vectors(builder, element, n_lanes)
    masks = [None] * n_vectors
    if not whole:  # then the last vector of a row may be cut short by the edge of the matrix
        masks[-1] = vectors.first_lanes(builder.sub(columns, _I64((n_vectors - 1) * n_lanes)))

    def load_row(base):
        return [
            vectors.load(builder.gep(base, [_I64(v * n_lanes)]), masks[v]) for v in range(n_vectors)
        ]

    # A pointer for each row would not fit the registers. One for every third does, and the two
    # rows after it are one and two strides away, which an address can hold. The empty assembly
    # keeps LLVM from finding that the pointers are related, and making one chain of additions.
    opaque = ir.FunctionType(pointer, [pointer])
    groups = [
        builder.asm(opaque, "", "=r,0", [builder.gep(a, [builder.mul(_I64(r), a_row)])], False)
        for r in range(0, n_rows, 3)
    ]

    entry = builder.block
    read = function.append_basic_block("read")
    begin = function.append_basic_block("begin")
    loop = function.append_basic_block("loop")
    done = function.append_basic_block("done")
    builder.cbranch(from_zero, begin, read)

    builder.position_at_end(read)
    stored = []
    for r in range(n_rows):
        stored += load_row(builder.gep(start, [builder.mul(_I64(r), start_row)]))
    builder.branch(begin)

    builder.position_at_end(begin)
    initial = []
    for x in stored:
        initial.append(builder.phi(vectors.type))
        initial[-1].add_incoming(vectors.zeros, entry)
        initial[-1].add_incoming(x, read)
    builder.cbranch(builder.icmp_signed(">", depth, _I64(0)), loop, done)

    builder.position_at_end(loop)
    left = builder.phi(_I64)
    a_group = [builder.phi(pointer) for _ in groups]
    b_start = builder.phi(pointer)
    sums = [builder.phi(vectors.type) for _ in initial]
    b_vectors = load_row(b_start)
    row_bytes = builder.mul(a_row, _I64(8 if isinstance(element, ir.DoubleType) else 4))
    if n_vectors == 1:
        # With few multiplications to a load, the loop has no time to fetch pointers from the
        # stack: hidden in the loop, the stride cannot be added to them before it.
        hidden = ir.FunctionType(_I64, [_I64])
        row_bytes = builder.asm(hidden, "", "=r,0", [row_bytes], True)
    updated = []
    for r in range(n_rows):
        base = builder.bitcast(a_group[r // 3], _I8.as_pointer())
        address = builder.gep(base, [builder.mul(_I64(r % 3), row_bytes)])
        factor = vectors.splat(builder.load(builder.bitcast(address, pointer)))
        for v in range(n_vectors):
            updated.append(vectors.fma(factor, b_vectors[v], sums[r * n_vectors + v]))
    left_next = builder.sub(left, _I64(1))
    steps = [
        (left, depth, left_next),
        *(
            (p, before, builder.gep(p, [a_depth]))
            for p, before in zip(a_group, groups, strict=True)
        ),
        (b_start, b, builder.gep(b_start, [b_row])),
        *zip(sums, initial, updated, strict=True),
    ]
    for phi, before, after in steps:
        phi.add_incoming(before, begin)
        phi.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed(">", left_next, _I64(0)), loop, done)

    builder.position_at_end(done)
    for i, (before, after) in enumerate(zip(initial, updated, strict=True)):
        final = builder.phi(vectors.type)
        final.add_incoming(before, begin)
        final.add_incoming(after, loop)
        initial[i] = final
    for i, final in enumerate(initial):
        r, v = divmod(i, n_vectors)
        offset = builder.add(builder.mul(_I64(r), c_row), _I64(v * n_lanes))
        vectors.store(final, builder.gep(c, [offset]), masks[v])
    builder.ret_void()
    return function


@intrinsic
def transpose_block(typingctx, A, i, j, B, bi, bj, rows, columns):
    """Copy a block of A transposed: ``B[bi + c, bj + r] = A[i + r, j + c]``.

    A and B are C-contiguous matrices of one dtype, ``0 < rows, columns <= panel_width(A) // 2``.
    Nothing outside of the two blocks is read or written.
    """
    n = types.intp
    signature = types.void(A, n, n, B, n, n, n, n)

    def codegen(context, builder, signature, args):
        a, i, j, b, bi, bj, rows, columns = args
        n_lanes = VECTOR_BYTES // (A.dtype.bitwidth // 8)

        a, a_width = _block(context, builder, A, a, i, j)
        b, b_width = _block(context, builder, B, b, bi, bj)
        lanes = _I64(n_lanes)
        is_whole = builder.and_(
            builder.icmp_signed("==", rows, lanes), builder.icmp_signed("==", columns, lanes)
        )
        operands = [a, a_width, b, b_width, rows, columns]
        _call(builder, _transpose_function, (a.type.pointee, n_lanes), operands, is_whole)
        return context.get_dummy_value()

    return signature, codegen


def _transpose_function(module, element, n_lanes, whole=False):
    """Define the transposition of a square of vectors, or of part of one, once per LLVM module."""
    suffix = "f64" if isinstance(element, ir.DoubleType) else "f32"
    name = f"fastmlp_transpose_{suffix}_{n_lanes}{'_whole' * whole}"
    if name in module.globals:
        return module.globals[name]
    pointer = element.as_pointer()
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [pointer, _I64, pointer, _I64, _I64, _I64]), name
    )
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    a, a_row, b, b_row, rows, columns = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = _Vectors(builder, element, n_lanes)
    if whole:
        rows = columns = _I64(n_lanes)
    column_mask = None if whole else vectors.first_lanes(columns)
    row_mask = None if whole else vectors.first_lanes(rows)
    square = []
    for r in range(n_lanes):
        inside = builder.icmp_signed("<", _I64(r), rows)
        offset = builder.select(inside, builder.mul(_I64(r), a_row), _I64(0))
        square.append(vectors.load(builder.gep(a, [offset]), column_mask))
    # Eklundh's method: swap the off-diagonal halves of ever larger squares.
    distance = 1
    while distance < n_lanes:
        for r in range(n_lanes):
            if not r & distance:
                upper, lower = square[r], square[r + distance]
                first = [x if not x & distance else n_lanes + x - distance for x in range(n_lanes)]
                second = [x + distance if not x & distance else n_lanes + x for x in range(n_lanes)]
                square[r] = vectors.shuffle(upper, lower, first)
                square[r + distance] = vectors.shuffle(upper, lower, second)
        distance *= 2
    for c in range(n_lanes):
        write = function.append_basic_block(f"write{c}")
        after = function.append_basic_block(f"after{c}")
        builder.cbranch(builder.icmp_signed("<", _I64(c), columns), write, after)
        builder.position_at_end(write)
        vectors.store(square[c], builder.gep(b, [builder.mul(_I64(c), b_row)]), row_mask)
        builder.branch(after)
        builder.position_at_end(after)
    builder.ret_void()
    return function


class _Vectors:
    """Emits vector instructions for one element type and register length."""

    def __init__(self, builder, element, n_lanes):
        self._builder = builder
        self._module = builder.module
        self.n_lanes = n_lanes
        self.type = ir.VectorType(element, n_lanes)
        self.zeros = ir.Constant(self.type, None)
        double = isinstance(element, ir.DoubleType)
        self._align = 8 if double else 4
        self._suffix = f"v{n_lanes}{'f64' if double else 'f32'}"

    def _intrinsic(self, name, result, arguments):
        return cgutils.get_or_insert_function(
            self._module, ir.FunctionType(result, arguments), name
        )

    def shuffle(self, a, b, lanes):
        """Pick lanes of a, and from n_lanes on of b."""
        mask = ir.Constant(ir.VectorType(_I32, self.n_lanes), lanes)
        return self._builder.shuffle_vector(a, b, mask)

    def splat(self, scalar):
        """Vector with the scalar in every lane."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.n_lanes), ir.Undefined)
        one = self._builder.insert_element(undefined, scalar, _I32(0))
        return self.shuffle(one, undefined, [0] * self.n_lanes)

    def first_lanes(self, count):
        """Mask of the first `count` lanes."""
        lane = ir.Constant(ir.VectorType(_I32, self.n_lanes), list(range(self.n_lanes)))
        count = self._builder.trunc(count, _I32)
        return self._builder.icmp_signed("<", lane, self.splat(count))

    def fma(self, a, b, c):
        """a * b + c, rounded once."""
        function = self._intrinsic(f"llvm.fma.{self._suffix}", self.type, [self.type] * 3)
        return self._builder.call(function, [a, b, c])

    def load(self, base, mask=None):
        """Vector at `base`, with zeros and no access where the mask is not set."""
        pointer = self._builder.bitcast(base, self.type.as_pointer())
        if mask is None:
            return self._builder.load(pointer, align=self._align)
        arguments = [pointer, _I32(self._align), mask, self.zeros]
        function = self._intrinsic(
            f"llvm.masked.load.{self._suffix}.p0", self.type, [a.type for a in arguments]
        )
        return self._builder.call(function, arguments)

    def store(self, value, base, mask=None):
        """Write a vector to `base`, without access where the mask is not set."""
        pointer = self._builder.bitcast(base, self.type.as_pointer())
        if mask is None:
            self._builder.store(value, pointer, align=self._align)
            return
        arguments = [value, pointer, _I32(self._align), mask]
        function = self._intrinsic(
            f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), [a.type for a in arguments]
        )
        self._builder.call(function, arguments)


if numba.config.DISABLE_JIT:

    def address(array, i):
        return array.ctypes.data + i * array.itemsize

    def prefetch(array, i):
        pass

    def copy_run(source, i, target, j, size):
        target.reshape(-1)[j : j + size] = source.reshape(-1)[i : i + size]

    def line_size(A):
        return 64 // A.itemsize

    def panel_width(A):
        return 2 * VECTOR_BYTES // A.itemsize

    def tile(A, B, origin, row, C):
        a, b, c = _numbers(A), _numbers(B), _numbers(C)
        if origin == FROM_ZERO:
            c[:] = 0
        elif origin == FROM_ROW:
            c[:] = row[C.column : C.column + C.columns]
        # Not a @ b: the order of BLAS's sums depends on the shape of the block.
        for t in range(A.columns):
            c += a[:, t, None] * b[t]

    def _numbers(block):
        """View of a `blocks.Block`."""
        rows, columns = block.rows, block.columns
        if block.transposed:
            rows, columns = columns, rows
        of_matrix = np.s_[block.row : block.row + rows, block.column : block.column + columns]
        view = block.matrix[of_matrix]
        return view.T if block.transposed else view

    def inner_product(A, i, B, j, size):
        products = A.reshape(-1)[i : i + size] * B.reshape(-1)[j : j + size]
        whole = size // CHAINS * CHAINS
        chains = products[:whole].reshape(-1, CHAINS).sum(0)
        while chains.size > 1:
            chains = chains[: chains.size // 2] + chains[chains.size // 2 :]
        return chains[0] + products[whole:].sum()

    def sums_width(A):
        return SUMS_VECTORS * VECTOR_BYTES // A.itemsize

    def column_sums(B, j, origin, C, ci, columns, depth):
        sums = C[ci, j : j + columns]
        if origin == FROM_ZERO:
            sums[:] = 0
        for t in range(depth):
            sums += B[t, j : j + columns]

    def transpose_block(A, i, j, B, bi, bj, rows, columns):
        B[bi : bi + columns, bj : bj + rows] = A[i : i + rows, j : j + columns].T
