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
WIDTH_OFFSET = 3  # sum of the n_out of the layers before
ACTIVATION = 4
LAYOUT_COLUMNS = 5

# Columns of the chunk table, one row a chunk: rows [START, STOP) of the epoch's order, BATCH of
# them in the whole mini-batch, and whether the chunk is the first or the last of its mini-batch.
START = 0
STOP = 1
BATCH = 2
FIRST = 3
LAST = 4
CHUNK_COLUMNS = 5

# Columns of the task table: rows [ROW_0, ROW_1) of the (n_in + 1, n_out) matrix [W; b] of LAYER,
# and the columns [INPUT_0, INPUT_1) of the layer's input in whose copy the task finds its own: a
# slice's, or else all n_in.
LAYER = 0
ROW_0 = 1
ROW_1 = 2
INPUT_0 = 3
INPUT_1 = 4
TASK_COLUMNS = 5

# Entries of the plan: what to do, and where each part of the workspace begins, in elements.
LOSS = 0
OPTIMIZER = 1
N_SLOTS = 2
GATHER = 3  # 1: rows are taken in the given order and copied; 0: they are X's own, in place
TOGETHER = 4  # 1: all parts take a block through the layers together; 0: each takes its own
N_GROUPS = 5  # of rows whose gradients are summed apart, 0 where tasks form them from all rows
N_SLICES = 6  # of the input's columns, each some part's own, 0 where the input is not sliced
BLOCK_ROWS = 7  # rows that go through all layers at a time, while they are in cache
LOSS_ROWS = 8  # rows whose loss is taken at a time
BUFFER_ROWS = 9  # rows that the next five hold
N_TARGET = 10  # columns of the target
INPUT = 11  # (buffer, n_in) copied rows of X, or slice by slice (buffer, columns of the slice)
TARGET = 12  # (buffer, n_target)
OUTPUT = 13  # (buffer, n_out) for each layer
DELTA = 14  # (buffer, n_out) for each layer
SLOPE = 15  # (buffer, n_out) for each layer: derivatives of gelu and silu; nobody else's
SLICE_PRODUCT = 16  # (buffer, n_out) of the first layer, for each slice
SAMPLE_LOSS = 17  # (chunk,) weighted losses
GROUP_GRADIENT = 18  # (n_groups, n_params)
SCRATCH = 19  # SCRATCH_SIZE elements for each part, which begin with what products need
SCRATCH_SIZE = 20
LOSS_TERMS = 21  # offset in a part's scratch of (loss rows, n_out) addends of the loss
TASK = 22  # offset in a part's scratch of the gradient of one task
COEFFICIENTS = 23  # offset in a part's scratch of N_COEFFICIENTS coefficients of the update
PLAN_SIZE = 24

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
CURSOR_SIZE = 4

# How a sweep came out.
NOT_STARTED = 0  # not every part had a thread
FINISHED = 1
LOSS_NOT_FINITE = 2  # or, with UPDATE_CLIPPED, the gradient
