"""Random bits by their number: Philox4x32-10, a counter-based generator.

Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A counter of
128 bits is scrambled under a key of 64 bits; any counter's 128 bits can be had at any time, without
those before. So random numbers need not depend on who draws them, or in which order.
"""

import numpy as np

from fastmlp.kernels._jit import loop

ROUNDS = 10

# Multipliers of a round, and what the key's halves grow by after each.
MULTIPLIER_0 = np.uint64(0xD2511F53)
MULTIPLIER_1 = np.uint64(0xCD9E8D57)
STEP_0 = np.uint64(0x9E3779B9)
STEP_1 = np.uint64(0xBB67AE85)

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


@loop
def philox(first, stream, key, bits):
    """Overwrite `bits` by the 128 bits of each of some consecutive counters.

    Parameters
    ----------
    first, stream : uint64
        The lower and the upper half of the first counter. `stream` is that of all counters.
    key : uint64
    bits : (2 n,) uint64
        Overwritten: the lower half of the first counter's bits, the upper half, and so on.
    """
    # All 32-bit numbers are in 64 bits, whose upper halves nobody looks at before the end: so the
    # loop vectorizes to the product of two 32-bit numbers that SIMD units have.
    for i in range(bits.size // 2):
        counter = first + np.uint64(i)
        x0, x1 = counter, counter >> HALF
        x2, x3 = stream, stream >> HALF
        k0, k1 = key & LOW, key >> HALF
        for _ in range(ROUNDS):
            p0 = MULTIPLIER_0 * (x0 & LOW)
            p1 = MULTIPLIER_1 * (x2 & LOW)
            x0, x1 = (p1 >> HALF) ^ x1 ^ k0, p1
            x2, x3 = (p0 >> HALF) ^ x3 ^ k1, p0
            k0 = (k0 + STEP_0) & LOW
            k1 = (k1 + STEP_1) & LOW
        bits[2 * i] = (x0 & LOW) | (x1 << HALF)
        bits[2 * i + 1] = (x2 & LOW) | (x3 << HALF)
