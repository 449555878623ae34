"""Every kernel against its NumPy twin in `reference`, and for what a twin cannot show.

That is: a kernel writes nothing outside its block, gives the same bits however its work is
shared out, lets NaN through, survives extreme values, and stays in single precision if its
arguments are. (`elementwise` has tests of its own.)

Tolerances are in eps, the distance from 1 to the next number, which is twice the largest
relative error u of a rounding. A chain of n roundings is off by at most about n u, and the twin,
where it is in the same precision, by as much again: n eps in all. The elementwise functions
are within 3 ulp, so that values of activations and losses, with the roundings around them, are
good to `FEW` eps.

With NUMBA_DISABLE_JIT=1 the kernels run interpreted, on smaller grids.
"""

import platform
import re
from itertools import pairwise, product

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
import reference
from copies import copied
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir
from marks import INTERPRETED, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import MLP
from fastmlp.kernels import (
    _jit,
    activations,
    blocks,
    codes,
    denormals,
    dense,
    elementwise,
    empty_columns,
    epoch,
    finite,
    gather,
    gemm,
    losses,
    network,
    penalties,
    predict,
    records,
    reductions,
    simd,
    slices,
    small,
    threads,
    updates,
    view,
    views,
)
from fastmlp.kernels._jit import call_worker
from fastmlp.kernels.blocks import Block
from fastmlp.kernels.context import Columns, Data, Net, Rows, Space, Step, Team, Trained
from fastmlp.kernels.records import CHUNK, CURSOR, LAYER, PLAN, TASK
from fastmlp.kernels.team import SYNC_SIZE
from fastmlp.sweep import Tables, run_sweep
from fastmlp.workspace import (
    NO_SLICES,
    Slices,
    Workspace,
    aligned_empty,
    choose_slices,
    chunk_table,
    count_params,
    task_table,
)

FEW = 8


@pytest.fixture
def aarch64():
    """Assembly for ARM processors with NEON alone, of what a function defines in a module."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this LLVM does not know the processor")

    def compiled(define):
        module = ir.Module()
        module.triple = triple
        define(module)
        for function in module.functions:
            function.linkage = ""  # lest what nobody calls be left out
        machine = target.create_target_machine(cpu="neoverse-n1", features="", opt=3)
        parsed = llvm.parse_assembly(str(module))
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(parsed, passes)
        return machine.emit_assembly(parsed)

    return compiled


def instructions(assembly, function=r"\w+"):
    """Those of a function, or of the first, without comments."""
    body = re.split(rf"^{function}:", assembly, maxsplit=1, flags=re.M)[1].split(".Lfunc_end")[0]
    lines = (line.partition("//")[0].split() for line in body.splitlines())
    return [
        f"{word} {' '.join(rest)}".strip() for word, *rest in filter(None, lines) if word[0] != "."
    ]


activation_forward = standalone(activations.activation_forward)
activation_forward_saving = standalone(activations.activation_forward_saving)
activation_backward = standalone(activations.activation_backward)
softmax_rows = standalone(activations.softmax_rows)
softmax_backward_rows = standalone(activations.softmax_backward_rows)
squared_error = standalone(losses.squared_error)
loss_elementwise = standalone(losses.loss_elementwise)
loss_cross_entropy = standalone(losses.loss_cross_entropy)
smooth_cross_entropy = standalone(losses.smooth_cross_entropy)
row_sums = standalone(losses.row_sums)
piece = standalone(blocks.piece)
multiply = standalone(gemm.multiply)
swap_pays = standalone(gemm.swap_pays)
streaming_pays = standalone(gemm.streaming_pays)
is_chained = standalone(gemm.is_chained)
is_tiny = standalone(small.is_tiny)
squared_errors_of_long_rows = standalone(losses.squared_errors_of_long_rows)
tile_height = standalone(gemm.tile_height)
pack_block = standalone(gemm.pack_block)
packs_a = standalone(gemm.packs_a)
packs_b = standalone(gemm.packs_b)
rows_across = standalone(gemm.rows_across)
transpose_matrix = standalone(gemm.transpose_matrix)
dense_forward_block = standalone(dense.dense_forward_block)
dense_backward_input_block = standalone(dense.dense_backward_input_block)
dense_backward_params_rows = standalone(dense.dense_backward_params_rows)
new_scratch = standalone(dense.new_scratch)
part_bounds = standalone(dense.part_bounds)
adam_update = standalone(updates.adam_update)
update_coefficients = standalone(updates.update_coefficients)
kinds_coefficients = standalone(updates.kinds_coefficients)
complement = standalone(updates.complement)
block_share = standalone(network.block_share)
layer_share = standalone(network.layer_share)
output_backward = standalone(network.output_backward)
total_params = standalone(network.total_params)
add_terms = standalone(network.add_terms)
copy_rows = standalone(gather.copy_rows)
copy_slices = standalone(gather.copy_slices)
mark_columns = standalone(empty_columns.mark_columns)
list_runs = standalone(empty_columns.list_runs)
copy_rows_by_runs = standalone(empty_columns.copy_rows_by_runs)
pack_rows_by_runs = standalone(empty_columns.pack_rows_by_runs)
place_of = standalone(empty_columns.place_of)
spread_rows = standalone(empty_columns.spread_rows)
multiply_used = standalone(empty_columns.multiply_used)
slice_pass = standalone(slices.slice_pass)
take_own = standalone(slices.take_own)
move_own = standalone(slices.move_own)
move_own_gradient = standalone(slices.move_own_gradient)
is_within_batch = standalone(epoch.is_within_batch)
slice_back = standalone(slices.slice_back)
slice_bounds = standalone(slices.slice_bounds)
upper_offset = standalone(slices.upper_offset)
publish = standalone(slices.publish)
activate_block = standalone(dense.activate_block)
weigh_losses = standalone(network.weigh_losses)
scale_rows = standalone(network.scale_rows)
add_penalties = standalone(network.add_penalties)
scale = standalone(epoch.scale)
interleaved_sum = standalone(reductions.interleaved_sum)
total = standalone(reductions.total)
inner = standalone(reductions.inner)
maximum = standalone(reductions.maximum)
euclidean_norm = standalone(epoch.euclidean_norm)
clip = standalone(epoch.clip)


@standalone
def tile(A, B, origin, row, C):
    simd.tile(A, B, origin, row, C)


@standalone
def column_sums(B, j, origin, C, ci, columns, depth):
    simd.column_sums(B, j, origin, C, ci, columns, depth)


@standalone
def transpose_block(A, i, j, B, bi, bj, rows, columns):
    simd.transpose_block(A, i, j, B, bi, bj, rows, columns)


@standalone
def copy_run(source, i, target, j, size):
    simd.copy_run(source, i, target, j, size)


@standalone
def inner_product(A, i, B, j, size):
    return simd.inner_product(A, i, B, j, size)


@standalone
def panel_width(A):
    return simd.panel_width(A)


@standalone
def sums_width(A):
    return simd.sums_width(A)


@standalone
def packed_matrix(packed, rows, columns):
    return copied(gemm.packed_matrix(packed, rows, columns))


@standalone
def panel_of(B, packed, scratch):
    panel = gemm.panel_of(blocks.viewed(B), packed, scratch)
    return copied(panel.matrix), panel.column


@standalone
def packed_block(A, packed):
    block = gemm.packed_block(A, packed)
    return copied(block.matrix), block.row, block.column, block.rows, block.columns


@standalone
def rows_of(source, order, ordered, start, place):
    place = view.matrix(place, 0, place.shape[0], place.shape[1])
    return copied(gather.rows_of(source, order, ordered, start, place))


@standalone
def apply_update(at, theta, gradient, slot_1, slot_2, slot_3, coefficients, is_weight):
    call_worker(at, theta, gradient, slot_1, slot_2, slot_3, coefficients, is_weight)


@standalone
def slice_views(net, space, k, columns, turn, number):
    """Of three rows and matrices."""
    slice_matrix = slices.slice_matrix(net, space, net.plan.output, 3, k, columns)
    n_out = net.layout[net.plan.sliced_layer].n_out
    products = slices.slice_products(net, space, n_out, turn)
    own_columns = slices.own_columns(net, space, number, 3, columns)
    return copied(slice_matrix), copied(products), copied(own_columns)


@standalone
def upper_weights(theta, net, space, t):
    return copied(slices.upper_weights(theta, net, space, t))


@standalone
def task_place(trained, net, space, task):
    place = network.task_place(trained, net, space, task)
    return copied(place[0]), copied(place[1]), copied(place[2]), place[3], place[4]


@standalone
def address(array, i):
    return simd.address(array, i)


@standalone
def scratch_views(work, net, part):
    space = views.space_of(work, net.plan, part)
    of_products = views.product_scratch(net, space)
    return copied(space.own), copied(space.scratch), copied(of_products)


@standalone
def table_views(tables, which):
    return copied(views.column(tables, which))


@standalone
def read_records(tables, numbers, work):
    """A field of each table's last record, how many there are, and the constants in two views."""
    plan, chunks = views.only(tables, codes.PLAN, PLAN), views.table(tables, codes.CHUNKS, CHUNK)
    tasks, layout = views.table(tables, codes.TASKS, TASK), views.layout_of(numbers)
    fields = (chunks[chunks.size - 1].stop, tasks[tasks.size - 1].row_1, layout[1].n_out)
    sizes = (chunks.size, tasks.size, layout.size)
    constants = copied(views.constants_of(work, plan, layout))
    parameters = copied(views.loss_parameters_of(work, plan, layout))
    return plan.buffer_rows, fields, sizes, constants, parameters


@standalone
def write_cursor(tables, chunk, end):
    cursor = views.only(tables, codes.CURSOR, CURSOR)
    cursor.chunk, cursor.end = chunk, end


@standalone
def total_and_hyper(tables):
    total, hyper = views.total_and_hyper(tables)
    return copied(total), copied(hyper)


@standalone
def layer_views(net, data, space, layer, rows):
    below = views.input_rows(net, data, space, rows)
    outputs = views.layer_rows(net, space, net.plan.output, layer, rows)
    return copied(below), copied(outputs)


@standalone
def fused_chains(A, B, start):
    """Start plus A B, each element one chain of fused multiply-adds in ascending order."""
    C = start.copy()
    for r in range(A.shape[0]):
        for t in range(A.shape[1]):
            for c in range(B.shape[1]):
                C[r, c] = elementwise.fma(A[r, t], B[t, c], C[r, c])
    return C


@standalone
def chains_side_by_side(x, y, n_chains):
    """Inner product of two vectors in chains that are added in pairs, halves first, then the rest.

    Chain k has elements k, k + n_chains and so on, as far as all chains have one.
    """
    chains, rest = np.zeros(n_chains, x.dtype), x.dtype.type(0)
    whole = x.size // n_chains * n_chains
    for t in range(whole):
        chains[t % n_chains] = elementwise.fma(x[t], y[t], chains[t % n_chains])
    for t in range(whole, x.size):
        rest = elementwise.fma(x[t], y[t], rest)
    n = n_chains // 2
    while n:
        for k in range(n):
            chains[k] += chains[k + n]
        n //= 2
    return chains[0] + rest


@standalone
def fill_views(flat, offset, n_rows, n_columns, value):
    rows = view.matrix(flat, offset, n_rows, n_columns)
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            rows[i, j] = value
            value += 1
    rest = view.vector(rows, n_rows * n_columns - 1, 1)
    rest[0] = -value


# Parameters that both precisions hold exactly.
ACTIVATIONS = (
    "identity",
    "relu",
    "leaky_relu(0.25)",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "exponential",
)
LOSSES = (
    "squared_error",
    "absolute_error",
    "huber(1.5)",
    "logistic",
    "hinge",
    "poisson",
    "quantile(0.75)",
    "binary_cross_entropy",
)

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
every_loss = pytest.mark.parametrize("loss", LOSSES)
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])
fixed_examples = settings(max_examples=40, derandomize=True, deadline=None, database=None)


@pytest.fixture(scope="module", autouse=True)
def no_floating_point_warnings():
    """Compiled kernels overflow in silence; NumPy, interpreted or as the twin, need not warn."""
    with np.errstate(all="ignore"):
        yield


def code_of(name):
    fused = "FUSED_" if name in reference.FUSED else ""
    return getattr(codes, fused + name.upper())


def code_and_parameter(choice, dtype):
    name, parameter = reference.name_and_parameter(choice)
    return code_of(name), dtype(parameter)


def activation_of(choice, dtype):
    """An activation as kernels take it."""
    code, parameter = code_and_parameter(choice, dtype)
    addresses = activations.rare_addresses((code,), dtype)
    return code, *addresses, parameter


def plan_rare_activations(plan, dtype):
    """Let a plan know the activations that are not compiled with the passes."""
    addresses = activations.rare_addresses((codes.GELU, codes.SOFTMAX), dtype)
    plan.rare_forward_at, plan.rare_backward_at = addresses


def plan_empty_columns(plan, dtype):
    """Let a plan know what leaves empty columns out."""
    plan.columns_at, plan.pack_at, plan.spread_at = empty_columns.addresses(dtype)


def normal(rng, shape, dtype, scale=1.0):
    return (scale * rng.standard_normal(shape)).astype(dtype)


def widen(array):
    return array.astype(np.float64)


def central_difference(function, x, step=1e-6):
    """Derivative to about 1e-9: the step squared, and eps over the step, for values near 1."""
    return (function(x + step) - function(x - step)) / (2 * step)


# Activations


def points(dtype):
    """Pre-activations on both sides of every kink, with the kink, large and tiny ones."""
    grid = np.linspace(-12, 12, 33 if INTERPRETED else 385)
    return np.concatenate([grid, [0.0, -0.0, 1e-3, -1e-3, 1e-30, -1e-30]]).astype(dtype)


@every_activation
@both_precisions
def test_activation_forward_equals_its_twin(activation, dtype):
    z = points(dtype)
    expected = reference.activation_forward(z, activation)
    activation_forward(z, activation_of(activation, dtype))
    eps = FEW * np.finfo(dtype).eps
    assert_allclose(z, expected, rtol=eps, atol=eps)


@every_activation
@both_precisions
def test_saving_keeps_derivatives_for_gelu_silu_and_mish_only(activation, dtype):
    z = points(dtype)
    derivative = np.full_like(z, 7)
    expected = reference.activation_forward_saving(z, activation)
    activation_forward_saving(z, activation_of(activation, dtype), derivative)
    eps = FEW * np.finfo(dtype).eps
    assert_allclose(z, expected[0], rtol=eps, atol=eps)
    if activation in ("gelu", "silu", "mish"):
        assert_allclose(derivative, expected[1], rtol=eps, atol=eps)
    else:
        assert (derivative == 7).all()


def backward_of(activation, z, gradient):
    """Delta by the two kernels, forward and back."""
    how = activation_of(activation, z.dtype.type)
    output, slope, delta = z.copy(), np.full_like(z, np.nan), gradient.copy()
    activation_forward_saving(output, how, slope)
    activation_backward(delta, output, slope, how)
    return delta


@every_activation
@both_precisions
def test_activation_backward_equals_its_twin(activation, dtype):
    z = points(dtype)
    gradient = np.linspace(-2, 3, z.size).astype(dtype)
    delta = backward_of(activation, z, gradient)
    # Slopes found from the output, like 1 - output^2 of tanh, are good to some eps of 1.
    eps = FEW * np.finfo(dtype).eps
    assert_allclose(
        delta, reference.activation_backward(gradient, z, activation), rtol=eps, atol=3 * eps
    )


@every_activation
@both_precisions
def test_activation_backward_is_the_slope_of_the_activation(activation, dtype):
    z = points(dtype)
    z = z[(np.abs(z) > 1e-5) & (z < 5)]
    slope = central_difference(lambda x: reference.activation_forward(x, activation), widen(z))
    delta = backward_of(activation, z, np.ones_like(z))
    eps = FEW * np.finfo(dtype).eps
    assert_allclose(delta, slope, rtol=1e-8 + eps, atol=1e-8 + 3 * eps)


@every_activation
@both_precisions
def test_activations_survive_extreme_values(activation, dtype):
    z = np.array([-1e4, -100, 100, 1e4, 0], dtype)
    output = z.copy()
    activation_forward(output, activation_of(activation, dtype))
    eps = FEW * np.finfo(dtype).eps
    expected = reference.activation_forward(z, activation).astype(dtype)
    assert_allclose(output, expected, rtol=eps, atol=eps)
    assert not np.isnan(backward_of(activation, z, np.ones_like(z))).any()


@every_activation
@both_precisions
def test_nan_passes_through_activations(activation, dtype):
    """A broken network must show: no comparison or clamp may turn NaN into a number."""
    z = points(dtype)
    z[[5, -1]] = np.nan
    derivative = np.zeros_like(z)
    for output in (z.copy(), z.copy()):
        activation_forward_saving(output, activation_of(activation, dtype), derivative)
        assert_array_equal(np.isnan(output), np.isnan(z))
    activation_forward(output := z.copy(), activation_of(activation, dtype))
    assert_array_equal(np.isnan(output), np.isnan(z))


@every_activation
@both_precisions
def test_activations_touch_only_their_vector(activation, dtype):
    for size in (0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33):
        buffer = np.full(size + 40, -2, dtype)
        z = buffer[20 : 20 + size]
        activation_forward(z, activation_of(activation, dtype))
        assert (buffer[:20] == -2).all()
        assert (buffer[20 + size :] == -2).all()


@compiled_only
@every_activation
@both_precisions
def test_activations_give_the_same_bits_in_and_out_of_a_vector(activation, dtype):
    """Else results would depend on how rows are shared out, or on the machine's vectors."""
    z = points(dtype)[:131]
    gradient = np.linspace(-2, 3, z.size).astype(dtype)
    whole = backward_of(activation, z, gradient)
    alone = [backward_of(activation, z[i : i + 1], gradient[i : i + 1]) for i in range(z.size)]
    assert_array_equal(whole, np.concatenate(alone))


# Softmax


@both_precisions
@pytest.mark.parametrize("n_columns", [1, 2, 10, 33])
def test_softmax_equals_its_twin(n_columns, dtype):
    rng = np.random.default_rng(n_columns)
    z = normal(rng, (6, n_columns), dtype, scale=4)
    gradient = normal(rng, (3, n_columns), dtype)
    p, delta = z.copy(), gradient.copy()
    softmax_rows(p, 2, 3)
    softmax_backward_rows(delta, p[2:5])
    # The sums over a row add a rounding for each column.
    eps = (n_columns + FEW) * np.finfo(dtype).eps
    assert_allclose(p[2:5], reference.softmax_rows(z[2:5]), rtol=eps, atol=eps)
    expected = reference.softmax_backward_rows(gradient, z[2:5])
    assert_allclose(delta, expected, rtol=eps, atol=eps * np.abs(gradient).max())
    assert_array_equal(p[[0, 1, 5]], z[[0, 1, 5]])


@both_precisions
def test_softmax_survives_extreme_logits_and_keeps_nan_in_its_row(dtype):
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [1, np.nan, 2], [np.nan, 0, 1]], dtype)
    softmax_rows(z, 0, 4)
    assert_array_equal(z[0], [1, 0, 0])
    assert_array_equal(z[1], np.ones(3, dtype) / dtype(3))
    assert np.isnan(z[2:]).all()


# Losses


def outputs_and_targets(loss, dtype, n=200):
    rng = np.random.default_rng(5)
    output, target = normal(rng, n, dtype, 3), normal(rng, n, dtype, 3)
    if loss in ("logistic", "hinge"):
        target = np.sign(target)
    elif loss == "poisson":
        output, target = np.exp(output / 2), rng.poisson(2.0, n).astype(dtype)
        output, target = output.astype(dtype), target.astype(dtype)
    elif loss == "binary_cross_entropy":
        target = rng.random(n).astype(dtype)
        target[:2] = 0, 1
    return output, target


def run_elementwise_loss(loss, output, target):
    gradient, terms = np.full_like(output, np.nan), np.full_like(output, np.nan)
    if loss == "squared_error":
        squared_error(output, target, gradient, terms)
    else:
        code, parameter = code_and_parameter(loss, output.dtype.type)
        loss_elementwise(code, np.atleast_1d(parameter), output, target, gradient, terms)
    return terms, gradient


@every_loss
@both_precisions
def test_losses_equal_their_twins(loss, dtype):
    output, target = outputs_and_targets(loss, dtype)
    terms, gradient = run_elementwise_loss(loss, output, target)
    expected_terms, expected_gradient = reference.loss_elementwise(loss, output, target)
    # Losses and slopes are differences; they inherit the error of what they are taken of.
    eps = FEW * np.finfo(dtype).eps
    largest = np.abs(widen(output)).max() + np.abs(target).max()
    assert_allclose(terms, expected_terms, rtol=eps, atol=eps * largest)
    assert_allclose(gradient, expected_gradient, rtol=eps, atol=eps * largest)


@both_precisions
def test_each_output_has_its_own_level(dtype):
    """With the bits that a loss of this level alone has."""
    output, target = outputs_and_targets("quantile", dtype, n=201)
    levels, columns = (0.1, 0.5, 0.75), (-1, 3)
    terms, gradient = run_elementwise_loss("quantile(0.1, 0.5, 0.75)", output, target)
    for j, level in enumerate(levels):
        alone = run_elementwise_loss(f"quantile({level})", output, target)
        assert_array_equal(terms.reshape(columns)[:, j], alone[0].reshape(columns)[:, j])
        assert_array_equal(gradient.reshape(columns)[:, j], alone[1].reshape(columns)[:, j])


@every_loss
@both_precisions
def test_gradients_of_losses_are_their_slopes(loss, dtype):
    output, target = outputs_and_targets(loss, dtype)
    kinks = {
        "absolute_error": target,
        "huber(1.5)": target + np.where(output > target, dtype(1.5), dtype(-1.5)),
        "hinge": target,  # target * output = 1, with targets 1 and -1
        "quantile(0.75)": target,
    }
    away = np.abs(output - kinks.get(loss, np.inf)) > 1e-4
    assert away.sum() >= output.size - 2
    slope = central_difference(
        lambda y: reference.loss_elementwise(loss, y, target)[0], widen(output)
    )
    gradient = run_elementwise_loss(loss, output, target)[1]
    eps = np.finfo(dtype).eps
    assert_allclose(gradient[away], slope[away], rtol=1e-7 + FEW * eps, atol=1e-8 + FEW * eps)


@pytest.mark.parametrize(
    ("loss", "output", "target", "slope"),
    [
        ("absolute_error", 2, 2, 0),
        ("huber(1.5)", 3.5, 2, 1.5),
        ("huber(1.5)", 0.5, 2, -1.5),
        ("hinge", -1, -1, 0),
        ("hinge", 1, 1, 0),
        ("quantile(0.75)", 2, 2, 0),
    ],
)
@both_precisions
def test_at_a_kink_the_slope_is_the_flat_one(loss, output, target, slope, dtype):
    assert run_elementwise_loss(loss, np.array([output], dtype), np.array([target], dtype))[1] == (
        slope
    )


@both_precisions
def test_losses_of_extreme_logits_do_not_overflow(dtype):
    output = np.array([1e4, 1e4, -1e4, -1e4], dtype)
    target = np.array([1, 0, 1, 0], dtype)
    terms, gradient = run_elementwise_loss("binary_cross_entropy", output, target)
    assert_array_equal(terms, np.array([0, 1e4, 1e4, 0], dtype))
    assert_array_equal(gradient, [0, 1, -1, 0])
    terms, gradient = run_elementwise_loss("logistic", output, 2 * target - 1)
    assert_array_equal(terms, np.array([0, 1e4, 1e4, 0], dtype))
    assert_array_equal(gradient, [0, 1, -1, 0])


@both_precisions
def test_a_poisson_rate_may_underflow_where_nothing_was_counted(dtype):
    terms, gradient = run_elementwise_loss("poisson", np.zeros(1, dtype), np.zeros(1, dtype))
    assert terms == 0
    assert gradient == 1


@every_loss
@both_precisions
def test_nan_passes_through_losses(loss, dtype):
    output, target = outputs_and_targets(loss, dtype, n=40)
    output[7] = np.nan
    assert_array_equal(np.isnan(run_elementwise_loss(loss, output, target)[0]), np.isnan(output))


def run_cross_entropy(logits, target):
    rows, n_classes = target.shape[0], logits.shape[1]
    by_index = target.ndim == 1
    gradient = np.full((rows, n_classes), np.nan, logits.dtype)
    sample_losses = np.full(rows, np.nan, logits.dtype)
    columns = target.astype(logits.dtype).reshape(rows, -1)
    totals = np.full(rows, np.nan, logits.dtype)
    loss_cross_entropy(logits, columns, by_index, gradient, totals, sample_losses)
    return sample_losses, gradient


@both_precisions
@pytest.mark.parametrize("n_classes", [1, 2, 10, 37])
@pytest.mark.parametrize("targets", ["indices", "probabilities"])
def test_cross_entropy_equals_its_twin(n_classes, targets, dtype):
    rng = np.random.default_rng(n_classes)
    logits = normal(rng, (20, n_classes), dtype, 3)
    if targets == "indices":
        target = rng.integers(n_classes, size=20)
    else:
        # Rows need not sum to 1: such a row counts by its mass.
        target = rng.dirichlet(np.ones(n_classes), 20).astype(dtype)
        target[3] /= 2
        target[4] = 0
    sample_losses, gradient = run_cross_entropy(logits, target)
    expected = reference.loss_cross_entropy(logits, target)
    # Two sums over the classes, of logits up to the largest.
    eps = (2 * n_classes + FEW) * np.finfo(dtype).eps
    assert_allclose(sample_losses, expected[0], rtol=eps, atol=eps * np.abs(logits).max())
    assert_allclose(gradient, expected[1], rtol=eps, atol=eps)


@both_precisions
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("n_classes", [1, 2, 10, 37])
@pytest.mark.parametrize("targets", ["indices", "probabilities"])
def test_label_smoothing_equals_its_twin(n_classes, targets, smoothing, dtype):
    rng = np.random.default_rng(n_classes)
    logits = normal(rng, (20, n_classes), dtype, 3)
    target = rng.integers(n_classes, size=20)
    if targets == "probabilities":
        target = rng.dirichlet(np.ones(n_classes), 20).astype(dtype)
        target[3] /= 2
        target[4] = 0
    sample_losses, gradient = run_cross_entropy(logits, target)
    columns = target.astype(dtype).ravel()
    smooth_cross_entropy(
        dtype(smoothing),
        logits.ravel(),
        columns,
        targets == "indices",
        gradient.ravel(),
        np.full(logits.size, np.nan, dtype),
        sample_losses,
    )
    expected = reference.smooth_cross_entropy(logits, target, float(dtype(smoothing)))
    # As without smoothing, and a sum over the classes.
    eps = (3 * n_classes + FEW) * np.finfo(dtype).eps
    assert_allclose(sample_losses, expected[0], rtol=eps, atol=eps * np.abs(logits).max())
    assert_allclose(gradient, expected[1], rtol=eps, atol=eps)


@both_precisions
def test_gradient_of_cross_entropy_is_its_slope(dtype):
    rng = np.random.default_rng(0)
    logits = normal(rng, (8, 5), dtype, 2)
    target = rng.integers(5, size=8)
    gradient = run_cross_entropy(logits, target)[1]
    eps = np.finfo(dtype).eps
    for j, direction in enumerate(np.eye(5)):
        slope = central_difference(
            lambda s, d=direction: reference.loss_cross_entropy(widen(logits) + s * d, target)[0],
            0.0,
        )
        assert_allclose(gradient[:, j], slope, rtol=0, atol=1e-8 + 2 * FEW * eps)


@both_precisions
def test_cross_entropy_of_extreme_logits_does_not_overflow(dtype):
    logits = np.array([[1e4, -1e4, 0], [1e4, -1e4, 0], [1, np.nan, 2]], dtype)
    sample_losses, gradient = run_cross_entropy(logits, np.array([0, 1, 0]))
    assert_array_equal(sample_losses, [0, 2e4, np.nan])
    assert_array_equal(gradient[:2], [[0, 0, 0], [1, -1, 0]])
    sample_losses, gradient = run_cross_entropy(logits, np.array([[0.5, 0.5, 0]] * 3, dtype))
    assert_array_equal(sample_losses, [1e4, 1e4, np.nan])
    assert_array_equal(gradient[:2], [[0.5, -0.5, 0]] * 2)


@both_precisions
def test_row_sums_equal_their_twin(dtype):
    terms = normal(np.random.default_rng(0), (7, 9), dtype)
    sums = np.empty(7, dtype)
    row_sums(terms, sums)
    bound = 9 * np.finfo(dtype).eps * reference.row_sums(np.abs(terms))
    assert (np.abs(sums - reference.row_sums(widen(terms))) <= bound).all()


@both_precisions
@pytest.mark.parametrize("n_out", [simd.LONG_SUM, simd.LONG_SUM + 45])
def test_squared_errors_of_long_rows_equal_their_twin(n_out, dtype):
    rng = np.random.default_rng(0)
    output, target = normal(rng, (3, n_out), dtype), normal(rng, (3, n_out), dtype)
    gradient, sums = np.full_like(output, np.nan), np.full(3, np.nan, dtype)
    squared_errors_of_long_rows(output, target, gradient, sums)
    expected, differences = reference.squared_errors_of_long_rows(widen(output), target)
    eps = np.finfo(dtype).eps
    assert (np.abs(gradient - differences) <= eps * np.abs(differences)).all()
    assert (np.abs(sums - expected) <= n_out * eps * expected).all()


# The matrix product


@both_precisions
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64, 300, 2048])
def test_inner_products_equal_their_twin_and_have_the_same_bits_everywhere(size, dtype):
    """Whatever the machine's vectors: chain by chain, as the docstring says."""
    rng = np.random.default_rng(size)
    A, B = normal(rng, size + 5, dtype), normal(rng, size + 5, dtype)
    x, y = A[3 : 3 + size], B[1 : 1 + size]
    result = inner_product(A, 3, B, 1, size)
    bound = (size + 1) * np.finfo(dtype).eps * reference.inner_product(np.abs(x), np.abs(y))
    assert abs(result - reference.inner_product(x, y)) <= bound
    # Interpreted products round twice for each addend.
    if not INTERPRETED:
        assert result == chains_side_by_side(x, y, simd.CHAINS)


ORIGINS = [simd.FROM_ZERO, simd.FROM_ROW, simd.FROM_C]


def chain_bound(A, B, start):
    """Largest error of start + A B from one chain of roundings an element, and of its twin."""
    size = np.abs(widen(start)) + np.abs(widen(A)) @ np.abs(widen(B))
    return (A.shape[1] + 1) * np.finfo(A.dtype).eps * size


class Product:
    """One product, of blocks in matrices that are NaN elsewhere, checked in every respect.

    `i`, `j`, `ci` and `cj` say where the blocks begin, `wider` how many columns more A, B and C
    have on the right, or more for rows of A and B to be whole units; C has guard elements before
    and after it. The start of the sums is NaN wherever `origin` does not say that it is. There is
    as much scratch as the kernel asks for.
    """

    GUARD = 99

    def __init__(
        self,
        rows,
        columns,
        depth,
        dtype,
        *,
        a_transposed=False,
        b_transposed=False,
        origin=simd.FROM_C,
        i=0,
        j=0,
        ci=0,
        cj=0,
        wider=(0, 0, 0),
        unit=1,
        seed=0,
    ):
        rng = np.random.default_rng(seed)
        a, b = normal(rng, (rows, depth), dtype), normal(rng, (depth, columns), dtype)
        self.a, self.b = a, b
        self.A = self.embed(a.T if a_transposed else a, i, a_transposed, wider[0], unit)
        self.B = self.embed(b.T if b_transposed else b, j, not b_transposed, wider[1], unit)
        n_rows, n_columns = ci + rows + 2, cj + columns + wider[2]
        self.buffer = np.full(n_rows * n_columns + 2 * self.GUARD, np.nan, dtype)
        self.C = self.buffer[self.GUARD : -self.GUARD].reshape(n_rows, n_columns)
        self.block = np.s_[ci : ci + rows, cj : cj + columns]
        self.to = Block(self.C, ci, cj, rows, columns, 0)
        self.row = np.full(n_columns, np.nan, dtype)
        self.start = np.zeros((rows, columns), dtype)
        if origin == simd.FROM_ROW:
            self.start[:] = self.row[self.block[1]] = normal(rng, columns, dtype)
        elif origin == simd.FROM_C:
            self.start = self.C[self.block] = normal(rng, (rows, columns), dtype)
        a_at, b_at = (0, i) if a_transposed else (i, 0), (j, 0) if b_transposed else (0, j)
        self.operands = (
            Block(self.A, *a_at, rows, depth, int(a_transposed)),
            Block(self.B, *b_at, depth, columns, int(b_transposed)),
        )
        self.origin = origin

    @staticmethod
    def embed(block, first, along_columns, wider, unit):
        """A matrix with the block in it, from a row or column on, and NaN elsewhere."""
        n_rows, n_columns = block.shape
        r, c = (0, first) if along_columns else (first, 0)
        width = -(-(c + n_columns + wider) // unit) * unit
        whole = np.full((r + n_rows + 1, width), np.nan, block.dtype)
        whole[r : r + n_rows, c : c + n_columns] = block
        return whole

    def run(self):
        """The block of C, checked to be all that was written."""
        A = self.operands[0]
        rows, columns, depth = self.to.rows, self.to.columns, A.columns
        width, row_bytes = panel_width(self.A), self.A.shape[1] * self.A.itemsize
        copies_a = A.transposed or reference.packs_a(row_bytes, columns, width, gemm)
        size = reference.scratch_size(rows if copies_a else 1, depth, width, gemm)
        memory = np.full(size + 2 * self.GUARD, np.nan, self.A.dtype)
        scratch = memory[self.GUARD : -self.GUARD]
        multiply(*self.operands, self.origin, self.row, self.to, scratch)
        result = self.C[self.block].copy()
        self.C[self.block] = np.nan
        assert np.isnan(self.buffer).all()
        assert np.isnan(memory[: self.GUARD]).all()
        assert np.isnan(memory[-self.GUARD :]).all()
        return result

    def check(self):
        """Compare with the twin, and the bits with those of one chain an element."""
        expected = reference.multiply(*self.operands, widen(self.start))
        result = self.run()
        assert (np.abs(result - expected) <= chain_bound(self.a, self.b, self.start)).all()
        # Interpreted products round twice for each addend.
        if not INTERPRETED:
            assert_array_equal(result, fused_chains(self.a, self.b, self.start))


AROUND_VECTORS = sorted({m + d for m in (1, 4, 8, 16, 32, 64) for d in (-1, 0, 1)} - {0})
every_origin = pytest.mark.parametrize("origin", ORIGINS)
every_transposition = pytest.mark.parametrize(
    "transposed",
    [{"a_transposed": a, "b_transposed": b} for a, b in product([False, True], repeat=2)],
    ids=str,
)


@both_precisions
@given(
    rows=st.integers(1, 2 * simd.TALL + 1),
    columns=st.sampled_from(AROUND_VECTORS),
    depth=st.integers(1, 40),
    a_transposed=st.booleans(),
    b_transposed=st.booleans(),
    origin=st.sampled_from(ORIGINS),
    i=st.integers(0, 3),
    j=st.integers(0, 3),
    ci=st.integers(0, 3),
    cj=st.integers(0, 3),
    wider=st.tuples(*[st.integers(0, 3)] * 3),
    seed=st.integers(0, 99),
)
@fixed_examples
def test_products_equal_their_twin_and_write_nothing_else(dtype, rows, columns, depth, **place):
    Product(rows, columns, depth, dtype, **place).check()


@both_precisions
@every_origin
@every_transposition
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (70, 1), (1, 300)])
def test_products_of_one_row_or_column_equal_their_twin(size, transposed, origin, dtype):
    for place in ({}, {"i": 1, "j": 2, "ci": 3, "cj": 1, "wider": (1, 2, 3)}):
        Product(*size, 9, dtype, origin=origin, **transposed, **place).check()


@both_precisions
@every_origin
@pytest.mark.parametrize("b_transposed", [False, True])
def test_narrow_products_that_are_formed_transposed_equal_their_twin(b_transposed, origin, dtype):
    """One column, or less than one or two vectors of them; C is as wide as that, or wider."""
    lanes = panel_width(np.empty((1, 1), dtype)) // 2
    depth, widths = 1000, (1, lanes - 1, lanes + 1, 2 * lanes - 1)
    for rows, columns in [(3 * lanes + 1, 1), *((3 * lanes, width) for width in widths)]:
        assert swap_pays(rows, columns, depth, lanes)
        transposed = {"a_transposed": True, "b_transposed": b_transposed, "origin": origin}
        for place in ({}, {"ci": 2}, {"cj": 1}, {"i": 1, "j": 2, "ci": 1, "wider": (1, 2, 3)}):
            Product(rows, columns, depth, dtype, **transposed, **place).check()


@both_precisions
@pytest.mark.parametrize(
    "depth",
    [
        gemm.PACKED_DEPTH - 1,
        gemm.PACKED_DEPTH,
        pytest.param(gemm.DEPTH + gemm.PACKED_DEPTH + 3, marks=compiled_only),
    ],
)
@every_transposition
def test_products_of_matrices_with_rows_of_a_page_equal_their_twin(depth, transposed, dtype):
    """With so many rows and columns A and panels of B are packed."""
    page = gemm.PACK_BYTES // np.dtype(dtype).itemsize
    enough = gemm.PACK_PANELS * panel_width(np.empty((1, 1), dtype))
    pages = {"wider": (0, 0, 3), "unit": page}
    for rows in (simd.TALL - 1, gemm.PACK_ROWS, gemm.PACK_ROWS + simd.TALL + 5):
        for columns in (3, enough + 3):
            Product(rows, columns, depth, dtype, **transposed, **pages, i=1, j=2).check()


@both_precisions
@every_transposition
def test_products_of_many_rows_of_a_page_equal_their_twin(transposed, dtype):
    """More rows than are packed at a time."""
    page = gemm.PACK_BYTES // np.dtype(dtype).itemsize
    enough = gemm.PACK_PANELS * panel_width(np.empty((1, 1), dtype))
    Product(gemm.BLOCK_ROWS + 2, enough, 5, dtype, **transposed, unit=page).check()


@compiled_only
@both_precisions
@every_origin
@every_transposition
def test_a_long_sum_starts_once(transposed, origin, dtype):
    """Also where packed operands hold but a piece of the depth at a time."""
    page = gemm.PACK_BYTES // np.dtype(dtype).itemsize
    enough = gemm.PACK_PANELS * panel_width(np.empty((1, 1), dtype))
    sizes = gemm.PACK_ROWS + 1, enough + 1, gemm.DEPTH + 1
    for unit in (1, page):
        Product(*sizes, dtype, origin=origin, **transposed, unit=unit).check()


@pytest.mark.parametrize("lanes", [2, 4, 16])
def test_products_are_formed_transposed_where_that_is_less_work(lanes):
    for rows, columns in product([1, 7, 8, 64, 1000], [1, 2, 7, 8, 10, 16, 32, 33]):
        for depth in (1, 10, 100, 1000):
            sizes = rows, columns, depth, lanes
            assert swap_pays(*sizes) == reference.swap_pays(*sizes, gemm.SWAP_COST)


@both_precisions
@pytest.mark.parametrize("transposed", [0, 1])
def test_tiles_of_every_shape_equal_their_twin(transposed, dtype):
    width = panel_width(np.empty((1, 1), dtype))
    assert width == reference.panel_width(np.empty(1, dtype), simd.VECTOR_BYTES)
    rng = np.random.default_rng(0)
    A = normal(rng, (simd.TALL + 8, simd.TALL + 8), dtype)
    B = normal(rng, (8, width + 3), dtype)
    C = normal(rng, (simd.TALL + 2, width + 4), dtype)
    row = normal(rng, width + 4, dtype)
    for rows in simd.TILE_ROWS:
        for columns, origin in product(range(1, width + 1), ORIGINS):
            depth = columns % 8
            a_at = (2, 1) if transposed else (1, 2)
            a, b = Block(A, *a_at, rows, depth, transposed), Block(B, 1, 3, depth, columns, 0)
            result = C.copy()
            tile(a, b, origin, row, Block(result, 1, 4, rows, columns, 0))
            block = np.s_[1 : 1 + rows, 4 : 4 + columns]
            starts = {simd.FROM_ZERO: 0, simd.FROM_ROW: row[block[1]], simd.FROM_C: C[block]}
            expected = reference.tile(a, b, starts[origin])
            # Sums of at most 8 numbers below 25.
            assert_allclose(result[block], expected, rtol=0, atol=8 * np.finfo(dtype).eps * 8 * 25)
            result[block] = C[block]
            assert_array_equal(result, C)


@compiled_only
@both_precisions
@every_origin
@pytest.mark.parametrize("rows", [1, 2])
def test_products_that_stream_a_large_matrix_equal_their_twin(rows, origin, dtype):
    """Of depths that are, and are not, a multiple of the four steps that are taken at a time."""
    for depth in (1000, 1003):
        place = {"j": 2, "ci": 1, "cj": 5, "wider": (3, 300, 7)}
        case = Product(rows, 260, depth, dtype, origin=origin, **place)
        assert streaming_pays(rows, 260, case.B)
        case.check()


@both_precisions
@every_origin
@pytest.mark.parametrize("b_transposed", [False, True])
def test_columns_of_long_sums_are_inner_products(b_transposed, origin, dtype):
    depth, place = simd.LONG_SUM + 7, {"i": 1, "ci": 2, "wider": (3, 0, 0)}
    for rows in (1, 9, 70):
        case = Product(rows, 1, depth, dtype, b_transposed=b_transposed, origin=origin, **place)
        A, B = case.operands
        width = case.C.shape[1]
        assert width == 1
        assert is_chained(A, B, case.to)
        expected = reference.multiply(A, B, widen(case.start))
        result = case.run()
        assert (np.abs(result - expected) <= chain_bound(case.a, case.b, case.start)).all()
        for r in range(rows):
            product = inner_product(case.a, r * depth, case.b, 0, depth)
            assert result[r, 0] == (case.start[r, 0] + product if origin else product)


def test_layers_of_few_units_are_done_number_by_number():
    for rows, n_in, n_out in product((1, 2), (1, 3, 4, 5), (1, 4, 5)):
        expected = reference.is_tiny(rows, n_in, n_out, small.TINY_UNITS)
        assert is_tiny(rows, n_in, n_out) == expected


def test_inner_products_are_chosen_by_what_sizes_fix():
    for depth, at, bt in product((simd.LONG_SUM - 1, simd.LONG_SUM), (0, 1), (0, 1)):
        for b_width, c_width in product((1, 2), (1, 2)):
            n = max(depth, b_width)
            A, B, C = (np.empty((n, n), np.float32)[:, :width] for width in (n, b_width, c_width))
            A, B, C = map(np.ascontiguousarray, (A, B, C))
            if bt:
                B = np.empty((b_width, n), np.float32)
            operands = Block(A, 0, 0, 4, depth, at), Block(B, 0, 0, depth, 1, bt)
            to = Block(C, 0, 0, 4, 1, 0)
            expected = reference.is_chained(at, depth, bt, b_width, c_width, simd.LONG_SUM)
            assert is_chained(*operands, to) == expected


@both_precisions
@every_origin
@pytest.mark.parametrize("depth", [1, gemm.SHALLOW, gemm.SHALLOW + 1])
def test_shallow_products_of_long_rows_equal_their_twin(depth, origin, dtype):
    """Written row by row where a row of C is a page or more, of few steps."""
    columns = gemm.PACK_BYTES // np.dtype(dtype).itemsize + 3
    place = {"i": 1, "j": 2, "ci": 1, "cj": 5, "wider": (1, 2, 3)}
    for rows in (1, simd.TALL + 1):
        Product(rows, columns, depth, dtype, origin=origin, **place).check()


def test_only_large_matrices_are_streamed_and_for_few_rows():
    B = np.empty((1024, 1024), np.float32)
    for rows, columns in product((1, 4, 5, 64), (1, 255, 256, 1024)):
        width = panel_width(B)
        expected = reference.streaming_pays(rows, columns, B, width, gemm)
        assert streaming_pays(rows, columns, B) == expected
    assert not streaming_pays(1, 1024, B[:200])


@both_precisions
@every_transposition
@pytest.mark.parametrize("columns", [67, 1])
def test_each_element_of_a_product_is_one_chain_of_its_own(columns, transposed, dtype):
    """The bits of C depend neither on the block that it is formed in nor on a cut in the depth."""
    rows, depth = simd.TALL + 5, 50
    case = Product(rows, columns, depth, dtype, **transposed)
    C, (A, B) = case.start, case.operands
    whole = case.run()
    scratch = np.empty(10_000, dtype)

    def add(i, j, first, stop, result):
        """Add a piece of the sums to a block of C from (i, j) on."""
        rows, columns = result.shape
        a = piece(A, i, first, rows, stop - first)
        b = piece(B, first, j, stop - first, columns)
        multiply(a, b, simd.FROM_C, scratch, Block(result, 0, 0, rows, columns, 0), scratch)

    in_two = C.copy()
    add(0, 0, 0, 17, in_two)
    add(0, 0, 17, depth, in_two)
    assert_array_equal(in_two, whole)
    for r in range(rows):
        for c in range(0, columns, 11):
            one = C[r : r + 1, c : c + 1].copy()
            add(r, c, 0, depth, one)
            assert one == whole[r, c]


@compiled_only
@both_precisions
def test_products_round_once_for_each_addend(dtype):
    """(1 + e)(1 - e) - 1 is -e^2 with a fused multiply-add, and 0 with a rounding between."""
    e = np.finfo(dtype).eps
    A, B, C = np.full((1, 1), 1 + e), np.full((1, 1), 1 - e), np.full((1, 1), dtype(-1))
    scratch = np.empty(panel_width(A), dtype)
    a, b, c = (Block(matrix, 0, 0, 1, 1, 0) for matrix in (A, B, C))
    multiply(a, b, simd.FROM_C, scratch, c, scratch)
    assert -e * e == C


def test_tiles_make_up_any_number_of_rows():
    for rows in range(1, 2 * simd.TALL):
        height = tile_height(rows)
        assert height == reference.tile_height(rows, simd.TILE_ROWS)
        assert height in simd.TILE_ROWS


@both_precisions
def test_column_sums_of_every_width_equal_their_twin(dtype):
    rng = np.random.default_rng(0)
    width = sums_width(np.empty((1, 1), dtype))
    n_vectors = simd.SUMS_VECTORS
    assert width == reference.sums_width(np.empty(1, dtype), simd.VECTOR_BYTES, n_vectors)
    B, C = normal(rng, (9, width + 3), dtype), normal(rng, (3, width + 3), dtype)
    for columns in range(1, width + 1):
        for depth, origin, start in ((7, simd.FROM_ZERO, 0), (8, simd.FROM_C, C[1, 2:])):
            result = C.copy()
            column_sums(B, 2, origin, result, 1, columns, depth)
            start = np.broadcast_to(start, width + 1)[:columns]
            expected = reference.column_sums(B, 2, start, columns, depth)
            addends = B[:depth, 2 : 2 + columns]
            bound = chain_bound(np.ones((1, depth), dtype), addends, start)
            assert (np.abs(result[1, 2 : 2 + columns] - expected) <= bound).all()
            in_order = start.astype(dtype)
            for addend in addends:
                in_order += addend
            assert_array_equal(result[1, 2 : 2 + columns], in_order)
            result[1, 2 : 2 + columns] = C[1, 2 : 2 + columns]
            assert_array_equal(result, C)


def numbered(n_rows, n_columns, dtype):
    """A matrix without two equal elements, or a 0."""
    return np.arange(1, n_rows * n_columns + 1, dtype=dtype).reshape(n_rows, n_columns)


def assert_transposes(transpose, twin, rows, columns, dtype):
    A, B = numbered(rows + 3, columns + 2, dtype), np.zeros((columns + 4, rows + 5), dtype)
    transpose(A, 2, 1, B, 1, 3, rows, columns)
    block = np.s_[1 : 1 + columns, 3 : 3 + rows]
    assert_array_equal(B[block], twin(A, 2, 1, rows, columns))
    B[block] = 0
    assert not B.any()


@both_precisions
def test_transposed_blocks_of_every_shape_equal_their_twin(dtype):
    side = panel_width(np.empty((1, 1), dtype)) // 2
    for rows, columns in product(range(1, side + 1), repeat=2):
        assert_transposes(transpose_block, reference.transpose_block, rows, columns, dtype)


@compiled_only
@both_precisions
def test_tiles_sums_and_transpositions_without_masks(dtype, monkeypatch):
    """As where whole vectors have code of their own, whatever this machine has."""
    monkeypatch.setattr(simd, "HAS_MASKS", False)
    for kernel in (tile, column_sums, transpose_block):
        monkeypatch.setitem(globals(), kernel.py_func.__name__, _jit.standalone(kernel))
    test_tiles_of_every_shape_equal_their_twin(0, dtype)
    test_column_sums_of_every_width_equal_their_twin(dtype)
    test_transposed_blocks_of_every_shape_equal_their_twin(dtype)


@pytest.mark.parametrize(
    ("define", "shape", "n_sums"),
    [
        (simd._tile_function, (12, 2), 24),
        (simd._sums_function, (4,), 4),
        (simd._transpose_function, (), 0),
    ],
)
def test_whole_vectors_of_arm_processors_are_not_taken_apart(define, shape, n_sums, aarch64):
    """Without SVE a masked load or store is a branch and an instruction for each number."""
    multiply_adds = re.compile(r"fmla|fadd")

    def counts(whole):
        code = aarch64(lambda module: define(module, ir.FloatType(), *shape, 4, whole=whole))
        words = [line.split()[0] for line in instructions(code)]
        branches = [word for word in words if re.fullmatch(r"b|b\..*|t?cbn?z|tbn?z", word)]
        assert sum(bool(multiply_adds.match(word)) for word in words) == n_sums
        return len(words), len(branches)

    n_cut, n_branches_cut = counts(whole=False)
    n_whole, n_branches = counts(whole=True)
    assert n_branches <= 3 < n_branches_cut // 10
    assert n_whole < n_cut / 2.5


@both_precisions
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 1), (16, 32), (37, 67)])
def test_transposed_matrices_equal_their_twin(size, dtype):
    def transpose(A, i, j, B, bi, bj, rows, columns):
        transpose_matrix(A, i, j, rows, columns, B, bi, bj)

    assert_transposes(transpose, reference.transpose_matrix, *size, dtype)


@both_precisions
@pytest.mark.parametrize("columns", [1, 8, 13])
def test_packed_blocks_equal_their_twin(columns, dtype):
    A, packed = numbered(12, 20, dtype), np.zeros((7, 16), dtype)
    pack_block(A, 2, 3, columns, packed)
    assert_array_equal(packed[:, :columns], reference.pack_block(A, 2, 3, 7, columns))
    assert not packed[:, columns:].any()


@both_precisions
def test_rows_of_pages_are_copied_where_they_are_used_often(dtype):
    page, size = gemm.PACK_BYTES, np.dtype(dtype).itemsize
    width = panel_width(np.empty((1, 1), dtype))
    lengths = [n * page + away for n in (1, 2) for away in (0, 8, -8, 32, -32, 40, -40, page // 2)]
    for length, often in product([8, 2048, *lengths], [False, True]):
        assert gemm.are_pages(length) == reference.are_pages(length, gemm)
        A, columns = np.empty((2, length // size), dtype), gemm.PACK_PANELS * width - 1 + often
        expected = reference.packs_a(length, columns, width, gemm)
        assert packs_a(A, columns) == expected
        rows = gemm.PACK_ROWS - 1 + often
        for transposed, a_transposed in product([False, True], repeat=2):
            B = Block(A, 0, 0, 10, columns, int(transposed))
            expected = reference.packs_b(
                a_transposed, B, address(A, 0), rows, gemm, simd.VECTOR_BYTES
            )
            assert packs_b(a_transposed, B, rows) == expected


@both_precisions
def test_panels_across_cache_lines_are_copied_in_large_products(dtype):
    lanes = simd.VECTOR_BYTES // np.dtype(dtype).itemsize
    whole = aligned_empty(3 * lanes * 3 * lanes, dtype)
    for length, j, enough in product([3 * lanes, 3 * lanes - 1], [0, 1, lanes], [False, True]):
        B = whole[: 2 * length].reshape(2, length)
        assert address(B, j) == reference.address(B, j)
        for depth in (1 << 7, 1 << 12):
            rows, columns = 1 << 10, gemm.PACK_WORK // (depth << 10) - 1 + enough
            panels = Block(B, 0, j, depth, columns, 0)
            for a_transposed in (False, True):
                expected = reference.packs_b(
                    a_transposed, panels, address(B, j), rows, gemm, simd.VECTOR_BYTES
                )
                assert packs_b(a_transposed, panels, rows) == expected
                straddles = length % lanes > 0 or j % lanes > 0
                assert expected == (enough and (depth > 1 << 10 if a_transposed else straddles))


@both_precisions
def test_pieces_of_a_that_stay_in_the_cache_equal_their_twin(dtype):
    A = np.empty((1, 1), dtype)
    found = set()
    for depth in (1, 100, 273, 274, 546, 547, 1092, 1093, 2000, 5000):
        expected = reference.rows_across(A, depth, gemm)
        assert rows_across(A, depth) == expected
        found.add(expected)
    assert len(found) == 3


@both_precisions
@pytest.mark.parametrize("rows", [gemm.ACROSS_ROWS, gemm.ACROSS_ROWS + 1, 3 * gemm.ACROSS_ROWS - 5])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_products_across_many_columns_of_a_equal_their_twin(rows, b_transposed, dtype):
    for depth, origin in product((3, 300), (simd.FROM_ZERO, simd.FROM_C)):
        transposed = {"a_transposed": True, "b_transposed": b_transposed, "origin": origin}
        columns = 3 * panel_width(np.empty((1, 1), dtype)) + 2
        Product(rows, columns, depth, dtype, **transposed, i=2, ci=3, cj=1).check()


@compiled_only
@both_precisions
@every_transposition
def test_large_products_across_cache_lines_equal_their_twin(transposed, dtype):
    """Of which panels of B are copied."""
    rows, columns = gemm.PACK_ROWS, 2 * gemm.PACK_ROWS
    depth = gemm.PACK_WORK // (rows * columns) + 1
    Product(rows, columns, depth, dtype, **transposed, j=1, wider=(3, 5, 1)).check()


@both_precisions
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_panels_of_b_equal_their_twin(packed, transposed, dtype):
    width = panel_width(np.empty((1, 1), dtype))
    shape = (9, width + 3) if not transposed else (width + 3, 9)
    place = (1, 2) if transposed else (2, 1)
    B = Block(numbered(*shape, dtype), *place, 7, width, int(transposed))
    scratch = np.zeros(7 * width, dtype)
    panel, j = panel_of(B, packed or transposed, scratch)
    first = 0 if packed or transposed else 2
    expected = reference.panel_of(B)
    assert_array_equal(panel[first : first + 7, j : j + width], expected)


@both_precisions
@pytest.mark.parametrize("transposed", [0, 1])
def test_packed_blocks_of_a_are_the_same_numbers(transposed, dtype):
    A = Block(numbered(20, 30, dtype), 3, 4, 5, 6, transposed)
    copy = packed_block(A, np.zeros(9 * (9 + panel_width(A.matrix)), dtype))
    assert_array_equal(reference.numbers(Block(*copy, transposed)), reference.packed_block(A))


@both_precisions
def test_packed_rows_lie_a_vector_apart(dtype):
    packed = np.arange(300, dtype=dtype)
    expected = reference.packed_matrix(packed, 5, 12, panel_width(packed))
    assert_array_equal(packed_matrix(packed, 5, 12), expected)


@both_precisions
def test_views_are_the_named_part_of_the_memory(dtype):
    flat = np.zeros(20, dtype)
    fill_views(flat, 3, 2, 4, 1)
    assert_array_equal(reference.matrix(flat, 3, 2, 4), [[1, 2, 3, 4], [5, 6, 7, -9]])
    assert_array_equal(flat.nonzero()[0], np.arange(3, 11))


@pytest.mark.skipif(not numba.config.BOUNDSCHECK, reason="indices are checked on demand only")
@pytest.mark.parametrize("index", [(2, 0), (0, 3), (-1, 0), (0, -1)])
def test_an_index_outside_a_view_is_noticed_on_demand(index):
    """Though the memory goes on there."""

    @standalone
    def read(flat, i, j):
        return view.matrix(flat, 3, 2, 3)[i, j]

    @standalone
    def write(flat, i):
        view.vector(flat, 3, 2)[i] = 1.0

    assert read(np.arange(12.0), 1, 2) == 8
    with pytest.raises(IndexError, match="out of bounds"):
        read(np.arange(12.0), *index)
    with pytest.raises(IndexError, match="out of bounds"):
        write(np.zeros(12), 2)


# Dense layers

N_ROWS, N_IN, N_OUT = 29, 21, 18
# Interpreted, the two kernels are one function.
BOTH_TWINS = ["serial"] if INTERPRETED else ["serial", "parallel"]
PARTS = (1, 3) if INTERPRETED else (1, 2, 3, 4)


def layer_data(dtype):
    rng = np.random.default_rng(3)
    A = normal(rng, (N_ROWS, N_IN), dtype)
    W = normal(rng, (N_IN, N_OUT), dtype, 0.3)
    b = normal(rng, N_OUT, dtype)
    delta = normal(rng, (N_ROWS, N_OUT), dtype)
    return A, W, b, delta


def same_for_any_parts(kernel, run):
    """Result of `run`, the same bits from 1 to 4 parts in the serial and the parallel kernel."""
    results = [run(getattr(kernel, t), n_parts) for t in BOTH_TWINS for n_parts in PARTS]
    for result in results[1:]:
        assert_array_equal(result, results[0])
    return results[0]


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "softmax"])
@both_precisions
def test_dense_forward_equals_its_twin(activation, dtype):
    A, W, b, _ = layer_data(dtype)
    how = activation_of(activation, dtype)

    def run(kernel, n_parts):
        output = np.full((N_ROWS, N_OUT), np.nan, dtype)
        derivative = np.full((N_ROWS, N_OUT), np.nan, dtype)
        kernel(A, W, b, how, output, derivative, n_parts)
        return np.stack([output, derivative])

    output, derivative = same_for_any_parts(dense.dense_forward, run)
    expected = reference.dense_forward(A, W, b, activation)
    # No activation here is steeper than 2, except exponential, as steep as it is high.
    eps = np.finfo(dtype).eps
    bound = 2 * chain_bound(A, W, np.broadcast_to(b, expected.shape)) + (N_OUT + FEW) * eps
    assert (np.abs(output - expected) <= bound * (1 + np.abs(expected))).all()
    if activation in ("gelu", "silu", "mish"):
        slopes = reference.activation_forward_saving(widen(A) @ W + b, activation)[1]
        assert (np.abs(derivative - slopes) <= bound).all()
    else:
        assert np.isnan(derivative).all()


@every_activation
@both_precisions
def test_dense_backward_input_equals_its_twin(activation, dtype):
    z_below, W, _, delta = layer_data(dtype)
    how = activation_of(activation, dtype)
    output, slope = z_below.copy(), np.full_like(z_below, np.nan)
    activation_forward_saving(output.ravel(), how, slope.ravel())

    def run(kernel, n_parts):
        delta_below = np.full_like(z_below, np.nan)
        kernel(delta, W, output, slope, how, delta_below, n_parts)
        return delta_below

    delta_below = same_for_any_parts(dense.dense_backward_input, run)
    expected = reference.dense_backward_input(delta, W, z_below, activation)
    steepness = 2 + np.abs(widen(output))
    bound = chain_bound(delta, W.T, np.zeros_like(z_below)) * steepness
    rounding = FEW * np.finfo(dtype).eps * np.abs(widen(delta) @ widen(W).T) * steepness
    assert (np.abs(delta_below - expected) <= bound + rounding).all()


@both_precisions
def test_dense_backward_params_equals_its_twin(dtype):
    A, _, _, delta = layer_data(dtype)

    def run(kernel, n_parts):
        gradient = np.full((N_IN + 1, N_OUT), np.nan, dtype)
        kernel(A, delta, gradient, n_parts)
        return gradient

    gradient = same_for_any_parts(dense.dense_backward_params, run)
    expected = reference.dense_backward_params(A, delta)
    with_ones = np.hstack([A, np.ones((N_ROWS, 1), dtype)])
    bound = chain_bound(with_ones.T, delta, np.zeros((N_IN + 1, N_OUT), dtype))
    assert (np.abs(gradient - expected) <= bound).all()


BLOCKS = {
    "whole": (0, N_ROWS, 0, N_OUT),
    "rows": (2, 7, 0, N_OUT),
    "columns": (0, N_ROWS, 3, 11),
    "block": (4, 6, 5, 9),
    "last column": (1, 20, N_OUT - 1, 1),
    "nothing": (3, 0, 0, N_OUT),
}
every_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def inside(block, matrix):
    """Where in a matrix the block is, all else of which must still be NaN."""
    i0, rows, j0, columns = block
    where = np.s_[i0 : i0 + rows, j0 : j0 + columns]
    outside = np.ones(matrix.shape, bool)
    outside[where] = False
    assert np.isnan(matrix[outside]).all()
    return where


def in_matrix(matrix, block):
    """One of the `BLOCKS` of a matrix."""
    i0, rows, j0, columns = block
    return Block(matrix, i0, j0, rows, columns, 0)


@every_block
@pytest.mark.parametrize("activation", ["identity", "tanh"])
def test_activations_go_to_their_block_only(block, activation):
    z = normal(np.random.default_rng(0), (N_ROWS, N_OUT), np.float64)
    output, slope = z.copy(), np.full_like(z, np.nan)
    activate_block(activation_of(activation, np.float64), in_matrix(output, block), slope, False)
    expected = z.copy()
    before = in_matrix(z, block)
    reference.numbers(in_matrix(expected, block))[:] = reference.activate_block(before, activation)
    assert_allclose(output, expected, rtol=FEW * np.finfo(np.float64).eps)


@every_block
@pytest.mark.parametrize("saving", [False, True])
def test_dense_forward_block_writes_its_block_only(block, saving):
    dtype = np.float32
    A, W, b, _ = layer_data(dtype)
    A = A[::-1].copy()
    _, rows, j0, columns = block
    a0 = N_ROWS - rows
    output, slope = np.full((2, N_ROWS, N_OUT), np.nan, dtype)
    how = activation_of("gelu", dtype)
    scratch = new_scratch(A, rows)
    a, to = Block(A, a0, 0, rows, N_IN, 0), in_matrix(output, block)
    dense_forward_block(a, W, b, how, to, slope, saving, scratch)
    where = inside(block, output)
    expected = reference.dense_forward_block(a, W, b, "gelu", to)
    eps, start = np.finfo(dtype).eps, np.broadcast_to(b, (rows, N_OUT))
    bound = 2 * chain_bound(A[a0:], W, start)[:, j0 : j0 + columns] + FEW * eps
    assert (np.abs(output[where] - expected) <= bound).all()
    if saving:
        z = widen(A[a0:]) @ W + b
        slopes = reference.activation_forward_saving(z, "gelu")[1][:, j0 : j0 + columns]
        assert (np.abs(slope[inside(block, slope)] - slopes) <= bound).all()
    else:
        assert np.isnan(slope).all()


@every_block
def test_dense_backward_input_block_writes_its_block_only(block):
    dtype = np.float32
    A, W, b, _ = layer_data(dtype)
    # Back through the matrix W^T, so that the layer below has N_OUT columns.
    W, delta, z_below = np.ascontiguousarray(W.T), A, widen(A) @ W + b
    output = np.tanh(z_below).astype(dtype)
    delta_below = np.full((N_ROWS, N_OUT), np.nan, dtype)
    scratch = new_scratch(A, N_ROWS)
    how, to = activation_of("tanh", dtype), in_matrix(delta_below, block)
    dense_backward_input_block(delta, W, output, output, how, to, scratch)
    where = inside(block, delta_below)
    z_below = np.arctanh(widen(output))
    expected = reference.dense_backward_input_block(delta, W, z_below, "tanh", to)
    bound = chain_bound(delta, W.T, np.zeros((N_ROWS, N_OUT)))[where]
    # The slope 1 - tanh^2 is good to a few eps of 1.
    rounding = FEW * np.finfo(dtype).eps * np.abs(widen(delta) @ widen(W).T)[where]
    assert (np.abs(delta_below[where] - expected) <= bound + rounding).all()


@pytest.mark.parametrize(("k0", "k1"), [(0, 5), (4, N_IN), (7, N_IN + 1), (N_IN, N_IN + 1)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_dense_backward_params_rows_overwrites_or_adds_to_its_rows(k0, k1, accumulate):
    dtype = np.float32
    A, _, _, delta = layer_data(dtype)
    scratch = new_scratch(A, k1 - k0)
    start = np.zeros((k1 - k0, N_OUT), dtype)
    gradient = np.full_like(start, np.nan)
    if accumulate:
        start = normal(np.random.default_rng(0), start.shape, dtype)
        gradient = start.copy()
    dense_backward_params_rows(A, A.shape[1], delta, k0, k1, accumulate, gradient, scratch)
    expected = start + reference.dense_backward_params_rows(A, delta, k0, k1)
    with_ones = np.hstack([A, np.ones((N_ROWS, 1), dtype)])
    bound = chain_bound(with_ones.T[k0:k1], delta, start)
    assert (np.abs(gradient - expected) <= bound).all()


@both_precisions
@pytest.mark.parametrize("rows", [0, 1, simd.TALL, 100])
def test_scratch_for_a_layer_suffices_for_products_of_any_depth(rows, dtype):
    A = np.empty((1, 1), dtype)
    scratch = new_scratch(A, rows)
    assert scratch.size >= reference.new_scratch(A, rows, panel_width(A), gemm).size
    assert scratch.dtype == dtype


@pytest.mark.parametrize("n", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 64])
def test_parts_cover_everything_once_and_evenly(n, n_parts):
    bounds = [part_bounds(n, part, n_parts) for part in range(n_parts)]
    assert bounds == [reference.part_bounds(n, part, n_parts) for part in range(n_parts)]
    assert [item for first, stop in bounds for item in range(first, stop)] == list(range(n))
    sizes = [stop - first for first, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


# Updates

OPTIMIZERS = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {"epsilon": 1e-10}),
    ("rmsprop", {"rho": 0.99, "epsilon": 1e-8}),
    ("rmsprop", {"rho": 0.9, "epsilon": 1e-8, "momentum": 0.5}),
    ("adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}),
    ("adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "weight_decay": 0.1}),
    # A short memory, so that the largest square is not always the latest.
    ("amsgrad", {"beta_1": 0.9, "beta_2": 0.5, "epsilon": 1e-8}),
    ("amsgrad", {"beta_1": 0.9, "beta_2": 0.5, "epsilon": 1e-8, "weight_decay": 0.1}),
    ("nadam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8, "momentum_decay": 4e-3}),
    ("nadam", {"beta_1": 0.999, "beta_2": 0.99, "epsilon": 1e-8, "momentum_decay": 0.5}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS, ids=str)


def hyper_vector(hyper):
    return np.array([hyper.get(name, 0.0) for name in codes.HYPERPARAMETERS], np.float64)


def rates_table(n_updates, rate, hyper):
    """What may change from update to update, as kernels take it; without dropout."""
    table = np.full((n_updates, codes.N_RATES), np.nan)
    table[:, codes.RATE] = rate
    table[:, codes.DECAY] = hyper.get("weight_decay", 0.0)
    return table


def n_slots(optimizer, hyper):
    """How many of the slots are read: plain SGD has no state, RMSProp's momentum has its own."""
    with_momentum = int(hyper.get("momentum", 0) > 0)
    fixed = {"adagrad": 1, "adam": 2, "amsgrad": 3, "nadam": 2}
    return {**fixed, "sgd": with_momentum, "rmsprop": 1 + with_momentum}[optimizer]


def run_updates(optimizer, hyper, theta, gradients, is_weight, learning_rate):
    """Theta after one update a gradient; slots that must not be touched have no memory."""
    theta = theta.copy()
    used = n_slots(optimizer, hyper)
    slots = [np.zeros(theta.size if slot < used else 0, theta.dtype) for slot in range(3)]
    code, coefficients = code_of(optimizer), np.full(codes.N_COEFFICIENTS, np.nan, theta.dtype)
    for t, gradient in enumerate(gradients, start=1):
        decay = hyper.get("weight_decay", 0.0)
        update_coefficients(code, hyper_vector(hyper), learning_rate, decay, t, coefficients)
        at = updates.update_address(code, theta.dtype)
        apply_update(at, theta, gradient, *slots, coefficients, is_weight)
    return theta


@every_optimizer
@both_precisions
@pytest.mark.parametrize("t", [1, 2, 1000, 10**9])
def test_coefficients_of_updates_equal_their_twin(optimizer, hyper, t, dtype):
    coefficients = np.full(codes.N_COEFFICIENTS, np.nan, dtype)
    code, decay = code_of(optimizer), hyper.get("weight_decay", 0.0)
    update_coefficients(code, hyper_vector(hyper), 0.01, decay, t, coefficients)
    expected = list(reference.update_coefficients(optimizer, hyper, 0.01, t).values())
    # 1 - 0.999 has lost three digits before anything is computed from it; the product of NAdam's
    # mu is one of up to thousands of factors.
    eps = np.finfo(dtype).eps + 10_000 * np.finfo(np.float64).eps
    assert_allclose(coefficients[: len(expected)], expected, rtol=eps)
    assert np.isnan(coefficients[len(expected) :]).all()


@every_optimizer
def test_coefficients_of_kinds_equal_their_twin(optimizer, hyper):
    factors, t, rate = [(1.0, 1.0), (0.1, 1.0), (6.0, 3.0), (0.0, 0.0)], 3, 0.01
    coefficients = np.full(len(factors) * codes.N_COEFFICIENTS, np.nan)
    numbers = np.concatenate([hyper_vector(hyper), *np.transpose(factors)])
    rates = np.zeros(codes.N_RATES)
    rates[codes.RATE], rates[codes.DECAY] = rate, hyper.get("weight_decay", 0.0)
    kinds_coefficients(code_of(optimizer), 4, numbers, rates, t, coefficients)
    expected = reference.kinds_coefficients(optimizer, hyper, factors, rate, t)
    for row, of_kind in zip(coefficients.reshape(len(factors), -1), expected, strict=True):
        values = list(of_kind.values())
        assert_allclose(row[: len(values)], values, rtol=1e-11)
        assert np.isnan(row[len(values) :]).all()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 1 - 1e-6])
def test_powers_that_do_not_show_are_not_taken(beta):
    """On both sides of where they do, and far from there."""
    last = int(40 / (1 - beta))
    for t in (1, 2, last - 1, last, last + 1, last + 2, 10**9):
        # What a beta near 1 loses when it is subtracted from 1.
        eps = 2 * np.finfo(np.float64).eps / (1 - beta)
        assert_allclose(complement(beta, t), reference.complement(beta, t), rtol=eps)
    assert complement(beta, last + 2) == 1


@every_optimizer
@both_precisions
@pytest.mark.parametrize("is_weight", [1, 0])
def test_ten_updates_equal_their_twin(optimizer, hyper, is_weight, dtype):
    rng = np.random.default_rng(11)
    n_steps, learning_rate = 10, 0.01
    theta = normal(rng, 37, dtype)
    gradients = normal(rng, (n_steps, 37), dtype)
    result = run_updates(optimizer, hyper, theta, gradients, is_weight, learning_rate)
    expected, slots = widen(theta), [np.zeros(37)] * 3
    longest_step = 0
    for t, gradient in enumerate(widen(gradients), start=1):
        before = expected
        expected, slots = reference.apply_update(
            optimizer, before, gradient, slots, hyper, learning_rate, t, is_weight
        )
        longest_step = max(longest_step, np.abs(expected - before).max())
    # An update rounds theta twice (decay, step) and the step itself some ten times; momentum
    # and the running means carry the errors of earlier steps along.
    eps = np.finfo(dtype).eps
    bound = n_steps * (eps * np.abs(theta).max() + 4 * FEW * eps * longest_step)
    assert_allclose(result, expected, rtol=0, atol=bound)


@every_optimizer
def test_update_vector_equals_its_twin(optimizer, hyper):
    rng = np.random.default_rng(13)
    theta, gradients = rng.standard_normal(37), rng.standard_normal((3, 37))
    expected, slots = theta.copy(), [np.zeros(37)] * 3
    state = np.zeros(n_slots(optimizer, hyper) * 37)
    for t, gradient in enumerate(gradients, start=1):
        expected, slots = reference.update_vector(
            optimizer, expected, gradient, slots, hyper, 0.01, t
        )
        code, numbers = code_of(optimizer), hyper_vector(hyper)
        at = updates.update_address(code, theta.dtype)
        rates = rates_table(1, 0.01, hyper)[0]
        updates.update_vector.serial(at, code, theta, gradient, state, numbers, rates, t)
    assert_allclose(theta, expected, rtol=0, atol=1e-14)
    # Momentum and squares alike: some ten roundings of numbers of a few units.
    assert_allclose(state, np.concatenate(slots)[: state.size], rtol=0, atol=1e-13)


@every_optimizer
@both_precisions
def test_updates_give_the_same_bits_in_pieces(optimizer, hyper, dtype):
    rng = np.random.default_rng(12)
    theta, gradients = normal(rng, 37, dtype), normal(rng, (3, 37), dtype)
    whole = run_updates(optimizer, hyper, theta, gradients, 1, 0.01)
    pieces = [
        run_updates(optimizer, hyper, theta[a:b], np.ascontiguousarray(gradients[:, a:b]), 1, 0.01)
        for a, b in [(0, 1), (1, 18), (18, 37)]
    ]
    assert_array_equal(np.concatenate(pieces), whole)


@every_optimizer
@both_precisions
def test_nan_passes_through_updates(optimizer, hyper, dtype):
    gradients = np.ones((2, 9), dtype)
    gradients[0, 4] = np.nan
    theta = run_updates(optimizer, hyper, np.ones(9, dtype), gradients, 1, 0.01)
    assert_array_equal(np.isnan(theta), np.isnan(gradients[0]))


# What else the network's passes are made of


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100])
def test_shuffle_equals_its_twin(n):
    uniform, order = np.random.default_rng(n).random(n), np.empty(n, np.int64)
    gather.shuffle.serial(uniform, order)
    assert_array_equal(order, reference.shuffle(uniform))
    assert_array_equal(np.sort(order), np.arange(n))


def test_the_largest_uniform_number_stays_within_the_rows():
    order = np.empty(5000, np.int64)
    gather.shuffle.serial(np.full(order.size, 1 - 2.0**-53), order)
    assert_array_equal(order, np.arange(order.size))


def test_every_order_is_as_likely():
    """Chi-squared of the 24 orders of four rows, with seven standard deviations to spare."""
    rng, order, counts = np.random.default_rng(0), np.empty(4, np.int64), {}
    n = 2400
    for _ in range(n):
        gather.shuffle.serial(rng.random(4), order)
        counts[tuple(order)] = counts.get(tuple(order), 0) + 1
    assert len(counts) == 24
    squares = sum((count - n / 24) ** 2 for count in counts.values()) / (n / 24)
    assert squares < 23 + 7 * np.sqrt(2 * 23)


def test_copy_rows_copies_the_named_rows():
    rng = np.random.default_rng(0)
    source, order = rng.standard_normal((9, 4)), rng.permutation(9)
    for stride in (4, 6):
        copied = np.full((7, stride), np.nan)
        copy_rows(source.ravel(), 4, order, 2, copied[:5])
        assert_array_equal(copied[:5, :4], reference.copy_rows(source, order, 2, 5))
        assert np.isnan(copied[:5, 4:]).all()
        assert np.isnan(copied[5:]).all()


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("ordered", [True, False])
def test_rows_of_a_mini_batch_are_copied_only_if_they_lie_apart(rows, ordered):
    rng = np.random.default_rng(0)
    source, order = rng.standard_normal((9, 4)), rng.permutation(9)
    for start in (0, 2, 9 - rows):
        copied = np.full((rows, 4), np.nan)
        found = rows_of(source.ravel(), order, ordered, start, copied)
        assert_array_equal(found, reference.rows_of(source, order, ordered, start, rows))
        assert np.isnan(copied).all() == (rows == 1 or not ordered)


@pytest.mark.parametrize("n_slices", [2, 3])
def test_copy_slices_makes_a_matrix_of_each_slice(n_slices):
    """Seven columns of rows in an order, in room for one row more; a slice alone, and all."""
    rng = np.random.default_rng(0)
    source, order, room = rng.standard_normal((9, 7)), rng.permutation(9), 6
    width = reference.slice_width(7, n_slices)
    for ordered, rows in ((True, order), (False, np.arange(9))):
        expected = reference.copy_slices(source, rows, 2, 5, n_slices)
        for k0, k1 in ((0, 7), (width, 7), (0, width)):
            copied = np.full(room * 7, np.nan)
            columns = Columns(7, k0, k1, width, room, 0)
            place = copied[room * k0 : room * k1]
            copy_slices(source.ravel(), columns, order, ordered, Rows(2, 5, 0), place)
            for k, matrix in zip(range(0, 7, width), expected, strict=True):
                place = copied[room * k : room * k + matrix.size]
                assert_array_equal(place, matrix.ravel() if k0 <= k < k1 else np.nan)


def runs_as_list(runs):
    """(first, place, length) of each run of a kernel's vector."""
    return [tuple(run) for run in runs[2 : 2 + 3 * int(runs[0])].astype(int).reshape(-1, 3)]


def rows_with_empty_columns(rng, n_rows, n_columns, share=0.6, dtype=np.float64):
    """Numbers of which about so many columns are zeros, here and there and 20 side by side.

    Of the other columns most elements are zeros, too, as in images.
    """
    X = normal(rng, (n_rows, n_columns), dtype)
    X[rng.random(X.shape) < 0.6] = 0
    X[:, rng.random(n_columns) < share / 2] = 0
    at = int(rng.integers(n_columns))
    X[:, at : at + int(share / 2 * n_columns)] = 0
    return X


@both_precisions
def test_columns_are_used_that_have_a_number_in_a_row_of_the_mini_batch(dtype):
    rng = np.random.default_rng(0)
    X = rows_with_empty_columns(rng, 40, 70, dtype=dtype)
    X[7, 30], X[7, 31], X[7, 32] = np.nan, -0.0, np.finfo(dtype).smallest_subnormal
    order = rng.permutation(40)
    for start, rows in ((0, 1), (3, 9), (0, 40), (39, 1), (np.flatnonzero(order == 7)[0], 1)):
        for first, n in ((0, 70), (20, 33)):
            used = np.full(n, np.nan, dtype)
            mark_columns(X.ravel(), 70, first, order, start, rows, used)
            assert_array_equal(used, reference.mark_columns(X, first, n, order, start, rows))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("n_parts", [1, 3])
def test_used_columns_are_listed_run_by_run(n_parts, share):
    rng = np.random.default_rng(1)
    stride = 90
    marks = np.zeros((n_parts, stride))
    marks[:, :70] = rng.random((n_parts, 70)) < share
    marks[:, 70:] = 1  # another's
    expected = reference.list_runs(marks[:, :70], empty_columns.GAP)
    runs = np.full(70, np.nan)
    n_used = list_runs(marks.ravel(), n_parts, stride, runs)
    assert runs_as_list(runs) == expected
    assert n_used == runs[1] == reference.columns_of(expected).size


@standalone
def columns_part(at, marking, X, columns, order, rows, marks, runs, copied):
    call_worker(at, marking, X, columns, order, rows, marks, runs, copied)


@both_precisions
@pytest.mark.parametrize(("width", "gap"), [(60, 0), (60, 7), (21, 0)])
def test_used_columns_are_copied_if_enough_others_are_empty(width, gap, dtype):
    """Of sixty columns from the third on, whole or in slices, with room for a row more."""
    rng = np.random.default_rng(2)
    X = rows_with_empty_columns(rng, 20, 70, dtype=dtype)
    X[10:] = rng.standard_normal((10, 70))
    X.flags.writeable = False
    order = np.arange(20)
    columns_at = empty_columns.addresses(dtype)[0]
    for start in (2, 0, 11):
        used = np.full(60, np.nan, dtype)
        runs, copied = np.zeros(60, dtype), np.full(6 * (60 + gap), np.nan, dtype)
        where = X.ravel(), Columns(70, 3, 63, width, 6, gap), order, Rows(start, 5, 0)
        marks = empty_columns.Marks(used, 1, 0)
        columns_part(columns_at, 1, *where, marks, runs, copied)
        assert_array_equal(used, reference.mark_columns(X, 3, 60, order, start, 5))
        columns_part(columns_at, 0, *where, marks, runs, copied)
        expected = reference.columns_part(X, 3, 60, width, order, start, 5, empty_columns)
        assert (expected is None) == (start == 11)
        if expected is None:
            assert (runs[::width] == empty_columns.NOT_LOOKED_FOR).all()
            assert np.isnan(copied).all()
            continue
        for k, (slice_runs, rows) in zip(range(0, 60, width), expected, strict=True):
            assert runs_as_list(runs[k : k + width]) == slice_runs
            n = min(width, 60 - k) + gap
            found = copied[6 * k : 6 * (k + n)].reshape(6, n)
            assert_array_equal(found[:5, : rows.shape[1]], rows)
            assert np.isnan(found[:5, rows.shape[1] :]).all()
            assert np.isnan(found[5]).all()


@pytest.fixture
def some_runs():
    """Forty columns, of which 0 to 2, 9 and 20 to 34 are used: as a kernel's vector and a list."""
    marks = np.zeros(40)
    marks[[0, 2, 9, *range(20, 35)]] = 1
    runs = np.full(40, np.nan)
    list_runs(marks, 1, 0, runs)
    return runs, reference.list_runs(marks[None], empty_columns.GAP)


def test_rows_are_copied_and_packed_run_by_run(some_runs):
    runs, expected = some_runs
    rng = np.random.default_rng(3)
    X, order = rng.standard_normal((9, 45)), rng.permutation(9)
    copied = np.full((6, 40), np.nan)
    copy_rows_by_runs(X.ravel(), 45, 5, order, 2, runs, copied[:4])
    n = reference.columns_of(expected).size
    assert_array_equal(copied[:4, :n], reference.copy_rows_by_runs(X, 5, order, 2, 4, expected))
    assert np.isnan(copied[:4, n:]).all()
    assert np.isnan(copied[4:]).all()
    W = rng.standard_normal((40, 7))
    for j, columns in ((0, 7), (2, 5), (6, 1)):
        panel = np.full((n, columns), np.nan)
        pack_rows_by_runs(W, runs, j, panel)
        assert_array_equal(panel, reference.pack_rows_by_runs(W, expected, j, columns))


def test_columns_left_out_are_left_out_of_the_product(some_runs):
    """Of three rows and all but the outer columns of W, which are more than a panel."""
    runs, expected = some_runs
    rng = np.random.default_rng(5)
    W, b = rng.standard_normal((40, 70)), rng.standard_normal(70)
    A = rng.standard_normal((5, len(reference.columns_of(expected))))
    plan = records.new(records.PLAN, 1)[0]
    plan.pack_at = empty_columns.addresses(np.float64)[1]
    C, work = np.full((5, 70), np.nan), np.empty(40 * 70)
    to = Block(C, 1, 2, 3, 66, 0)
    net, space = Net(plan, records.new(LAYER, 1), work), Space(work, work, work)
    multiply_used(Block(A, 1, 0, 3, 40, 0), W, b, runs, to, net, space)
    twin = reference.multiply_used(A, W, b, expected)
    assert_allclose(C[1:4, 2:68], twin[1:4, 2:68], rtol=0, atol=1e-13)
    C[1:4, 2:68] = np.nan
    assert np.isnan(C).all()


@pytest.mark.parametrize(
    ("k0", "k1"), [(0, 40), (1, 39), (2, 21), (9, 10), (10, 20), (25, 41), (0, 41), (40, 41)]
)
def test_gradients_rows_are_moved_to_their_columns(k0, k1, some_runs):
    """The rows of a task; number 40 is the bias."""
    runs, expected = some_runs
    rng = np.random.default_rng(4)
    gradient = rng.standard_normal((k1 - k0 + 1, 7))
    before = gradient.copy()
    spread_rows(gradient, k0, k1, runs)
    assert_array_equal(gradient[:-1], reference.spread_rows(before, k0, k1, expected, 40))
    assert_array_equal(gradient[-1], before[-1])
    assert place_of(runs, k1) == reference.place_of(expected, 40, k1)


@both_precisions
@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
@pytest.mark.parametrize("by_order", [False, True])
@pytest.mark.parametrize("way", ["slices of the input", "slices of the second layer"])
def test_parts_multiply_their_slices(way, by_order, n_parts, dtype, monkeypatch):
    """Each slice once, by the part that updates its weights; three rows, from the second on."""
    case = share_out(way, monkeypatch, dtype, SHARED_NETWORKS[0])
    order = np.random.default_rng(3).permutation(len(case.X)) if by_order else np.empty(0, np.int64)
    options = {"rows": 4, "n_parts": n_parts, "n_target": 1, "gather": by_order, "slopes": True}
    workspace = Workspace(case.sizes, dtype, **options)
    plan, work = workspace.plan, workspace.buffer
    plan_rare_activations(plan, dtype)
    work[:] = np.nan
    theta = reference.pack(case.layers).astype(dtype)
    layer, n_slices, width = choose_slices(case.sizes, np.dtype(dtype).itemsize, 4)
    n_out = case.sizes[layer + 1]
    X = reference.copy_rows(widen(case.X), order if by_order else np.arange(len(case.X)), 1, 3)
    if layer > 0:
        X = reference.dense_forward(X, *map(widen, case.layers[0]), SHARED_NETWORKS[0][0][0])
    inputs = np.split(X, range(width, X.shape[1], width), axis=1)
    expected = reference.slice_pass(inputs, *map(widen, case.layers[layer]))
    size = plan.buffer_rows * n_out
    for turn in (0, 1):
        place = work[plan.slice_product + turn * n_slices * size :]
        products = place[: n_slices * size].reshape(n_slices, size)
        written = np.zeros(n_slices, bool)
        for part in range(n_parts):
            net, space = net_and_space(case, workspace, part)
            team = team_of(part, n_parts)
            take_own(Trained(theta, theta, theta), 0, net, space, team, 0)
            step = Step(1, 3, 3, 1, 1, turn, 0, True)
            data = Data(case.X.ravel(), theta, theta, order)
            slice_pass(theta, data, net, space, team, step)
            new = np.isfinite(products[:, : 3 * n_out]).all(axis=1) & ~written
            written |= new
            tasks, bounds = workspace.team
            share = tasks[bounds[part] : bounds[part + 1]]
            rows = share.row_0[share.layer == layer]
            assert set(rows // width) <= set(np.flatnonzero(new))
        assert written.all()
        eps = FEW * np.finfo(dtype).eps
        for found, twin in zip(products, expected, strict=True):
            assert_allclose(found[: 3 * n_out].reshape(3, n_out), twin, rtol=eps, atol=eps)
        assert np.isnan(products[:, 3 * n_out :]).all()


def net_and_space(case, workspace, part):
    """What kernels are given of a case and of a workspace, as a part of a team."""
    plan, work = workspace.plan, workspace.buffer
    scratch = work[plan.scratch + part * plan.scratch_size :][: plan.scratch_size]
    net = Net(plan, case.layout, case.constants)
    return net, Space(work, work[part * plan.own_size :], scratch)


def team_of(part, n_parts):
    """A part of a team."""
    return Team(part, n_parts, np.zeros(SYNC_SIZE, np.int64))


TWO_LAYERS = 3, 70, 5, 4  # of which the second is sliced, unless it is small


@pytest.fixture
def nothing_is_small(monkeypatch):
    monkeypatch.setattr("fastmlp.workspace.SMALL_PARAMS", 0)


def sliced_case(n_parts):
    """A case, its tables, theta as a vector, and the matrices of its first layer and two slots."""
    case = Case(np.float32, ("tanh", "relu"), "identity", "squared_error", sizes=TWO_LAYERS)
    workspace = Workspace(TWO_LAYERS, np.float32, rows=4, n_parts=n_parts, n_target=4)
    theta = reference.pack(case.layers).astype(np.float32)
    state = np.arange(2 * theta.size, dtype=np.float32)
    vectors = [theta, *state.reshape(2, -1)]
    return case, workspace, theta, state, [x[: 4 * 70].reshape(4, 70) for x in vectors]


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7])
@pytest.mark.parametrize(("n_in", "width", "n_slices"), [(70, 32, 3), (64, 32, 2), (7, 2, 4)])
def test_slices_fall_to_parts(n_in, width, n_slices, n_parts):
    """Kernel, Python and twin give a part the same columns, and all columns to some part."""
    layout = records.new(records.LAYER, 1)
    layout.n_in = n_in
    plan = records.new(records.PLAN, 1)[0]
    plan.n_slices, plan.slice_width = n_slices, width
    net, columns = Net(plan, layout, np.empty(0)), []
    for part in range(n_parts):
        first, stop, k0, k1 = slice_bounds(net, team_of(part, n_parts))
        assert Slices(0, n_slices, width).columns(n_in, part, n_parts) == (k0, k1)
        if first < stop:
            assert (first, stop, k0, k1) == reference.slice_bounds(
                n_in, width, n_slices, part, n_parts
            )
        columns.extend(range(k0, k1))
    assert columns == list(range(n_in))


@pytest.mark.usefixtures("nothing_is_small")
def test_views_of_slices_equal_their_twins():
    case, workspace, theta, *_ = sliced_case(1)
    plan = workspace.plan
    work = workspace.buffer
    work[:] = np.arange(work.size)
    net, space = net_and_space(case, workspace, 0)
    columns, room, n_slices = 38, plan.buffer_rows, plan.n_slices
    size = n_slices * room * 5
    products = work[plan.slice_product :][: 2 * size].reshape(2, n_slices, room * 5)
    blocks = work[plan.own_columns :][: 5 * 4 * columns].reshape(5, 4, columns)
    outputs = work[plan.output + 32 * room :][: 3 * columns].reshape(3, columns)
    for turn in (0, 1):
        found = slice_views(net, space, 32, columns, turn, 1)
        assert_array_equal(found[0], reference.slice_matrix({32: outputs}, 32, columns))
        assert_array_equal(found[1], reference.slice_products(products, turn))
        assert_array_equal(found[2], np.ravel(reference.own_columns(blocks[1:4], 0, columns)))
    n_upper = count_params(TWO_LAYERS[2:])
    places = work[plan.upper :][: 2 * n_upper].reshape(2, n_upper)
    for t in (0, 1, 4):
        assert upper_offset(theta, plan, t) - plan.upper == reference.upper_offset(n_upper, t)
        assert_array_equal(upper_weights(theta, net, space, t), reference.upper_weights(places, t))
    plan.n_slices = plan.upper_start = 0
    assert_array_equal(upper_weights(theta, net, space, 1), theta)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_a_part_takes_its_columns_and_gives_them_back(n_parts):
    """What parts do to their own copies in between is what theta and the slots are then."""
    case, workspace, theta, state, matrices = sliced_case(n_parts)
    plan = workspace.plan
    expected = [matrix.copy() for matrix in matrices]
    above = theta[4 * 70 :].copy()
    trained = Trained(theta, state, theta)
    for part in range(n_parts):
        net, space = net_and_space(case, workspace, part)
        take_own(trained, 2, net, space, team_of(part, n_parts), 0)
    for part in range(n_parts):
        net, space = net_and_space(case, workspace, part)
        own = space.own
        k0, k1 = choose_slices(TWO_LAYERS, 4, 4).columns(70, part, n_parts)
        columns, upper = reference.take_own(matrices, k0, k1, case.layers, 1)
        blocks = own[plan.own_columns :][: 3 * 4 * (k1 - k0)].reshape(3, 4, -1)
        assert_array_equal(blocks, columns)
        assert_array_equal(upper_weights(theta, net, space, 0), upper.astype(np.float32))
        blocks += np.array([1, 2, 3], np.float32).reshape(3, 1, 1)
        expected = reference.move_own(expected, blocks, k0)
        move_own(trained, 2, net, space, team_of(part, n_parts), True)
    for number, (found, twin) in enumerate(zip(matrices, expected, strict=True), start=1):
        assert_array_equal(found, twin)
        assert (twin != found - number).all()
    assert_array_equal(theta[4 * 70 :], above)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("n_parts", [2, 3])
def test_a_gradient_passes_from_a_team_to_a_thread_alone_and_back(n_parts):
    """What the parts of a team have added to their own columns, a thread alone finds in all."""
    case, workspace, theta, *_ = sliced_case(n_parts)
    plan = workspace.plan
    gradient = np.full_like(theta, 7)
    expected = gradient[: 4 * 70].reshape(4, 70).copy()

    def own_of(part, n_parts):
        net, space = net_and_space(case, workspace, part)
        k0, k1 = choose_slices(TWO_LAYERS, 4, 4).columns(70, part, n_parts)
        size = 4 * (k1 - k0)
        block = space.own[plan.own_columns + 4 * size :][:size].reshape(4, -1)
        return (net, space, team_of(part, n_parts)), block, k0

    for part in range(n_parts):
        own, block, k0 = own_of(part, n_parts)
        block[:] = part
        expected = reference.move_own_gradient(expected, block, k0)
        move_own_gradient(gradient, *own, True)
    assert_array_equal(gradient[: 4 * 70].reshape(4, 70), expected)
    assert (gradient[4 * 70 :] == 7).all()
    own, block, _ = own_of(0, 1)
    move_own_gradient(gradient, *own, False)
    assert_array_equal(block, expected)


def test_chunks_within_a_mini_batch_are_told_from_its_first():
    chunks = chunk_table(23, 10, 4)
    batches = [0, 0, 0, 1, 1, 1, 2]
    assert len(chunks) == len(batches)
    for c in range(len(chunks) + 1):
        assert is_within_batch(chunks, c) == reference.is_within_batch(batches, c)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("updates", [0, 1, 5])
def test_weights_above_the_slices_are_published_for_the_next_step(updates):
    """By tasks, to one of two copies; the other stays as it is while others may read it."""
    case, workspace, theta, *_ = sliced_case(2)
    plan, work = workspace.plan, workspace.buffer
    n_upper = count_params(TWO_LAYERS[2:])
    copies = work[plan.upper :][: 2 * n_upper].reshape(2, n_upper)
    copies[:] = np.nan
    net, space = net_and_space(case, workspace, 0)
    take_own(Trained(theta, theta, theta), 0, net, space, team_of(0, 2), updates)
    expected = copies.copy()
    before = theta[-n_upper:].copy()
    theta += 1
    for task in workspace.team[0]:
        publish(theta, net, space, updates + 1, task)
    expected = reference.publish(expected, updates + 1, 0, theta[-n_upper:])
    assert_array_equal(copies, expected)
    assert_array_equal(copies[updates % 2], before)


@pytest.mark.usefixtures("nothing_is_small")
def test_tasks_find_their_parameters():
    """In the layer below the slices a part's own columns, else theta itself; slots follow."""
    case, workspace, theta, state, _ = sliced_case(2)
    plan, trained = workspace.plan, Trained(theta, state, -theta)
    workspace.buffer[:] = np.arange(workspace.buffer.size)
    for part in (0, 1):
        net, space = net_and_space(case, workspace, part)
        tasks, bounds = workspace.team
        for task in tasks[bounds[part] : bounds[part + 1]]:
            layer, row, _, k0, k1 = task
            size = 4 * (k1 - k0)
            blocks = space.own[plan.own_columns :][: 5 * size].reshape(5, 4, -1)
            twin, first, columns = reference.task_place(case.layers, layer, row, blocks[0], 1)
            place = task_place(trained, net, space, task)
            assert place[3:] == (first, columns)
            assert_array_equal(place[0], twin.astype(np.float32))
            assert_array_equal(place[1], blocks[1:4].ravel() if layer == 0 else state)
            assert_array_equal(place[2], blocks[4].ravel() if layer == 0 else trained.gradient)


@pytest.mark.parametrize("n_parts", [1, 2, 3])
def test_deltas_of_slices_equal_their_twin(n_parts):
    case, workspace, theta, *_ = sliced_case(n_parts)
    plan = workspace.plan
    rng, rows, eps = np.random.default_rng(5), 3, FEW * np.finfo(np.float32).eps
    delta, z = normal(rng, (rows, 5), np.float32), normal(rng, (rows, 70), np.float32)
    for part in range(n_parts):
        net, space = net_and_space(case, workspace, part)
        own = space.own
        k0, k1 = choose_slices(TWO_LAYERS, 4, 4).columns(70, part, n_parts)
        room, size = plan.buffer_rows, rows * (k1 - k0)
        at = room * case.layout[1].width_offset
        own[plan.delta + at :][: delta.size] = delta.ravel()
        own[plan.output + room * k0 :][:size] = np.tanh(z[:, k0:k1]).ravel()
        slice_back(theta, net, space, team_of(part, n_parts), rows)
        found = own[plan.delta + room * k0 :][:size].reshape(rows, -1)
        W = widen(case.layers[1][0])
        twin = reference.slice_back(widen(delta), W, widen(z), "tanh", k0, k1)
        assert_allclose(found, twin, rtol=0, atol=eps * np.abs(W).sum(1).max())


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("cut", [NO_SLICES, Slices(0, 2, 250), Slices(0, 3, 167), Slices(1, 2, 5)])
def test_tasks_cover_every_parameter_once(cut, n_parts):
    """Above and in the sliced layer whole rows, in the layer below rows of its slices' columns."""
    sizes = (500, 9, 30, 4)
    tasks, bounds = task_table(sizes, n_parts, 32, cut)
    assert bounds[0] == 0
    assert bounds[-1] == len(tasks)
    assert len(bounds) == n_parts + 1
    owners = [np.zeros((n_in + 1, n_out), np.int64) for n_in, n_out in pairwise(sizes)]
    for layer, row_0, row_1, k0, k1 in tasks:
        block = owners[layer][row_0:row_1]
        if layer < cut.layer:
            block = block[:, k0:k1]
        elif cut.n_slices and layer == cut.layer:
            assert k0 <= row_0 < row_1 <= k1 + (k1 == sizes[layer])
        assert block.size
        block += 1
    assert all((block == 1).all() for block in owners)


@pytest.mark.parametrize("leaves_out", [False, True])
@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_tasks_are_about_equal_work(n_parts, leaves_out):
    """The first layer is shared out by itself where some of its rows may be no work."""
    sizes = (784, 512, 512, 10)
    tasks, bounds = task_table(sizes, n_parts, 128, leaves_out=leaves_out)
    elements = np.array([(row_1 - row_0) * sizes[layer + 1] for layer, row_0, row_1, *_ in tasks])
    for layers in ([0], [1, 2]) if leaves_out else ([0, 1, 2],):
        work = np.where(np.isin(tasks.layer, layers), elements, 0)
        shares = np.add.reduceat(work, bounds[:-1])
        # Whole tiles, narrow layers and biases make a share larger or smaller.
        assert abs(shares - shares.mean()).max() < 20 * 512


SLICED = [
    ((784, 16, 16, 10), 32, 0),  # a wide input
    ((784, 100, 10), 128, 0),
    ((20, 64, 64, 1), 64, 1),  # the first two layers have most of the work
    ((30, 100, 2), 32, 1),
    ((64, 100, 10), 200, 1),
    ((300, 64, 64, 10), 64, 1),
    ((200, 50, 3), 64, 0),
    ((784, 512, 512, 10), 128, 1),  # wide
    ((100, 1000, 100), 256, 1),
]
WHOLE = [
    ((20, 64, 64, 64, 1), 64),  # the layers above would be too much to do twice
    ((784, 512, 512, 512, 10), 128),
    ((1024, 1024, 10), 256),  # large
    ((20, 128, 128, 1), 400),  # the sums would be too much
    ((100, 100, 100, 10), 100),  # columns make uneven shares
    ((30, 16, 2), 32),  # too narrow
    ((20, 64, 64, 1), 512),  # gradients of groups need less
    ((8, 8), 4),
]


@pytest.mark.parametrize(("sizes", "rows", "layer"), SLICED)
def test_a_layer_with_most_of_the_work_is_sliced(sizes, rows, layer):
    slices = choose_slices(sizes, 4, rows)
    assert slices.layer == layer
    assert slices.n_slices in (2, 4)
    assert (slices.n_slices - 1) * slices.width < sizes[layer] <= slices.n_slices * slices.width


@pytest.mark.parametrize(("sizes", "rows"), WHOLE)
def test_layers_are_left_whole_where_slices_would_not_pay(sizes, rows):
    assert choose_slices(sizes, 4, rows) == NO_SLICES


@both_precisions
@pytest.mark.parametrize("size", [0, 1, 7, 15, 16, 17, 32, 49])
def test_a_run_is_copied_and_no_more(size, dtype):
    source, target = np.arange(60, dtype=dtype), np.full(60, np.nan, dtype)
    copy_run(source, 3, target, 5, size)
    assert_array_equal(target[5 : 5 + size], reference.copy_run(source, 3, size))
    assert np.isnan(target[:5]).all()
    assert np.isnan(target[5 + size :]).all()


def test_asking_for_memory_changes_nothing():
    x = np.arange(40.0)
    before = x.copy()
    standalone(gather.prefetch_row)(x, 3, 30)
    assert_array_equal(x, before)


def test_sample_weights_go_to_their_rows():
    rng = np.random.default_rng(0)
    weights, delta = rng.random(9), rng.standard_normal((3, 4))
    order, sample_loss = rng.permutation(9), rng.random(3)
    for ordered, rows in ((True, order), (False, np.arange(9))):
        losses, scaled = sample_loss.copy(), delta.copy()
        weigh_losses(losses, weights, order, ordered, 4)
        assert_array_equal(losses, reference.weigh_losses(sample_loss, weights[rows[4:7]]))
        scale_rows(scaled, 0.25, weights, order, ordered, 4)
        assert_allclose(scaled, reference.scale_rows(delta, 0.25, weights[rows[4:7]]))
    scaled = delta.copy()
    scale_rows(scaled, 2.0, np.empty(0), order, False, 3)
    assert_array_equal(scaled, 2 * delta)


@both_precisions
@pytest.mark.parametrize("activation", ["tanh", "silu", "softmax"])
def test_going_back_through_the_output_equals_its_twin(activation, dtype):
    rng = np.random.default_rng(2)
    z, gradient = normal(rng, (6, 5), dtype), normal(rng, (6, 5), dtype)
    how = activation_of(activation, dtype)
    output, slope, delta = z.copy(), np.full_like(z, np.nan), gradient.copy()
    if activation == "softmax":
        softmax_rows(output, 0, 6)
    else:
        activation_forward_saving(output.ravel(), how, slope.ravel())
    output_backward(delta, output, slope, how)
    eps = 2 * FEW * np.finfo(dtype).eps
    assert_allclose(delta, reference.output_backward(gradient, z, activation), rtol=eps, atol=eps)


@both_precisions
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("n_groups", [1, 2, 5])
def test_terms_add_up_in_order(n_groups, accumulate, dtype):
    rng = np.random.default_rng(n_groups)
    terms, start = normal(rng, (n_groups, 40), dtype), normal(rng, 23, dtype)
    gradient = start.copy() if accumulate else np.full(23, np.nan, dtype)
    add_terms(terms, 9, accumulate, gradient)
    start = start if accumulate else np.zeros(23, dtype)
    addends = terms[:, 9:32]
    expected = reference.add_terms(addends, widen(start))
    bound = chain_bound(np.ones((1, n_groups), dtype), addends, start)
    assert (np.abs(gradient - expected) <= bound).all()
    for addend in addends:
        start += addend
    assert_array_equal(gradient, start)


def test_views_of_tables_are_what_was_put_into_them():
    sizes, hyper = (20, 300, 5), [0.5, -1.0, 3e-300]
    workspace = Workspace(sizes, np.float32, rows=50, n_parts=3, n_target=1)
    chunks = chunk_table(120, 50, 50)
    layout, constants = records.new(LAYER, 2), np.arange(7, dtype=np.float32)
    workspace.plan.n_loss_parameters = 3
    records.numbers(layout)[:] = np.arange(2 * len(LAYER.names))
    kept = Tables(workspace, chunks, layout, constants, np.array(hyper))
    tables, work = kept.kept
    tasks = workspace.alone[0]
    buffer_rows, fields, counts, *found = read_records(tables, records.numbers(layout), work)
    assert buffer_rows == workspace.plan.buffer_rows
    assert fields == (chunks[-1].stop, tasks[-1].row_1, layout[1].n_out)
    assert counts == (len(chunks), len(tasks), 2)
    assert_array_equal(found[0], constants[:4])
    assert_array_equal(found[1], constants[4:])
    assert_array_equal(table_views(tables, codes.TEAM_BOUNDS), workspace.team[1])
    write_cursor(tables, 7, 9)
    assert kept.cursor.tolist() == [7, 0, 0, 0, 9]
    for part, values in zip(total_and_hyper(tables), ([0.0], hyper), strict=True):
        assert_array_equal(part, values)


def test_views_of_the_workspace_equal_their_twins():
    layout = records.new(LAYER, 2)
    layout.n_in, layout.n_out = (3, 4), (4, 2)
    layout.w_offset = 0, 16
    layout.stride, layout.width_offset = (6, 2), (0, 6)
    assert total_params(layout) == reference.total_params((3, 4, 2))
    plan = records.new(records.PLAN, 1)[0]
    plan.input, plan.output, plan.scratch = 2, 32, 70
    plan.buffer_rows, plan.scratch_size, plan.loss_terms = 5, 11, 7
    work, X, order = np.arange(200.0), numbered(9, 3, np.float64), np.arange(9)
    scratch = reference.matrix(work, 70, 3, 11)
    net, data = Net(plan, layout, work), Data(X.ravel(), work, work, order)
    plan.own_size = 3
    own, of_part, of_products = scratch_views(work, net, 2)
    plan.own_size = 0
    assert_array_equal(own, work[6:])
    assert_array_equal(of_part, reference.part_scratch(scratch, 2, 0, 11))
    assert_array_equal(of_products, reference.product_scratch(scratch, 2, 7))
    space, rows = Space(work, work, work), Rows(4, 3, 1)
    outputs = [reference.matrix(work, 32, 5, 6), reference.matrix(work, 62, 5, 2)]
    for layer in (0, 1):
        below, view = layer_views(net, data, space, layer, rows)
        assert_array_equal(view, reference.layer_rows(outputs, layer, 1, 3))
        assert_array_equal(below, reference.input_rows(X, order, 4, 3))
    plan.gather = 1
    below, _ = layer_views(net, data, space, 0, rows)
    assert_array_equal(below, reference.matrix(work, 2, 5, 3)[1:4])
    plan.input_gap = 2
    below, _ = layer_views(net, data, space, 0, rows)
    assert_array_equal(below, reference.matrix(work, 2, 5, 5)[1:4])


@pytest.mark.parametrize("n_members", [1, 2, 3, 4, 6, 7, 16])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 64, 257, 1030])
@pytest.mark.parametrize("rows", [1, 2, 5, 64])
@pytest.mark.parametrize("activation", ["relu", "softmax"])
def test_the_members_of_a_team_share_a_layer_out(activation, rows, columns, n_members):
    """Every element to one member; columns in whole vectors, but for softmax in whole rows."""
    for lanes in (2, 8, 16):
        owners = np.zeros((rows, columns), np.int64)
        for member in range(n_members):
            team, limit = team_of(member, n_members), network.FEWEST_VECTORS
            share = layer_share(rows, columns, code_of(activation), lanes, team)
            where = lanes, member, n_members, limit
            twin = reference.layer_share(rows, columns, activation, *where)
            assert share == twin
            if activation == "relu":
                assert share == block_share(rows, columns, lanes, team)
            r0, r1, j0, j1 = share
            owners[r0:r1, j0:j1] += 1
            whole_vectors = j0 % lanes == 0 and (j1 % lanes == 0 or j1 == columns)
            assert whole_vectors if activation == "relu" else (j0, j1) == (0, columns)
        assert (owners == 1).all()


@both_precisions
@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0.5, 0), (0, 0.25), (0.5, 0.25)])
def test_penalties_equal_their_twin(l1, l2, dtype):
    rng = np.random.default_rng(0)
    weights, start = normal(rng, 21, dtype), normal(rng, 21, dtype)
    weights[:3] = 0, -0.0, np.nan
    constants = np.zeros(codes.ACTIVATION_PARAMETERS, dtype)
    constants[[codes.L1, codes.L2]] = l1, l2
    gradient = start.copy()
    add_penalties(constants, weights, gradient)
    expected = reference.add_penalties(widen(weights[3:]), widen(start[3:]), l1, l2)
    assert_allclose(gradient[3:], expected, rtol=0, atol=FEW * np.finfo(dtype).eps)
    assert_array_equal(gradient[:2], start[:2])


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 4, 7, 8, 9, 17, 102])
def test_reductions_of_a_vector_equal_their_twins(n, dtype):
    rng = np.random.default_rng(n)
    x, y = normal(rng, n, dtype), normal(rng, n, dtype)
    # A sum in whatever order is off by its number of terms in roundings of what is added up; a
    # product adds its own.
    bound = (n + 1) * np.finfo(dtype).eps
    assert abs(total(x) - reference.total(x)) <= bound * np.abs(widen(x)).sum()
    expected = reference.inner(x, y)
    assert abs(inner(x, y) - expected) <= bound * np.abs(widen(x) * y).sum()
    for i in range(n):
        x[i] += 9
        assert maximum(x) == reference.maximum(x)
        x[i] -= 9


@both_precisions
def test_no_element_of_a_vector_is_left_out_of_a_reduction(dtype):
    """Powers of two, of which each sum is exact and another for every choice of them."""
    for n in range(1, 21):
        x = 2.0 ** np.arange(n).astype(dtype)
        assert total(x) == inner(x, np.ones(n, dtype)) == 2.0**n - 1
        assert inner(x, x[::-1].copy()) == n * 2.0 ** (n - 1)


@both_precisions
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 102])
def test_sums_over_vectors_equal_their_twins(n, dtype):
    x = normal(np.random.default_rng(n), n, dtype, 1e30)
    # In float64 for either dtype, where 1e30 squared is no infinity.
    eps = np.finfo(np.float64).eps
    assert_allclose(euclidean_norm(x), reference.euclidean_norm(x), rtol=n * eps)
    bound = n * eps * np.abs(x).sum(dtype=np.float64)
    assert_allclose(interleaved_sum(x), reference.interleaved_sum(x), rtol=0, atol=bound)
    expected = reference.scale(x, 1 / 3).astype(dtype)
    scale(x, 1 / 3)
    assert_allclose(x, expected, rtol=2 * np.finfo(dtype).eps)


@both_precisions
@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.3), (0.2, 0.0), (0.2, 0.3)])
def test_penalty_of_the_weights_alone(l1, l2, dtype):
    net = MLP([5, 7, 3], dtype=dtype, seed=0)
    for biases in net.biases:
        biases[:] = np.nan  # must not be looked at
    layers = list(zip(net.weights, net.biases, strict=True))
    expected = reference.penalty([(W.astype(np.float64), b) for W, b in layers], l1, l2)
    value = penalties.penalty.serial(net.theta, net._layout_numbers, l1, l2)
    # 56 terms, each rounded and added once.
    assert_allclose(value, expected, rtol=60 * np.finfo(np.float64).eps)


@both_precisions
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_sums_of_squares_and_magnitudes(n, dtype):
    x = normal(np.random.default_rng(n), n, dtype)
    eps = np.finfo(np.float64).eps
    for name in ("sum_of_squares", "sum_of_magnitudes"):
        total = standalone(getattr(penalties, name))(x)
        assert_allclose(total, getattr(reference, name)(x), rtol=n * eps)


@both_precisions
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_one_bad_element_is_found_wherever_it_is(n, dtype):
    x = np.resize([1, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], n).astype(dtype)
    assert finite.finite.serial(x, x, x) == reference.finite(x, x, x)
    for bad in (np.nan, np.inf, -np.inf):
        for i in range(n):
            broken = x.copy()
            broken[i] = bad
            for vectors in ((broken, x, x), (x, broken, x), (x, x, broken)):
                assert finite.finite.serial(*vectors) == reference.finite(*vectors)


@pytest.mark.parametrize("kernel", BOTH_TWINS)
def test_touch_reaches_every_mark(kernel):
    marks = np.zeros(7, np.int64)
    getattr(threads.touch, kernel)(marks)
    assert_array_equal(marks, reference.touch(marks))


# Sweeps: whole networks, mini-batch after mini-batch

SIZES = (5, 7, 6, 3)
N_PARAMS = sum((n_in + 1) * n_out for n_in, n_out in pairwise(SIZES))
WEIGHTS = np.random.default_rng(1).exponential(size=N_ROWS)


class Case:
    """A network with samples for a loss, as kernels take them and as twins do."""

    def __init__(
        self,
        dtype,
        activations,
        output,
        loss,
        *,
        sizes=SIZES,
        n_rows=N_ROWS,
        by_index=False,
        weights=None,
        **l1_l2,
    ):
        rng = np.random.default_rng(21)
        self.dtype, self.weights, self.sizes = dtype, weights, sizes
        self.problem = {"activations": activations, "output": output, "loss": loss}
        self.penalties = l1_l2
        self.layers = [
            (normal(rng, (n_in, n_out), dtype, n_in**-0.5), normal(rng, n_out, dtype, 0.1))
            for n_in, n_out in pairwise(sizes)
        ]
        self.X = normal(rng, (n_rows, sizes[0]), dtype)
        self.Y = rng.dirichlet(np.ones(sizes[-1]), n_rows).astype(dtype)
        if by_index:
            self.Y = rng.integers(sizes[-1], size=n_rows)
        self.loss_code, self.loss_parameter = code_and_parameter(loss, dtype)
        if by_index:
            self.loss_code = codes.FUSED_CROSS_ENTROPY_INDICES

        layers = list(pairwise(sizes))
        self.layout = records.new(LAYER, len(layers))
        parameters = np.atleast_1d(self.loss_parameter)
        n_before_loss = codes.ACTIVATION_PARAMETERS + len(layers)
        self.constants = np.append(np.zeros(n_before_loss, dtype), parameters)
        self.constants[codes.L1] = l1_l2.get("l1", 0)
        self.constants[codes.L2] = l1_l2.get("l2", 0)
        for layer, activation in enumerate([*activations, output]):
            row, before = self.layout[layer], layers[:layer]
            code, parameter = code_and_parameter(activation, dtype)
            row.n_in, row.n_out = layers[layer]
            row.w_offset = sum((n_in + 1) * n_out for n_in, n_out in before)
            row.stride = row.n_out
            row.width_offset = sum(n_out for _, n_out in before)
            row.activation = code
            self.constants[codes.ACTIVATION_PARAMETERS + layer] = parameter

    def sweep(
        self,
        mode,
        *,
        n_parts=1,
        batch_rows=None,
        chunk_rows=None,
        order=None,
        optimizer="sgd",
        hyper=None,
        rate=0.1,
        clip_norm=np.inf,
    ):
        """Whether all was finite; the sum of the losses; theta; the gradient.

        A mini-batch is all rows and one chunk, if nothing else is said.
        """
        dtype, hyper, n_rows = self.dtype, hyper or {}, len(self.X)
        batch_rows, chunk_rows = batch_rows or n_rows, chunk_rows or batch_rows or n_rows
        target = self.Y.astype(dtype).reshape(n_rows, -1)
        gather = order is not None
        workspace = Workspace(
            self.sizes,
            dtype,
            rows=chunk_rows,
            n_parts=n_parts,
            n_target=target.shape[1],
            gather=gather,
            slopes=True,
        )
        # Nothing may depend on what the workspace held before.
        workspace.buffer[:] = np.nan
        workspace.plan.loss = self.loss_code
        parameters = tuple(np.atleast_1d(self.loss_parameter).tolist())
        rare_at = losses.rare_address(self.loss_code, parameters, dtype)
        workspace.plan.rare_loss_at = rare_at
        workspace.plan.n_loss_parameters = len(parameters)
        if workspace.leaves_out:
            plan_empty_columns(workspace.plan, dtype)
        plan_rare_activations(workspace.plan, dtype)
        workspace.plan.optimizer = code_of(optimizer)
        workspace.plan.update_at = updates.update_address(code_of(optimizer), dtype)
        workspace.plan.n_slots = n_slots(optimizer, hyper)
        workspace.plan.n_kinds = 1
        workspace.plan.decays = np.any(np.greater(hyper.get("weight_decay", 0), 0))
        chunks = chunk_table(n_rows, batch_rows, chunk_rows)
        weights = np.empty(0)
        if self.weights is not None:
            weights = reference.relative_weights(self.weights, n_rows)
        samples = self.X, target.ravel(), weights.astype(dtype)
        theta = reference.pack(self.layers).astype(dtype)
        result = np.full_like(theta, np.nan)
        numbers = np.append(hyper_vector(hyper), [1.0, 1.0])
        tables = Tables(workspace, chunks, self.layout, self.constants, numbers)
        rates = rates_table(int(chunks.last.sum()), rate, hyper)
        update = epoch.Update(np.zeros(3 * theta.size, dtype), rates, clip_norm)
        order = order if gather else np.empty(0, np.int64)
        total, _ = run_sweep(
            tables, n_parts > 1, len(chunks), mode, theta, samples, result, order, update
        )
        return not np.isnan(total), total, theta, result

    def predict(self, X, *, theta=None, kernel=predict.predict.serial, n_parts=1):
        """Whether all pre-activations were finite; the outputs."""
        theta = reference.pack(self.layers).astype(self.dtype) if theta is None else theta
        X = X.copy()
        X.flags.writeable = False
        result = np.full((len(X), self.sizes[-1]), np.nan, self.dtype)
        parameters = self.constants[codes.ACTIVATION_PARAMETERS :][: len(self.layout)]
        address = predict.predict_part_address(np.dtype(self.dtype))
        rare_at, _ = activations.rare_addresses((codes.GELU, codes.SOFTMAX), self.dtype)
        numbers = records.numbers(self.layout)
        finite = kernel(address, theta, X, numbers, parameters, rare_at, result, n_parts)
        return finite, result


# A team needs a thread for each part.
TEAMS = range(1, 2 if INTERPRETED else min(4, numba.config.NUMBA_NUM_THREADS) + 1)
NETWORKS = [
    *((("tanh", name), "identity", "squared_error") for name in ACTIVATIONS),
    *((("tanh", "relu"), name, "squared_error") for name in (*ACTIVATIONS, "softmax")),
    *((("silu", "gelu"), "identity", name) for name in LOSSES[:5]),
    (("tanh", "elu"), "identity", "quantile(0.1, 0.5, 0.9)"),
    (("tanh", "elu"), "softplus", "poisson"),
    (("tanh", "elu"), "sigmoid", "binary_cross_entropy"),
    (("tanh", "elu"), "softmax", "cross_entropy"),
    (("tanh", "elu"), "softmax", "cross_entropy(0.25)"),
]
# A network adds a few roundings at each of its sums, of up to 29 terms, through three layers
# and back.
NETWORK_EPS = 500


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@both_precisions
def test_losses_and_gradients_of_networks_equal_their_twins(network, dtype):
    case = Case(dtype, *network, weights=WEIGHTS, l1=0.01, l2=0.1)
    finite, loss, theta, gradient = case.sweep(codes.DIFFERENTIATE)
    assert finite
    weights = reference.relative_weights(WEIGHTS, N_ROWS)
    expected, expected_loss = reference.batch_gradient(
        case.layers, case.X, case.Y, weights, **case.problem, **case.penalties
    )
    eps = NETWORK_EPS * np.finfo(dtype).eps
    expected = reference.pack(expected)
    assert_allclose(gradient, expected, rtol=0, atol=eps * np.abs(expected).max())
    assert_allclose(loss, expected_loss, rtol=eps)
    assert_array_equal(theta, reference.pack(case.layers).astype(dtype))
    assert case.sweep(codes.EVALUATE)[1] == loss


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_gradient_of_the_twin_is_the_slope_of_its_objective(network):
    case = Case(np.float64, *network, weights=WEIGHTS, l1=0.01, l2=0.1)
    arguments = {"weights": WEIGHTS, **case.problem, **case.penalties}
    theta = reference.pack(case.layers)
    gradient = reference.pack(reference.gradient(case.layers, case.X, case.Y, **arguments))
    for direction in np.random.default_rng(0).standard_normal((3, N_PARAMS)):
        slope = central_difference(
            lambda s, d=direction: reference.objective(
                reference.unpack(theta + s * d, SIZES), case.X, case.Y, **arguments
            ),
            0.0,
        )
        assert_allclose(gradient @ direction, slope, rtol=1e-6, atol=1e-6)


BLOCK_ROWS = 2 * simd.TALL if INTERPRETED else predict.BLOCK_ROWS


@pytest.mark.parametrize("output", [*ACTIVATIONS, "softmax"])
@pytest.mark.parametrize("n_rows", [1, 2, simd.TALL + 1, BLOCK_ROWS + 5])
@both_precisions
def test_predictions_equal_their_twin_for_any_parts(output, n_rows, dtype, monkeypatch):
    """Also where there are fewer rows than parts."""
    monkeypatch.setattr(predict, "BLOCK_ROWS", BLOCK_ROWS)
    case = Case(dtype, ("gelu", "tanh"), output, "squared_error")
    X = normal(np.random.default_rng(8), (n_rows, SIZES[0]), dtype)

    def run(kernel, n_parts):
        finite, result = case.predict(X, kernel=kernel, n_parts=n_parts)
        assert finite
        return result

    result = same_for_any_parts(predict.predict, run)
    expected = reference.predict(case.layers, X, ("gelu", "tanh"), output)
    eps = NETWORK_EPS * np.finfo(dtype).eps
    assert_allclose(result, expected, rtol=eps, atol=eps)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("hidden", ["relu", "sigmoid"])
def test_predict_notices_whatever_is_not_finite(hidden, bad):
    """Although relu turns -inf, and sigmoid either infinity, into a finite number."""
    case = Case(np.float32, (hidden, hidden), "sigmoid", "squared_error")
    theta = reference.pack(case.layers).astype(np.float32)
    X = case.X[:3]
    assert case.predict(X)[0]
    for i in range(theta.size):
        broken = theta.copy()
        broken[i] = bad
        assert not case.predict(X, theta=broken)[0], f"parameter {i}"
        broken[:] = 0
        broken[i] = bad
        assert not case.predict(0 * X, theta=broken)[0], f"parameter {i}, the others 0"
    for i in range(X.size):
        broken = X.copy()
        broken.flat[i] = bad
        assert not case.predict(broken)[0], f"input {i}"
        assert not case.predict(broken, theta=0 * theta)[0], f"input {i}, all parameters 0"


@pytest.mark.parametrize("kernel", BOTH_TWINS)
def test_predict_notices_what_is_not_finite_in_any_part(kernel):
    case = Case(np.float32, ("relu", "relu"), "sigmoid", "squared_error")
    for row in range(N_ROWS):
        X = case.X.copy()
        X[row, 2] = np.nan
        twin = getattr(predict.predict, kernel)
        assert not case.predict(X, kernel=twin, n_parts=PARTS[-1])[0]


# Each optimizer with all three of both, which three optimizers in a row have in all nine pairs.
BATCHES = [(12, 12), (12, 5), (1, 1)]
CLIP_NORMS = [np.inf, 100.0, 0.3]
TRAININGS = [
    (*optimizer, (i + j) % 2 == 1, *batch, CLIP_NORMS[(i + j) % 3])
    for i, optimizer in enumerate(OPTIMIZERS)
    for j, batch in enumerate(BATCHES)
]


@pytest.mark.parametrize(
    ("optimizer", "hyper", "by_index", "batch_rows", "chunk_rows", "clip_norm"), TRAININGS, ids=str
)
def test_training_equals_its_twin(optimizer, hyper, by_index, batch_rows, chunk_rows, clip_norm):
    """Three mini-batches, the last a short one, in chunks of 12 or of 5 rows; single rows."""
    network = ("silu", "tanh"), "softmax", "cross_entropy"
    case = Case(np.float64, *network, by_index=by_index, weights=WEIGHTS, l1=0.01, l2=0.1)
    order = np.random.default_rng(7).permutation(N_ROWS)
    batches = np.split(order, range(batch_rows, N_ROWS, batch_rows))
    options = {"optimizer": optimizer, "hyper": hyper, "clip_norm": clip_norm}
    finite, loss, theta, _ = case.sweep(
        codes.UPDATE if clip_norm == np.inf else codes.UPDATE_CLIPPED,
        batch_rows=batch_rows,
        chunk_rows=chunk_rows,
        order=order,
        **options,
    )
    assert finite
    layers, expected_loss = reference.sweep(
        case.layers,
        case.X,
        case.Y,
        batches,
        learning_rate=0.1,
        weights=WEIGHTS,
        **options,
        **case.problem,
        **case.penalties,
    )
    # Steps divided by the root of small squared gradients carry the error of those on.
    assert_allclose(loss, expected_loss, rtol=1e-10)
    assert_allclose(theta, reference.pack(layers), rtol=0, atol=1e-10)


@both_precisions
@pytest.mark.parametrize("mode", [codes.DIFFERENTIATE, codes.UPDATE, codes.UPDATE_CLIPPED])
@pytest.mark.parametrize(("batch_rows", "chunk_rows"), BATCHES)
@pytest.mark.parametrize("gather", [False, True])
def test_sweeps_give_the_same_bits_for_any_parts(mode, batch_rows, chunk_rows, gather, dtype):
    case = Case(dtype, ("gelu", "tanh"), "softmax", "cross_entropy", weights=WEIGHTS, l2=0.1)
    order = np.random.default_rng(7).permutation(N_ROWS) if gather else None
    adam = {"optimizer": "adam", "hyper": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}}
    results = [
        case.sweep(
            mode,
            n_parts=n_parts,
            batch_rows=batch_rows,
            chunk_rows=chunk_rows,
            order=order,
            clip_norm=0.3,
            **adam,
        )
        for n_parts in TEAMS
    ]
    for result in results[1:]:
        for part, first_part in zip(result, results[0], strict=True):
            assert_array_equal(part, first_part)


@both_precisions
@pytest.mark.parametrize("batch_rows", [12, 1])
def test_a_loss_that_is_not_finite_ends_the_sweep_before_its_update(batch_rows, dtype):
    case = Case(dtype, ("relu", "tanh"), "identity", "squared_error")
    case.X[20] = np.nan
    finite, _, theta, _ = case.sweep(codes.UPDATE, batch_rows=batch_rows)
    assert not finite
    n_done = 20 // batch_rows * batch_rows
    case.X, case.Y = case.X[:n_done], case.Y[:n_done]
    batches = np.split(np.arange(n_done), range(batch_rows, n_done, batch_rows))
    layers, _ = reference.sweep(
        case.layers, case.X, case.Y, batches, "sgd", {}, 0.1, **case.problem
    )
    eps = NETWORK_EPS * np.finfo(dtype).eps
    assert_allclose(theta, reference.pack(layers), rtol=0, atol=eps)


# Denormal numbers

DENORMAL = {np.float32: 1e-40, np.float64: 1e-310}
flushes = pytest.mark.skipif(
    INTERPRETED or platform.machine() not in {"x86_64", "AMD64", "aarch64", "arm64"},
    reason="denormal numbers are flushed on x86 and AArch64 alone",
)


@flushes
@both_precisions
def test_denormal_numbers_are_zeros_until_they_are_restored(dtype):
    flush = standalone(lambda: denormals.flush_denormals())
    restore = standalone(lambda before: denormals.restore_denormals(before))
    restore(flush())  # compiles both
    tiny = np.full(40, DENORMAL[dtype], dtype)
    before = flush()
    try:
        flushed = tiny * tiny.dtype.type(1)
    finally:
        restore(before)
    assert_array_equal(flushed.view(np.uint8), 0)
    assert (tiny * tiny.dtype.type(1) > 0).all()


@flushes
@both_precisions
@pytest.mark.parametrize("batch_rows", [12, 1])
@pytest.mark.parametrize("n_parts", [1, 2])
def test_a_sweep_takes_denormal_numbers_for_zeros_and_leaves_no_trace(batch_rows, n_parts, dtype):
    """Behind a relu that no row switches on, a penalty would keep denormal weights so."""
    case = Case(dtype, ("tanh", "relu"), "identity", "squared_error", l2=1.0)
    case.layers[1][1][:] = -1e3
    case.layers[2][0][:] = DENORMAL[dtype]
    _, _, theta, _ = case.sweep(codes.UPDATE, batch_rows=batch_rows, n_parts=n_parts)
    n_out = case.sizes[-1]
    assert_array_equal(theta[-case.layers[2][0].size - n_out : -n_out], 0)
    tiny = np.full(40, DENORMAL[dtype], dtype)
    assert (tiny * tiny.dtype.type(1) > 0).all()


def test_denormal_numbers_are_zeros_on_aarch64_too(aarch64):
    """Bit 24 of its floating-point control register, FZ, in the words of Arm's manual."""

    def define(module):
        flush = ir.Function(module, ir.FunctionType(ir.IntType(64), []), "flush")
        builder = ir.IRBuilder(flush.append_basic_block())
        builder.ret(denormals.emit_flush(builder))
        restore = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(64)]), "restore")
        builder = ir.IRBuilder(restore.append_basic_block())
        denormals.emit_restore(builder, restore.args[0])
        builder.ret_void()

    code = aarch64(define)
    assert instructions(code, "flush") == [
        "mrs x0, FPCR",
        "orr x8, x0, #0x1000000",
        "msr FPCR, x8",
        "ret",
    ]
    assert instructions(code, "restore") == ["msr FPCR, x0", "ret"]


# The ways to share a chunk out to parts

DEEP = (130, 257, 33, 1030, 3, 70)
SMALL_BLOCKS = {"SMALL_PARAMS": 0, "FEWEST_BLOCK_ROWS": 3, "BLOCK_BYTES": 1, "LOSS_ROWS": 4}
# Name -> layer sizes, rows, and what is to be another number for small data to show it.
WAYS = {
    "own rows": (SIZES, 29, SMALL_BLOCKS),
    "groups": (SIZES, 37, {**SMALL_BLOCKS, "FEWEST_GROUPED_ROWS": 8, "GROUP_ROWS": 4}),
    "slices of the input": ((13, 4, 5, 3), 29, {**SMALL_BLOCKS, "SLICE_COLUMNS": 4}),
    "slices of the second layer": ((5, 40, 4, 3), 29, {**SMALL_BLOCKS, "SLICE_LINES": 1}),
    "slices of an input with empty columns": (
        (66, 17, 3),
        13,
        {**SMALL_BLOCKS, "SLICE_COLUMNS": 16},
    ),
    "slices of the second layer, with empty columns": (
        (64, 70, 4, 3),
        13,
        {"SMALL_PARAMS": 0, "LOSS_ROWS": 4, "WIDE_WEIGHTS": 1, "SLICE_COLUMNS": 99},
    ),
    "together": ((5, 37, 3, 18, 4), 29, {"SMALL_PARAMS": 0, "LOSS_ROWS": 4, "WIDE_WEIGHTS": 1}),
    "together, with empty columns": (
        (64, 33, 3),
        13,
        {"SMALL_PARAMS": 0, "LOSS_ROWS": 4, "WIDE_WEIGHTS": 1, "SLICE_COLUMNS": 99},
    ),
    "together, with gaps between rows": (
        (5, 37, 3, 18, 4),
        29,
        {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "row_gap": lambda n, itemsize: n % 3 + 1},
    ),
    "together, with gaps and empty columns": (
        (64, 33, 3),
        13,
        {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "row_gap": lambda n, itemsize: 5},
    ),
    "small": ((5, 70, 1, 18, 4), 13, {}),
    "small, one row": ((5, 70, 1, 18, 4), 1, {}),
    "small, one output": ((3, 17, 1), 9, {}),
    "small, one unit between wide layers": ((300, 1, 300), 3, {}),
    "together, one unit between wide layers": (
        (300, 1, 300),
        29,
        {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1, "SLICE_COLUMNS": 999},
    ),
}
if not INTERPRETED:
    WAYS |= {
        "rows of real groups": (SIZES, 1600, {"BLOCK_BYTES": 1}),
        "real groups of few rows with many outputs": ((1, 700), 200, {}),
        "slices of the input, whose sums are long": (
            (600, 1, 300),
            37,
            {"SMALL_PARAMS": 0, "SLICE_COLUMNS": 299},
        ),
        "a really wide input": ((800, 17, 5), 37, {}),
        "a really wide input with empty columns": ((800, 33, 5), 37, {}),
        "a really wide network with empty columns": ((300, 257, 257, 257, 5), 37, {}),
        "slices of a really wide layer with empty columns": ((300, 257, 33, 5), 37, {}),
        "slices of two real layers": ((20, 128, 64, 3), 37, {}),
        "slices of the last layer, one row": ((20, 700, 3), 1, {}),
        "one row of a wide input": ((800, 40, 5), 1, {}),
        "a really wide network": (DEEP, 37, {}),
        "a wide network whose rows would be pages": ((1024, 70, 1024, 5), 37, {}),
        "one row of a wide network": ((33, 70, 257, 600, 257, 5), 1, {}),
        "a wide network of one layer": ((130, 520), 37, {}),
    }
every_way = pytest.mark.parametrize("way", WAYS)

# Hidden activations are taken in turn.
SHARED_NETWORKS = [
    (("gelu", "tanh", "silu"), "identity", "huber(1.5)"),
    (("relu", "silu"), "gelu", "squared_error"),
    (("elu", "sigmoid"), "softmax", "cross_entropy"),
    (("mish", "tanh"), "softmax", "cross_entropy(0.25)"),
    (("silu", "leaky_relu(0.25)"), "softmax", "squared_error"),
]


def share_out(way, monkeypatch, dtype, network, n_rows=None, **options):
    """The case of a way, and the workspace's plan made to go it."""
    sizes, usual_rows, settings = WAYS[way]
    for name, value in settings.items():
        monkeypatch.setattr(f"fastmlp.workspace.{name}", value)
    activations, *rest = network
    hidden = tuple(activations[i % len(activations)] for i in range(len(sizes) - 2))
    case = Case(dtype, hidden, *rest, sizes=sizes, n_rows=n_rows or usual_rows, **options)
    if "empty columns" in way:
        case.X = rows_with_empty_columns(np.random.default_rng(5), *case.X.shape, dtype=dtype)
    return case


@pytest.mark.parametrize("way", WAYS)
def test_the_ways_are_the_ones_they_are_called(way, monkeypatch):
    case = share_out(way, monkeypatch, np.float32, SHARED_NETWORKS[0])
    options = {"rows": len(case.X), "n_parts": 2, "n_target": 1}
    assert not Workspace(case.sizes, case.dtype, **options).leaves_out
    workspace = Workspace(case.sizes, case.dtype, **options, gather=True)
    plan = workspace.plan
    assert workspace.leaves_out >= ("empty columns" in way)
    assert workspace.small == ("small" in way)
    assert (plan.together == 1) == ("wide network" in way or "together" in way)
    assert (plan.n_slices > 1) == ("input" in way or "slices" in way)
    assert (plan.sliced_layer == 1) == ("layer" in way and "slices" in way)
    assert (plan.n_groups > 1) == ("group" in way)
    gaps = "gaps" in way or "pages" in way
    assert (plan.input_gap > 0) == gaps
    strides = workspace.padded(case.layout).stride
    assert (strides[:-1] > case.sizes[1:-1]).any() >= gaps
    assert strides[-1] == case.sizes[-1]
    if case.sizes == SIZES:
        assert plan.block_rows < len(case.X) / max(1, plan.n_groups)


@every_way
@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_products_have_the_scratch_that_they_may_destroy(way, n_parts, monkeypatch):
    case = share_out(way, monkeypatch, np.float32, SHARED_NETWORKS[0])
    for rows in (1, len(case.X), 5000):
        options = {"rows": rows, "n_parts": n_parts, "n_target": 1}
        workspace = Workspace(case.sizes, case.dtype, **options)
        scratch = workspace.plan.loss_terms
        block = workspace.plan.block_rows
        width = panel_width(case.X)
        for layer, (n_in, n_out) in enumerate(pairwise(case.sizes)):
            # Forward and back; the gradient of a group, or of a task.
            products = []
            for depth, columns in ((n_in, n_out), (n_out, n_in)):
                row_bytes = depth * case.X.itemsize
                copies_a = reference.packs_a(row_bytes, columns, width, gemm)
                products.append((block if copies_a else 1, depth))
            if workspace.plan.n_groups:
                products.append((n_in, block))
            for task, k0, k1, *_ in (*workspace.team[0], *workspace.alone[0]):
                if task == layer:
                    products.append((min(k1, n_in) - k0, rows))
            for n, depth in products:
                assert scratch >= reference.scratch_size(n, depth, width, gemm)


def same_sweep_for_any_parts(case, *arguments, **options):
    """What a sweep returns, the same bits for one to four parts."""
    first, *others = [case.sweep(*arguments, n_parts=n, **options) for n in TEAMS]
    for other in others:
        for result, expected in zip(other, first, strict=True):
            assert_array_equal(result, expected)
    return first


# Of rows as they lie or in an order, and of the precisions, each way and each network has all four.
ROWS_AND_PRECISIONS = list(product([False, True], [np.float32, np.float64]))
WAYS_OF_NETWORKS = [
    (way, network, *ROWS_AND_PRECISIONS[(i + j) % 4])
    for i, way in enumerate(WAYS)
    for j, network in enumerate(SHARED_NETWORKS)
]


@pytest.mark.parametrize(("way", "network", "gather", "dtype"), WAYS_OF_NETWORKS, ids=str)
def test_every_way_gives_the_loss_and_gradient_of_the_twin(
    way, network, gather, dtype, monkeypatch
):
    """One chunk, or three with a short last one; weights; rows as they lie or in an order."""
    rng = np.random.default_rng(17)
    by_index = network[-1] == "cross_entropy" and gather
    case = share_out(way, monkeypatch, dtype, network, by_index=by_index, l1=0.01, l2=0.1)
    n_rows = len(case.X)
    case.weights = rng.exponential(size=n_rows) if gather else None
    order = rng.permutation(n_rows) if gather else None
    weights = reference.relative_weights(case.weights, n_rows)
    expected, expected_loss = reference.batch_gradient(
        case.layers, case.X, case.Y, weights, **case.problem, **case.penalties
    )
    # As for the small networks, with sums of up to a thousand terms.
    eps = NETWORK_EPS * np.finfo(dtype).eps
    expected = reference.pack(expected)
    for chunk_rows in (n_rows, n_rows // 3 + 1):
        options = {"chunk_rows": chunk_rows, "order": order}
        finite, loss, theta, gradient = same_sweep_for_any_parts(
            case, codes.DIFFERENTIATE, **options
        )
        assert finite
        assert_allclose(gradient, expected, rtol=0, atol=eps * np.abs(expected).max())
        assert_allclose(loss, expected_loss, rtol=eps)
        assert_array_equal(theta, reference.pack(case.layers).astype(dtype))
        for only_small in (False, True):
            monkeypatch.setattr("fastmlp.kernels.small.is_at_hand", lambda _, yes=only_small: yes)
            assert case.sweep(codes.EVALUATE, **options)[1] == loss


# Each way with both of both, and ways in turn with both pairs of them.
TRAININGS_OF_WAYS = [
    (way, n_chunks, (np.inf, 0.3)[(i + n_chunks) % 2])
    for i, way in enumerate(WAYS)
    for n_chunks in (1, 2)
]


@pytest.mark.parametrize(("way", "n_chunks", "clip_norm"), TRAININGS_OF_WAYS)
def test_every_way_trains_like_the_twin(way, n_chunks, clip_norm, monkeypatch):
    """Two mini-batches and a last one of a single row, which is fewer than there are groups."""
    rng = np.random.default_rng(19)
    network = ("gelu", "tanh"), "softmax", "cross_entropy"
    batch_rows = WAYS[way][1]
    n_rows = 2 * batch_rows + 1
    weights = rng.exponential(size=n_rows)
    case = share_out(way, monkeypatch, np.float64, network, n_rows, weights=weights, l2=0.1)
    order = rng.permutation(n_rows)
    options = {
        "optimizer": "sgd",
        "hyper": {"momentum": 0.9, "nesterov": True},
        "clip_norm": clip_norm,
    }
    finite, loss, theta, _ = same_sweep_for_any_parts(
        case,
        codes.UPDATE if clip_norm == np.inf else codes.UPDATE_CLIPPED,
        batch_rows=batch_rows,
        chunk_rows=-(-batch_rows // n_chunks),
        order=order,
        **options,
    )
    assert finite
    layers, expected_loss = reference.sweep(
        case.layers,
        case.X,
        case.Y,
        np.split(order, [batch_rows, 2 * batch_rows]),
        learning_rate=0.1,
        weights=weights,
        **options,
        **case.problem,
        **case.penalties,
    )
    assert_allclose(loss, expected_loss, rtol=1e-12)
    assert_allclose(theta, reference.pack(layers), rtol=0, atol=1e-12)


@both_precisions
def test_gradients_are_clipped_to_a_largest_norm(dtype):
    gradient = np.array([3, 0, -4], dtype)
    for clip_norm in (np.inf, 5.0, 4.9, 0.1):
        clipped = gradient.copy()
        assert clip(clipped, clip_norm)
        expected = reference.clip(widen(gradient), clip_norm)
        assert_allclose(clipped, expected, rtol=2 * np.finfo(dtype).eps)
    for bad in (np.nan, np.inf):
        bad_gradient = np.array([1, bad], dtype)
        assert not clip(bad_gradient, 1.0)
        assert_array_equal(bad_gradient, [1, bad])


# The compiled code

DOUBLE_ARITHMETIC = re.compile(
    r"^\s*v?(?:add|sub|mul|div|sqrt|min|max|fn?m(?:add|sub)\d*|round|rndscale)[sp]d\s", re.MULTILINE
)


def calls(dtype):
    """Example arguments of the kernels whose loops must keep to `dtype`."""
    x, matrix, number = np.ones(12, dtype), np.ones((3, 4), dtype), dtype(0.5)
    order, scratch, one = np.arange(12), np.empty(10_000, dtype), Block(matrix, 0, 0, 1, 1, 0)
    runs = np.array([1, 3, 0, 0, 3], dtype)
    return {
        activations.activation_forward: (x, activation_of("tanh", dtype)),
        activations.activation_forward_saving: (x, activation_of("tanh", dtype), x),
        activations.activation_backward: (x, x, x, activation_of("tanh", dtype)),
        activations.rare_forward: (codes.GELU, x),
        activations.rare_forward_saving: (codes.GELU, x, x),
        activations.rare_backward: (codes.GELU, x, x, x),
        activations.softmax_rows: (matrix, 0, 3),
        activations.softmax_backward_rows: (matrix, matrix),
        losses.squared_error: (x, x, x, x),
        losses.loss_elementwise: (codes.HUBER, x[:1], x, x, x, x),
        losses.loss_cross_entropy: (matrix, matrix, False, matrix, x, x),
        losses.smooth_cross_entropy: (number, x, x, False, x, x, x[:3]),
        losses.row_sums: (matrix, x),
        losses.squared_errors_of_long_rows: (matrix, matrix, matrix, x),
        reductions.total: (x,),
        reductions.inner: (x, x),
        reductions.maximum: (x,),
        gemm.multiply: (one, one, simd.FROM_ROW, x, one, scratch),
        gemm.pack_block: (matrix, 0, 0, 4, matrix),
        gemm.transpose_matrix: (matrix, 0, 0, 3, 3, matrix.copy(), 0, 0),
        updates.sgd_update: (x, x, x, *[number] * 3),
        updates.adagrad_update: (x, x, x, *[number] * 2),
        updates.rmsprop_update: (x, x, x, x, updates.RMSPropScalars(*[number] * 5)),
        updates.adam_update: (x, x, x, x, updates.AdamScalars(*[number] * 8)),
        updates.amsgrad_update: (x, x, x, x, x, updates.AdamScalars(*[number] * 8)),
        updates.nadam_update: (x, x, x, x, updates.NAdamScalars(*[number] * 8)),
        dense.dense_backward_params_rows: (
            matrix,
            4,
            matrix,
            0,
            1,
            False,
            matrix.copy(),
            scratch,
        ),
        finite.all_finite: (x,),
        gather.copy_rows: (x, 4, order, 0, matrix.copy()),
        gather.copy_slices: (x, Columns(4, 0, 4, 2, 3, 0), order, True, Rows(0, 3, 0), x.copy()),
        empty_columns.mark_columns: (x, 4, 0, order, 0, 3, x[:4].copy()),
        empty_columns.copy_rows_by_runs: (x, 4, 0, order, 0, runs, matrix.copy()),
        empty_columns.pack_rows_by_runs: (matrix, runs, 0, matrix.copy()),
        empty_columns.spread_rows: (matrix.copy(), 0, 3, runs),
        network.weigh_losses: (x, x, order, False, 0),
        network.scale_rows: (matrix, number, x, order, False, 0),
        network.add_penalties: (x, x, x),
        network.add_terms: (matrix, 0, True, x[:4]),
    }


def assembly_of(kernel, dtype):
    compiled, arguments = standalone(kernel), calls(dtype)[kernel]
    compiled(*arguments)
    return compiled.inspect_asm(tuple(numba.typeof(argument) for argument in arguments))


reads_assembly = pytest.mark.skipif(
    INTERPRETED or platform.machine().lower() not in ("x86_64", "amd64"),
    reason="reads compiled x86 instructions",
)


@reads_assembly
@pytest.mark.parametrize("kernel", calls(np.float32), ids=lambda kernel: kernel.__name__)
def test_single_precision_kernels_do_no_double_arithmetic(kernel):
    """One constant or argument of double precision makes a loop half as fast."""
    assert not DOUBLE_ARITHMETIC.findall(assembly_of(kernel, np.float32))


@reads_assembly
def test_the_search_for_double_arithmetic_finds_it():
    assert DOUBLE_ARITHMETIC.search(assembly_of(updates.adam_update, np.float64))
