"""Fused ops for torch tensors, with gradients."""
