"""The graphs and the embedded Triton on an NVIDIA GPU; a CPU runs every line but the kernels.

Reads a run, or makes models of random weights; writes records/gpu_{engines,serving}.json.
"""
