"""The kernels: all that Numba compiles. This folder is imported as `fastmlp.kernels`."""
