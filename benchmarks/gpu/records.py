"""Names that the records of benchmarks.gpu have, and those who read them."""

from __future__ import annotations

from export import gpu_variants

FUSED, PACKED = gpu_variants.FUSED.name, gpu_variants.PACKED.name
CAPTURED = f"{FUSED} + CUDA graph"
PEER, COMPILED = "PyTorch", "PyTorch compiled"
ORDERS = ("length-sorted", "as they come")  # of AG News' texts
