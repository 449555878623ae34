"""The integers that kernels branch on, and the numbers of their tables.

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

# Order of an update's hyperparameters; what may be another in each update comes apart, see RATE.
HYPERPARAMETERS = (
    "momentum",
    "nesterov",
    "rho",
    "beta_1",
    "beta_2",
    "epsilon",
    "momentum_decay",
)

# Columns of the table of what may be another in each update.
RATE = 0  # learning rate
DECAY = 1  # weight decay
DROPOUT = 2  # factor of every probability of dropout
N_RATES = 3

# Kinds of parameters, each of which may have a factor of the learning rate.
KINDS = (
    *("weights", "first_weights", "bias", "norm", "scale", "activation"),
    *("embedding", "member"),
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
MISH = 12

# Losses. The FUSED_ ones take logits and stand for the output activation as well.
SQUARED_ERROR = 0
ABSOLUTE_ERROR = 1
HUBER = 2
LOGISTIC = 3
HINGE = 4
POISSON = 5
QUANTILE = 6
CUSTOM = 7  # of functions that a user has written
FUSED_BINARY_CROSS_ENTROPY = 8
FUSED_CROSS_ENTROPY_INDICES = 9
FUSED_CROSS_ENTROPY = 10

# The tables of a sweep, one vector of int64: for each of these its first element and its number
# of records, see `records`, then they themselves.
SYNC = 0
CURSOR = 1
PLAN = 2
LAYOUT = 3
CHUNKS = 4
TASKS = 5  # of a thread alone
BOUNDS = 6
TEAM_TASKS = 7
TEAM_BOUNDS = 8
REALS = 9  # float64: the sum of the losses, the optimizer's hyperparameters, factors of the rate
STEPS = 10  # of a program
BLOCKS = 11  # one for each part
CUTS = 12
N_TABLES = 13

# What a step of a program does with the delta of its input.
STOPS = 0  # nothing: nobody wants it
OVERWRITES = 1
ADDS = 2

# Entries of the constants, in theta's dtype; the layers' activation parameters follow, then those
# of the loss, see `losses`.
L1 = 0
L2 = 1
ACTIVATION_PARAMETERS = 2

# What a sweep over chunks does with each mini-batch.
EVALUATE = 0  # loss
DIFFERENTIATE = 1  # loss and gradient
UPDATE = 2  # gradient, formed and applied task by task
UPDATE_CLIPPED = 3  # gradient as a whole, scaled to a largest norm, then applied

# How a sweep came out.
NOT_STARTED = 0  # not every part had a thread
FINISHED = 1
LOSS_NOT_FINITE = 2  # or, with UPDATE_CLIPPED, the gradient
