"""Load on a server, and what is known of its machine meanwhile.

Reads golden texts, Triton's statistics, the processors' counters.
Writes the input files of perf_analyzer; everything else is returned.
"""
