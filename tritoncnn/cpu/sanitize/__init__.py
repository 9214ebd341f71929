"""The bounds and races modes, and what kernels say while they run."""
