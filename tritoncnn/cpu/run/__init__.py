"""Compiling, caching, loading and launching kernels; Triton's plug-in contract."""
