"""Targets that tests plan for, whatever machine they run on."""

from tritoncnn.kernels.target import Target

CPU = Target("cpu", "x86_64", 16, 16 << 30)
CUDA = Target("cuda", "sm_90", 132, 80 << 30)
