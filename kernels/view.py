"""Views: a place in memory and a shape, which is all that kernels need of a vector or a matrix.

A Numba array also carries its owner, whose references are counted, its strides and its item size:
seven or nine values at every call, and half of what the compiler does with kernels is to look after
them. Numba passes a `View` as two or three values and counts nothing. So whoever owns the memory,
an argument of the worker, must outlive it.

Views are made by `vector`, `matrix`, `reals` and `reinterpreted`, of arrays or of views, and are
C-contiguous.
Inside a kernel they are read, written and asked for `size`, `shape`, `itemsize` and
``dtype.type`` like arrays, and with ``NUMBA_BOUNDSCHECK=1`` their indices are checked. Negative
indices do not count from the end. Interpreted, they are NumPy's own.

Workers get arrays as views, too; see `_jit.call_worker`.
"""

import operator

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global, signature
from numba.extending import (
    infer_getattr,
    intrinsic,
    lower_builtin,
    lower_getattr,
    models,
    register_model,
)


class View(types.Type):
    """Numba's type of a C-contiguous vector or matrix without an owner."""

    def __init__(self, dtype, ndim):
        self.dtype = dtype
        self.ndim = ndim
        super().__init__(name=f"View({dtype}, {ndim})")


@register_model(View)
class _ViewModel(models.StructModel):
    def __init__(self, manager, view):
        lengths = [(f"length_{axis}", types.intp) for axis in range(view.ndim)]
        super().__init__(manager, view, [("data", types.CPointer(view.dtype)), *lengths])

    # Numba would take a structure apart at every call and put it together again.

    def get_argument_type(self):
        return self.get_value_type()

    def as_argument(self, builder, value):
        return value

    def from_argument(self, builder, value):
        return value


def data_of(context, builder, kind, value):
    """Pointer to the first element of an array or a view."""
    if isinstance(kind, View):
        return cgutils.create_struct_proxy(kind)(context, builder, value).data
    return context.make_array(kind)(context, builder, value).data


def lengths_of(context, builder, kind, value):
    """Lengths of an array or a view, a list with one for each axis."""
    if isinstance(kind, View):
        view = cgutils.create_struct_proxy(kind)(context, builder, value)
        return [getattr(view, f"length_{axis}") for axis in range(kind.ndim)]
    array = context.make_array(kind)(context, builder, value)
    return cgutils.unpack_tuple(builder, array.shape, kind.ndim)


def view_type(kind):
    """What an argument of this type arrives as in a worker: an array as a view, in tuples too."""
    if isinstance(kind, types.BaseTuple):
        cls = getattr(kind, "instance_class", tuple)
        return types.BaseTuple.from_types(tuple(map(view_type, kind)), cls)
    return View(kind.dtype, kind.ndim) if isinstance(kind, types.Array) else kind


def as_view(context, builder, kind, value):
    """View of a C-contiguous array, a tuple with views in place of arrays, or any other value."""
    if isinstance(kind, types.BaseTuple):
        items = zip(kind, cgutils.unpack_tuple(builder, value, len(kind)), strict=True)
        items = [as_view(context, builder, of_item, item) for of_item, item in items]
        return context.make_tuple(builder, view_type(kind), items)
    if not isinstance(kind, types.Array):
        return value
    shape = lengths_of(context, builder, kind, value)
    return _make(context, builder, view_type(kind), data_of(context, builder, kind, value), shape)


def _make(context, builder, kind, data, shape):
    view = cgutils.create_struct_proxy(kind)(context, builder)
    view.data = data
    for axis, length in enumerate(shape):
        setattr(view, f"length_{axis}", length)
    return view._getvalue()


@intrinsic
def matrix(typingctx, array, offset, n_rows, n_columns):
    """View elements of a C-contiguous array or view, from an offset on, as a matrix.

    Read-only data come out writable, so that a batch can be a slice of the caller's X or a gathered
    copy: kernels never write to inputs.
    """
    n = types.intp
    return View(array.dtype, 2)(array, n, n, n), _view


@intrinsic
def vector(typingctx, array, offset, size):
    """View elements of a C-contiguous array or view as a vector, on the terms of `matrix`."""
    return View(array.dtype, 1)(array, types.intp, types.intp), _view


@intrinsic
def reals(typingctx, array, offset, size):
    """View elements of a contiguous int64 array as float64, on the terms of `matrix`."""
    return View(types.float64, 1)(array, types.intp, types.intp), _view


@intrinsic
def reinterpreted(typingctx, array, offset, size, dtype):
    """View what lies from an element of an array or view on as `size` numbers of another dtype."""
    return View(dtype.dtype, 1)(array, types.intp, types.intp, dtype), _records


@intrinsic
def pointer(typingctx, array, offset):
    """Pointer to an element of an array or view, for ``numba.carray``."""

    def codegen(context, builder, signature, args):
        return builder.gep(data_of(context, builder, array, args[0]), [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def record(typingctx, table, offset, dtype):
    """Record of a NumPy dtype that lies in an int64 vector from an element on."""
    signature = dtype.dtype(table, types.intp, dtype)

    def codegen(context, builder, signature, args):
        first = builder.gep(data_of(context, builder, table, args[0]), [args[1]])
        return builder.bitcast(first, context.get_value_type(signature.return_type))

    return signature, codegen


@intrinsic
def records(typingctx, table, offset, size, dtype):
    """View records of a NumPy dtype that lie in an int64 vector from an element on."""
    return View(dtype.dtype, 1)(table, types.intp, types.intp, dtype), _records


def _records(context, builder, signature, args):
    return _view(context, builder, signature, args[:3])


def _view(context, builder, signature, args):
    """View of the signature's type and of a shape, on another's elements from an offset on."""
    array, offset, *shape = args
    kind = signature.return_type
    first = builder.gep(data_of(context, builder, signature.args[0], array), [offset])
    data = builder.bitcast(first, context.get_data_type(kind.dtype).as_pointer())
    return _make(context, builder, kind, data, shape)


@infer_getattr
class _ViewAttributes(AttributeTemplate):
    key = View

    def resolve_dtype(self, view):
        return types.DType(view.dtype)

    def resolve_size(self, view):
        return types.intp

    def resolve_itemsize(self, view):
        return types.intp

    def resolve_shape(self, view):
        return types.UniTuple(types.intp, view.ndim)


@lower_getattr(View, "dtype")
def _dtype(context, builder, kind, value):
    return context.get_dummy_value()


@lower_getattr(View, "size")
def _size(context, builder, kind, value):
    first, *others = lengths_of(context, builder, kind, value)
    return builder.mul(first, others[0]) if others else first


@lower_getattr(View, "itemsize")
def _itemsize(context, builder, kind, value):
    return context.get_constant(types.intp, kind.dtype.bitwidth // 8)


@lower_getattr(View, "shape")
def _shape(context, builder, kind, value):
    return cgutils.pack_array(builder, lengths_of(context, builder, kind, value))


def _is_index(view, index):
    if view.ndim == 1:
        return isinstance(index, types.Integer)
    is_pair = isinstance(index, types.BaseTuple) and len(index) == 2
    return is_pair and all(isinstance(i, types.Integer) for i in index)


def _wide(index):
    """The type of an index, in full width."""
    return types.UniTuple(types.intp, 2) if isinstance(index, types.BaseTuple) else types.intp


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args, kws):
        view, index = args
        if isinstance(view, View) and _is_index(view, index):
            return signature(view.dtype, view, _wide(index))
        return None


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args, kws):
        view, index, _ = args
        if isinstance(view, View) and _is_index(view, index):
            return signature(types.none, view, _wide(index), view.dtype)
        return None


def _element(context, builder, kind, value, index):
    """Pointer to the element at an index, one number or a pair."""
    shape = lengths_of(context, builder, kind, value)
    indices = [index] if kind.ndim == 1 else cgutils.unpack_tuple(builder, index, 2)
    if context.enable_boundscheck:
        for axis, (i, length) in enumerate(zip(indices, shape, strict=True)):
            cgutils.do_boundscheck(context, builder, i, length, axis)
    offset = indices[0]
    if kind.ndim == 2:
        row = builder.mul(offset, shape[1], flags=["nsw"])
        offset = builder.add(row, indices[1], flags=["nsw"])
    return builder.gep(data_of(context, builder, kind, value), [offset], inbounds=True)


@lower_builtin(operator.getitem, View, types.Integer)
@lower_builtin(operator.getitem, View, types.BaseTuple)
def _get(context, builder, signature, args):
    view = signature.args[0]
    return context.unpack_value(builder, view.dtype, _element(context, builder, view, *args))


@lower_builtin(operator.setitem, View, types.Integer, types.Any)
@lower_builtin(operator.setitem, View, types.BaseTuple, types.Any)
def _set(context, builder, signature, args):
    view, index, value = args
    kind = signature.args[0]
    context.pack_value(builder, kind.dtype, value, _element(context, builder, kind, view, index))
    return context.get_dummy_value()


if numba.config.DISABLE_JIT:

    def matrix(array, offset, n_rows, n_columns):
        return vector(array, offset, n_rows * n_columns).reshape(n_rows, n_columns)

    def vector(array, offset, size):
        return array.reshape(-1)[offset : offset + size]

    def reals(array, offset, size):
        return array[offset : offset + size].view(np.float64)

    def reinterpreted(array, offset, size, dtype):
        n = -(-size * dtype.itemsize // array.itemsize)
        return vector(array, offset, n).view(dtype)[:size]

    def record(table, offset, dtype):
        return records(table, offset, 1, dtype)[0]

    def records(table, offset, size, dtype):
        n = size * len(dtype.names)
        return table[offset : offset + n].view(dtype).view(np.recarray)
