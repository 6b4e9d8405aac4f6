"""The files that `slipway classify` reads and writes.

Reads: texts a line, JSON lines, CSV, TSV, Parquet.
Writes: JSON lines, CSV, TSV, Parquet, each with the answers beside what was read.
"""
