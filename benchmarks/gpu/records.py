"""Names that the records of benchmarks.gpu have, and those who read them."""

from __future__ import annotations

from export import gpu_variants

FUSED, STARTS, PACKED = gpu_variants.FUSED.name, gpu_variants.STARTS.name, gpu_variants.PACKED.name
PADDED = (FUSED, STARTS)
CAPTURED = {f"{name} + CUDA graph": name for name in PADDED}  # contender → the variant that is captured
PEER, COMPILED = "PyTorch", "PyTorch compiled"
AS_THEY_COME, SORTED = ORDERS = ("as they come", "length-sorted")  # of AG News' texts
LATE = "no time was left"  # why something was skipped
