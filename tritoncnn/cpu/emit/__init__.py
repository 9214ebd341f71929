"""LLVM IR text: elements, loads, stores, reductions and control flow."""
