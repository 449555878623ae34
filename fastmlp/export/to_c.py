"""Networks as a file of C99 that needs nothing but its own mathematics."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastmlp.export.graph import X, graph_of
from fastmlp.kernels.activations import SELU_ALPHA, SELU_SCALE
from fastmlp.kernels.stages.columns import TWO_PI
from fastmlp.version import __version__
from fastmlp.writing import check_writable, writing

# Characters of a line.
_LINE = 96


def write_c(net, path):
    """See `fastmlp.MLP.to_c`."""
    check_writable("path", path)
    name = re.sub(r"\W", "_", Path(path).stem, flags=re.ASCII)
    if not name or name[0].isdigit():
        raise ValueError(
            "path must have a name that C can call a function by, such as 'digits.c', got "
            f"{str(path)!r}"
        )
    graph = graph_of(net)
    source = _Source(graph)
    text = source.text(name, repr(net))
    with writing("path", path, "w", encoding="ascii", newline="\n") as file:
        file.write(text)


class _Buffers:
    """Arrays on the stack, each of which holds one value after the other.

    Attributes
    ----------
    sizes : list of int
        What each has to have room for.
    """

    def __init__(self):
        self.sizes = []
        self._free = []

    def take(self, size):
        """The number of a buffer that nobody needs, the smallest that is large enough."""
        fitting = sorted(self._free, key=lambda i: (self.sizes[i] < size, self.sizes[i]))
        if not fitting:
            self.sizes.append(size)
            return len(self.sizes) - 1
        self._free.remove(fitting[0])
        self.sizes[fitting[0]] = max(self.sizes[fitting[0]], size)
        return fitting[0]

    def free(self, number):
        self._free.append(number)


class _Source:
    """A file as it is written, operation after operation."""

    def __init__(self, graph):
        self.graph = graph
        self.type = "float" if graph.dtype == np.float32 else "double"
        self.suffix = "f" if graph.dtype == np.float32 else ""
        self.helpers: list[str] = []  # names of functions that are called
        self.constants: list[str] = []
        self.states: list[tuple[str, int]] = []  # of recurrent layers, with their sizes
        self.lines: list[str] = []
        self.after: list[str] | None = None  # lines after the loop over the steps of time
        self._names: dict = {}
        self._buffers = _Buffers()
        self._at: dict[int, int] = {}  # buffers by value
        self.names = {X: "x"}  # of values
        self.factors = {X: 1}
        self.widths = graph.widths()
        self._last_use = {
            one: operation.output for operation in graph.operations for one in operation.inputs
        }
        self._last_use[graph.output] = len(graph.operations) + 1
        for operation in graph.operations:
            self.factors[operation.output] = operation.factor
            WRITERS[operation.kind](self, operation)
            for one in set(operation.inputs):
                if self._last_use[one] == operation.output and one in self._at:
                    self._buffers.free(self._at.pop(one))

    # What writers say.

    def emit(self, line):
        (self.lines if self.after is None else self.after).append(line)

    def room_for(self, operation):
        """Name a buffer for an operation's value: the one that it takes itself, if it may be."""
        given, size = operation.inputs[:1], operation.factor * operation.width
        for one in given:
            is_over = self._last_use[one] == operation.output and operation.inputs.count(one) == 1
            if (
                operation.kind in IN_PLACE
                and is_over
                and one in self._at
                and self.factors[one] * self.widths[one] == size
            ):
                self._at[operation.output] = self._at.pop(one)
                break
        else:
            self._at[operation.output] = self._buffers.take(size)
        name = f"b{self._at[operation.output]}"
        self.names[operation.output] = name
        return name

    def alias(self, operation):
        """Let an operation's value be the one that it takes, which nobody else does."""
        (given,) = operation.inputs
        self.names[operation.output] = self.names[given]
        if given in self._at:
            self._at[operation.output] = self._at.pop(given)

    def scratch(self, size):
        """Name a buffer that is free again after the operation's own lines."""
        number = self._buffers.take(size)
        self._buffers.free(number)
        return f"b{number}"

    def state(self, operation):
        """Name an array that an operation's value stays in from one step of time to the next."""
        name = self.names[operation.output] = f"h{len(self.states)}"
        self.states.append((name, operation.width))
        return name

    def number(self, value):
        return f"{self.graph.dtype.type(value)!s}{self.suffix}"  # as many digits as it takes

    def array(self, array, wish):
        """The name of an array of constants; what is the same memory is one."""
        array = np.asarray(array)
        key = array.__array_interface__["data"][0], array.shape, array.strides
        if key not in self._names:
            name = f"{wish}_{sum(one.startswith(wish + '_') for one, _ in self._names.values())}"
            self._names[key] = name, array
            is_real = array.dtype.kind == "f"
            kind = self.type if is_real else "int"
            texts = map(self.number if is_real else str, array.ravel())
            self.constants.append(
                f"static const {kind} {name}[{array.size}] = {{\n{_wrapped(texts)}\n}};"
            )
        return self._names[key][0]

    def call(self, helper, *arguments):
        """Text of a call of one of the `HELPERS`."""
        for name in (*_NEEDED.get(helper, ()), helper):
            if name not in self.helpers:
                self.helpers.append(name)
        return f"{helper}({', '.join(map(str, arguments))})"

    def for_each(self, size, line):
        """Emit a line for each i below `size`."""
        self.emit(f"for (int i = 0; i < {size}; i++)")
        self.emit(f"    {line}")

    def for_members(self, factor, line):
        """Emit a line for each member m, where there are some; "MEMBER n" is m times n."""
        if factor == 1:
            self.emit(re.sub(r" \+ MEMBER \d+", "", line))
        else:
            self.emit(f"for (int m = 0; m < {factor}; m++)")
            self.emit("    " + re.sub(r"MEMBER (\d+)", r"m * \1", line))

    def function(self, name, slope, value):
        """Text of an activation of a number."""
        if name == "identity":
            return value
        if name in IN_MATH:
            return f"{IN_MATH[name]}{self.suffix}({value})"
        if name == "leaky_relu":
            return self.call(name, value, self.number(slope))
        return self.call(name, value)

    # The file.

    def text(self, name, description):
        graph = self.graph
        sequence = graph.sequence is not None
        head = f"void {name}_predict(const {self.type} *x, "
        head += f"int n_steps, {self.type} *y)" if sequence else f"{self.type} *y)"
        body = [f"{self.type} {state}[{size}] = {{0}};" for state, size in self.states]
        body += [f"{self.type} b{i}[{size}];" for i, size in enumerate(self._buffers.sizes)]
        body += [""] if body else []
        if sequence:
            inner = [f"    {line}" for line in self.lines]
            if self.after is None:
                inner += [f"    {line}" for line in self._outputs()]
                inner += [f"    y += {graph.n_outputs};"]
            loop = f"for (int t = 0; t < n_steps; t++, x += {graph.n_inputs}) {{"
            body += [loop, *inner, "}"]
            if self.after is not None:
                body += [*self.after, *self._outputs()]
        else:
            body += [*self.lines, *self._outputs()]
        parts = [self._comment(head, description), "#include <math.h>"]
        parts.append(f"{head};")
        parts += [_typed(HELPERS[helper], self.type, self.suffix) for helper in self.helpers]
        parts += self.constants
        inside = "\n".join(f"    {line}".rstrip() for line in body)
        parts.append(f"{head}\n{{\n{inside}\n}}")
        return "\n\n".join(parts) + "\n"

    def _outputs(self):
        """Lines that give the outputs, the mean of the members'."""
        graph, name = self.graph, self.names[self.graph.output]
        if graph.members == 1:
            return [
                f"for (int i = 0; i < {graph.n_outputs}; i++)",
                f"    y[i] = {name}[i];",
            ]
        self.call("mean_of_members")
        return [f"mean_of_members({name}, {graph.members}, {graph.n_outputs}, y);"]

    def _comment(self, head, description):
        graph = self.graph
        n_stack = sum(self._buffers.sizes) + sum(size for _, size in self.states)
        lines = [*description.splitlines(), ""]
        lines.append(f"{head};")
        if graph.sequence is None:
            lines.append(
                f"x: {graph.n_inputs} inputs of one row. y: its {graph.n_outputs} outputs."
            )
        else:
            by_step = f"n_steps times {graph.n_outputs} outputs, of each step"
            last = f"the {graph.n_outputs} outputs of the last step"
            lines.append(f"x: n_steps (at least 1) times {graph.n_inputs} inputs, step after step.")
            lines.append(f"y: {by_step if graph.sequence == 'all' else last}.")
        if graph.feature_names is not None:
            lines.append("The inputs, in this order:")
            lines += [f"  {_harmless(one)}" for one in graph.feature_names]
        lines.append(
            f"Any number of threads may call it; each takes {n_stack * graph.dtype.itemsize:,} "
            "bytes of its stack."
        )
        lines.append(f"Written by fastmlp {__version__}: C99, needs the mathematical library.")
        text = "\n".join(f" * {line}".rstrip() for line in lines)
        return f"/*\n{text}\n */"


def _harmless(name):
    """A name within a comment, which it must not end."""
    return re.sub(r"[^\w .,:()%-]", lambda found: f"\\x{ord(found[0]):02x}", name, flags=re.ASCII)


def _wrapped(texts):
    """Texts in lines, with commas between."""
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > _LINE:
            lines.append(line)
            line = "   "
        line += f" {text},"
    lines.append(line.rstrip(","))
    return "\n".join(lines)


def _typed(source, kind, suffix):
    """Source of a helper in float or double: of its functions, numbers and types."""
    source = re.sub(r"\breal\b", kind, source.strip("\n"))
    source = re.sub(r"\b(exp|expm1|log1p|tanh|sqrt|cos|fabs|erfc|fmax)\(", rf"\1{suffix}(", source)
    return re.sub(r"\b(\d+\.\d+(?:e-?\d+)?)\b", rf"\1{suffix}", source)


# Operations that may overwrite what they take.
IN_PLACE = (
    *("one_hot", "scale", "shift", "activation", "prelu", "parametric"),
    *("layer_norm", "batch_norm", "add"),
)


def _columns(source, operation):
    out = source.room_for(operation)
    columns = np.array(operation.settings["columns"])
    if np.array_equal(columns, np.arange(source.graph.n_inputs)):
        source.for_each(len(columns), f"{out}[i] = x[i];")
    else:
        name = source.array(columns, "columns")
        source.for_each(len(columns), f"{out}[i] = x[{name}[i]];")


def _embedding(source, operation):
    out, table = source.room_for(operation), operation.arrays["table"]
    code = source.call("code_of", f"x[{operation.settings['column']}]", len(table))
    name = source.array(table, "embedding")
    source.emit(source.call("embed", code, operation.width, name, out) + ";")


def _periodic(source, operation):
    out, arrays = source.room_for(operation), operation.arrays
    _, n_frequencies, n_out = arrays["weights"].shape
    turns = source.array(source.graph.dtype.type(TWO_PI) * arrays["frequencies"], "frequencies")
    phases, weights, biases = (
        source.array(arrays[name], f"periodic_{name}") for name in ("phases", "weights", "biases")
    )
    for i, column in enumerate(operation.settings["columns"]):
        first, size = i * n_frequencies, n_out + 1
        call = source.call(
            "periodic",
            f"x[{column}]",
            n_frequencies,
            n_out,
            f"{turns} + {first}",
            f"{phases} + {first}",
            f"{weights} + {first * n_out}",
            f"{biases} + {i * n_out}",
            f"{out} + {i * size}",
        )
        source.emit(f"{call};")


def _piecewise(source, operation):
    out, settings = source.room_for(operation), operation.settings
    edges = source.array(settings["edges"], "edges")
    arrays = [
        source.array(operation.arrays[name], f"piecewise_{name}")
        for name in ("weights", "biases", "bins")
    ]
    n_bins = len(settings["edges"]) - 1
    x = f"x[{settings['column']}]"
    source.emit(source.call("piecewise", x, n_bins, operation.width, edges, *arrays, out) + ";")


def _concatenate(source, operation):
    out, at = source.room_for(operation), 0
    for one in operation.inputs:
        width = source.widths[one]
        source.for_each(width, f"{out}[{at} + i] = {source.names[one]}[i];")
        at += width


def _bias_rows(source, operation):
    out, n = source.room_for(operation), operation.width
    if "bias" in operation.arrays:
        bias = source.array(operation.arrays["bias"], "bias")
        source.for_each(n, f"{out}[i] = {bias}[i];")
    else:
        source.for_each(operation.factor * n, f"{out}[i] = {source.number(0)};")


def _one_hot(source, operation):
    given = source.names[operation.inputs[0]]
    out, arrays, settings = source.room_for(operation), operation.arrays, operation.settings
    n, k, table = operation.width, operation.factor, source.array(arrays["table"], "table")
    if out != given:
        source.for_each(k * n, f"{out}[i] = {given}[i];")
    factors = []
    if "scale" in arrays:
        factors.append(f"{source.array(arrays['scale'], 'scale')}[row]")
    if "members" in arrays:
        name = source.array(arrays["members"], "member_inputs")
        factors.append(f"{name}[m * {len(arrays['table'])} + row]")
    factor = " * ".join(factors) or source.number(1)
    for column, first, count in zip(
        settings["columns"], settings["firsts"], settings["counts"], strict=True
    ):
        source.emit("{")
        source.emit(f"    int code = {source.call('code_of', f'x[{column}]', count)};")
        source.emit(f"    int row = {first} + code;" if first else "    int row = code;")
        source.emit(f"    for (int m = 0; m < {k} && code >= 0; m++)")
        call = source.call("add_row", factor, n, f"{table} + row * {n}", f"{out} + m * {n}")
        source.emit(f"        {call};")
        source.emit("}")


def _scale(source, operation):
    (one,) = operation.inputs
    given, n = source.names[one], operation.width
    is_apart = source.factors[one] > 1
    out, factors = source.room_for(operation), source.array(operation.arrays["factors"], "factors")
    at = f"{given} + MEMBER {n}" if is_apart else given
    call = source.call("multiply", at, n, f"{factors} + MEMBER {n}", f"{out} + MEMBER {n}")
    source.for_members(operation.factor, f"{call};")


def _shift(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    biases = source.array(operation.arrays["biases"], "biases")
    size = operation.factor * operation.width
    source.for_each(size, f"{out}[i] = {given}[i] + {biases}[i];")


def _dense(source, operation):
    (one,) = operation.inputs
    given, out = source.names[one], source.room_for(operation)
    n_in, n_out, k = source.widths[one], operation.width, operation.factor
    weights, bias = operation.arrays["weights"], operation.arrays.get("bias")
    W = source.array(weights, "weights")
    b = "0" if bias is None else source.array(bias, "bias")
    if weights.ndim == 3:
        W, b = f"{W} + MEMBER {n_in * n_out}", f"{b} + MEMBER {n_out}"
    at = f"{given} + MEMBER {n_in}"
    call = source.call("dense", at, n_in, n_out, W, b, f"{out} + MEMBER {n_out}")
    source.for_members(k, f"{call};")


def _activation(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    n, k, settings = operation.width, operation.factor, operation.settings
    if settings["name"] == "softmax":
        call = source.call("softmax", f"{given} + MEMBER {n}", n, f"{out} + MEMBER {n}")
        source.for_members(k, f"{call};")
        return
    value = source.function(settings["name"], settings["slope"], f"{given}[i]")
    source.for_each(k * n, f"{out}[i] = {value};")


def _index(operation):
    """Text of a unit's number, of all that members have one below the other."""
    return "i" if operation.factor == 1 else f"i % {operation.width}"


def _prelu(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    alpha = source.array(operation.arrays["alpha"], "alpha")
    value = source.call("leaky_relu", f"{given}[i]", f"{alpha}[{_index(operation)}]")
    source.for_each(operation.factor * operation.width, f"{out}[i] = {value};")


def _parametric(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    alpha = source.array(operation.arrays["alpha"], "alpha")
    value = source.function(operation.settings["name"], 0.0, f"{given}[i]")
    line = f"{out}[i] = {given}[i] + {alpha}[{_index(operation)}] * ({value} - {given}[i]);"
    source.for_each(operation.factor * operation.width, line)


def _layer_norm(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    n, arrays = operation.width, operation.arrays
    gamma, beta = (source.array(arrays[name], name) for name in ("gamma", "beta"))
    epsilon = source.number(operation.settings["epsilon"])
    at, to = f"{given} + MEMBER {n}", f"{out} + MEMBER {n}"
    call = source.call("layer_norm", at, n, gamma, beta, epsilon, to)
    source.for_members(operation.factor, f"{call};")


def _batch_norm(source, operation):
    given, out = source.names[operation.inputs[0]], source.room_for(operation)
    arrays, index = operation.arrays, _index(operation)
    epsilon = source.graph.dtype.type(operation.settings["epsilon"])
    slope = arrays["gamma"] / np.sqrt(arrays["variance"] + epsilon)
    mean, gamma, beta = (
        source.array(array, name)
        for array, name in ((arrays["mean"], "mean"), (slope, "gamma"), (arrays["beta"], "beta"))
    )
    line = f"{out}[i] = ({given}[i] - {mean}[{index}]) * {gamma}[{index}] + {beta}[{index}];"
    source.for_each(operation.factor * operation.width, line)


def _dropout(source, operation):
    source.alias(operation)


def _add(source, operation):
    first, second = (source.names[one] for one in operation.inputs)
    out = source.room_for(operation)
    size = operation.factor * operation.width
    source.for_each(size, f"{out}[i] = {first}[i] + {second}[i];")


def _recurrent(source, operation):
    (one,) = operation.inputs
    given, n_in, n = source.names[one], source.widths[one], operation.width
    arrays, settings = operation.arrays, operation.settings
    summed, state = source.scratch(n), source.state(operation)
    W, U, b = (source.array(arrays[name], name) for name in ("weights", "recurrent", "bias"))
    source.emit(source.call("dense", given, n_in, n, W, b, summed) + ";")
    source.emit(source.call("add_product", state, n, n, U, summed) + ";")
    value = source.function(settings["name"], settings["slope"], f"{summed}[i]")
    source.for_each(n, f"{state}[i] = {value};")


def _last_step(source, operation):
    source.alias(operation)
    source.after = []


# How each of `graph.OPERATIONS` is written.
WRITERS: dict[str, Callable[..., None]] = {
    "columns": _columns,
    "embedding": _embedding,
    "periodic": _periodic,
    "piecewise": _piecewise,
    "concatenate": _concatenate,
    "bias_rows": _bias_rows,
    "one_hot": _one_hot,
    "scale": _scale,
    "shift": _shift,
    "dense": _dense,
    "activation": _activation,
    "prelu": _prelu,
    "parametric": _parametric,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "add": _add,
    "recurrent": _recurrent,
    "last_step": _last_step,
}

# Activations that are a function of <math.h>.
IN_MATH = {"tanh": "tanh", "exponential": "exp"}

# What a helper calls itself.
_NEEDED = {
    "dense": ("add_product",),
    "mish": ("softplus",),
}

# Functions that operations call, in numbers called real; those of one number are activations.
HELPERS = {
    "add_product": """
/* y += x w, with w (n_in, n_out) row by row */
static void add_product(const real *x, int n_in, int n_out, const real *w, real *y)
{
    for (int i = 0; i < n_in; i++)
        for (int j = 0; j < n_out; j++)
            y[j] += x[i] * w[i * n_out + j];
}
""",
    "dense": """
/* y = x w + b, without b if that is 0 */
static void dense(const real *x, int n_in, int n_out, const real *w, const real *b, real *y)
{
    for (int j = 0; j < n_out; j++)
        y[j] = b ? b[j] : 0.0;
    add_product(x, n_in, n_out, w, y);
}
""",
    "multiply": """
static void multiply(const real *x, int n, const real *factors, real *y)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] * factors[i];
}
""",
    "mean_of_members": """
static void mean_of_members(const real *x, int n_members, int n, real *y)
{
    for (int i = 0; i < n; i++) {
        real sum = 0.0;
        for (int m = 0; m < n_members; m++)
            sum += x[m * n + i];
        y[i] = sum / n_members;
    }
}
""",
    "code_of": """
/* the number of a category, -1 if it is missing: negative, not a number, or none there is */
static int code_of(real x, int n)
{
    return x >= 0.0 && x < n ? (int)x : -1;
}
""",
    "embed": """
static void embed(int code, int size, const real *table, real *y)
{
    for (int j = 0; j < size; j++)
        y[j] = code < 0 ? 0.0 : table[code * size + j];
}
""",
    "add_row": """
static void add_row(real factor, int n, const real *row, real *y)
{
    for (int j = 0; j < n; j++)
        y[j] += factor * row[j];
}
""",
    "periodic": """
/* y_j = c_j + sum_f v_fj cos(w_f x + b_f), and x itself as the last */
static void periodic(real x, int n_frequencies, int n_out, const real *w, const real *b,
                     const real *v, const real *c, real *y)
{
    for (int j = 0; j < n_out; j++)
        y[j] = c[j];
    for (int f = 0; f < n_frequencies; f++) {
        real cosine = cos(w[f] * x + b[f]);
        for (int j = 0; j < n_out; j++)
            y[j] += v[f * n_out + j] * cosine;
    }
    y[n_out] = x;
}
""",
    "piecewise": """
/* y = x w + b + the sum of the bins v below that of x + the share of that one */
static void piecewise(real x, int n_bins, int size, const real *edges, const real *w,
                      const real *b, const real *v, real *y)
{
    int t = 0;
    while (t < n_bins - 1 && edges[t + 1] <= x)
        t++;
    real share = (x - edges[t]) / (edges[t + 1] - edges[t]);
    for (int j = 0; j < size; j++) {
        y[j] = x * w[j] + b[j] + share * v[t * size + j];
        for (int s = 0; s < t; s++)
            y[j] += v[s * size + j];
    }
}
""",
    "layer_norm": """
static void layer_norm(const real *x, int n, const real *gamma, const real *beta, real epsilon,
                       real *y)
{
    real mean = 0.0, variance = 0.0;
    for (int i = 0; i < n; i++)
        mean += x[i];
    mean /= n;
    for (int i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean);
    real inverse = 1.0 / sqrt(variance / n + epsilon);
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
}
""",
    "softmax": """
static void softmax(const real *x, int n, real *y)
{
    real top = x[0], sum = 0.0;
    for (int i = 1; i < n; i++)
        top = fmax(top, x[i]);
    for (int i = 0; i < n; i++) {
        y[i] = exp(x[i] - top);
        sum += y[i];
    }
    for (int i = 0; i < n; i++)
        y[i] /= sum;
}
""",
    "relu": """
static real relu(real x) { return x <= 0.0 ? 0.0 : x; }
""",
    "leaky_relu": """
static real leaky_relu(real x, real slope) { return x <= 0.0 ? slope * x : x; }
""",
    "sigmoid": """
static real sigmoid(real x)
{
    real small = exp(-fabs(x));
    return (x < 0.0 ? small : 1.0) / (1.0 + small);
}
""",
    "elu": """
static real elu(real x) { return x <= 0.0 ? expm1(x) : x; }
""",
    "selu": f"""
static real selu(real x)
{{
    return {SELU_SCALE!r} * (x <= 0.0 ? {SELU_ALPHA!r} * expm1(x) : x);
}}
""",
    "gelu": f"""
static real gelu(real x) {{ return 0.5 * x * erfc(-{float(np.sqrt(0.5))!r} * x); }}
""",
    "silu": """
static real silu(real x)
{
    real small = exp(-fabs(x));
    return x * (x < 0.0 ? small : 1.0) / (1.0 + small);
}
""",
    "softplus": """
static real softplus(real x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }
""",
    "mish": """
static real mish(real x) { return x * tanh(softplus(x)); }
""",
}
