"""The integers that kernels branch on, and the columns of the tables they read.

Kernels take no strings and no functions: a name becomes its code once, in Python, and a kernel
branches on the code once per array.
"""

# Optimizers with a compiled update.
SGD = 0
ADAGRAD = 1
RMSPROP = 2
ADAM = 3
AMSGRAD = 4
NADAM = 5

# Order of an update's hyperparameters; the learning rate comes apart, one for each update.
HYPERPARAMETERS = (
    "momentum",
    "nesterov",
    "rho",
    "beta_1",
    "beta_2",
    "epsilon",
    "weight_decay",
    "momentum_decay",
)

# What an update computes from them once a step; the most that any optimizer has.
N_COEFFICIENTS = 8

# Activations. SOFTMAX is for the output layer only.
IDENTITY = 0
RELU = 1
LEAKY_RELU = 2
SIGMOID = 3
TANH = 4
ELU = 5
SELU = 6
GELU = 7
SILU = 8
SOFTPLUS = 9
EXPONENTIAL = 10
SOFTMAX = 11

# Losses. The FUSED_ ones take logits and stand for the output activation as well.
SQUARED_ERROR = 0
ABSOLUTE_ERROR = 1
HUBER = 2
LOGISTIC = 3
HINGE = 4
POISSON = 5
QUANTILE = 6
FUSED_BINARY_CROSS_ENTROPY = 7
FUSED_CROSS_ENTROPY_INDICES = 8
FUSED_CROSS_ENTROPY = 9

# Columns of the layout table, one row a layer; offsets count elements.
N_IN = 0
N_OUT = 1
W_OFFSET = 2  # of W (n_in, n_out) in theta; the bias (n_out,) follows it
ACTIVATION = 3
STRIDE = 4  # from one row of the layer's outputs, or deltas, to the next; at least n_out
WIDTH_OFFSET = 5  # sum of the strides of the layers before
LAYOUT_COLUMNS = 6

# Columns of the chunk table, one row a chunk: rows [START, STOP) of the epoch's order, BATCH of
# them in the whole mini-batch, and whether the chunk is the first or the last of its mini-batch.
START = 0
STOP = 1
BATCH = 2
FIRST = 3
LAST = 4
CHUNK_COLUMNS = 5

# Columns of the task table: rows [ROW_0, ROW_1) of the (n_in + 1, n_out) matrix [W; b] of LAYER,
# and the columns [SLICE_0, SLICE_1) of the sliced layer's input that its part has: the task's rows
# are among them in the sliced layer, and in the layer below they are the columns of its block.
LAYER = 0
ROW_0 = 1
ROW_1 = 2
SLICE_0 = 3
SLICE_1 = 4
TASK_COLUMNS = 5

# The tables of a sweep, one vector of int64: for each of these its first element and its number
# of rows, then they themselves.
SYNC = 0
CURSOR = 1
PLAN = 2
LAYOUT = 3
CHUNKS = 4
TASKS = 5  # of a thread alone
BOUNDS = 6
TEAM_TASKS = 7
TEAM_BOUNDS = 8
REALS = 9  # float64: the sum of the losses, then the optimizer's hyperparameters
N_TABLES = 10

# Entries of the plan: what to do, and where each part of the workspace begins, in elements.
LOSS = 0
RARE_LOSS_AT = 1  # address of a rare loss, see `losses`
RARE_FORWARD_AT = 2  # addresses of rare activations, see `activations`
RARE_BACKWARD_AT = 3
OPTIMIZER = 4
UPDATE_AT = 5  # address of the optimizer's update, see `updates`
DECAYS = 6  # 1: the optimizer has weights decay, but not biases
N_SLOTS = 7
GATHER = 8  # 1: rows are taken in the given order and copied; 0: they are X's own, in place
COLUMNS_AT = 9  # addresses of what leaves out empty columns of X, or 0, see `empty_columns`
PACK_AT = 10
SPREAD_AT = 11
TOGETHER = 12  # 1: all parts take a block through the layers together; 0: each takes its own
N_GROUPS = 13  # of rows whose gradients are summed apart, 0 where tasks form them from all rows
N_SLICES = 14  # of a layer's input, each some part's own, 0 where no layer's input is sliced
SLICE_WIDTH = 15  # columns of a slice; the last one may have fewer
SLICED_LAYER = 16  # 0 or 1
UPPER_START = 17  # element of theta with which the weights above the slices begin, 0 without slices
BLOCK_ROWS = 18  # rows that go through all layers at a time, while they are in cache
LOSS_ROWS = 19  # rows whose loss is taken at a time
BUFFER_ROWS = 20  # rows that INPUT to SLOPE hold
N_TARGET = 21  # columns of the target
INPUT_GAP = 22  # elements from the end of a copied row of X to the next row; 0 with slices
OWN_SIZE = 23  # elements each part has to itself, INPUT to OWN_COLUMNS; 0 where all share them
INPUT = 24  # (buffer, n_in + gap) copied rows of X, or slice by slice (buffer, its columns)
OUTPUT = 25  # (buffer, stride) for each layer, below a sliced one slice by slice
DELTA = 26  # like OUTPUT
SLOPE = 27  # like OUTPUT: derivatives of gelu and silu; nobody else's
SAMPLE_LOSS = 28  # (chunk,) weighted losses
OWN_COLUMNS = 29  # see `slices.own_columns`, where the second layer is sliced
SLICE_PRODUCT = 30  # (buffer, n_out) of the sliced layer, for each slice, twice
UPPER = 31  # the weights above the slices, twice
GROUP_GRADIENT = 32  # (n_groups, n_params)
SCRATCH = 33  # SCRATCH_SIZE elements for each part, which begin with what products need
SCRATCH_SIZE = 34
LOSS_TERMS = 35  # offset in a part's scratch of (loss rows, n_out) addends of the loss
TARGET = 36  # offset in a part's scratch of (loss rows, n_target) copied targets
TASK = 37  # offset in a part's scratch of the gradient of one task
COEFFICIENTS = 38  # offset in a part's scratch of N_COEFFICIENTS coefficients of the update
USED_COLUMNS = 39  # offset in a part's scratch of the marks of used columns, see `empty_columns`
COLUMN_RUNS = 40  # offset in a part's scratch of the runs of used columns
PACKED = 41  # offset in a part's scratch of rows of the first layer's W
CONSTANTS = 42  # see below
PLAN_SIZE = 43

# Entries of the constants, in theta's dtype; the layers' activation parameters follow.
LOSS_PARAMETER = 0
L1 = 1
L2 = 2
ACTIVATION_PARAMETERS = 3

# What a sweep over chunks does with each mini-batch.
EVALUATE = 0  # loss
DIFFERENTIATE = 1  # loss and gradient
UPDATE = 2  # gradient, formed and applied task by task
UPDATE_CLIPPED = 3  # gradient as a whole, scaled to a largest norm, then applied

# Entries of the cursor.
CHUNK = 0
MINI_BATCH = 1
UPDATES = 2
OUTCOME = 3
END = 4  # the chunk with which the sweep is at its end
CURSOR_SIZE = 5

# How a sweep came out.
NOT_STARTED = 0  # not every part had a thread
FINISHED = 1
LOSS_NOT_FINITE = 2  # or, with UPDATE_CLIPPED, the gradient
