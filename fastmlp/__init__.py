"""Train multilayer perceptrons on the CPU with hand-written Numba kernels."""
