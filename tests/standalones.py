"""Kernels that other kernels call made callable from Python, each compiled once in a session."""

from functools import cache

from fastmlp.kernels import _jit

standalone = cache(_jit.standalone)
