"""Triton kernels, one family per file; see ``launch.py`` for how a call is described."""
