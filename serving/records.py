"""Names that several files of serving agree on: records of a run, and what the text model is called."""

from __future__ import annotations

REPOSITORY = "repository.json"  # the manifest of model_repository/
README = "README.md"  # of the published repository: it is in git, and no manifest lists it
SERVED = "served.json"
BENCHMARK = "benchmark.json"
TUNING = "tuning.json"

TEXT_MODEL = "text_classifier"
# A batch holds what arrived while the one before it ran. 64 texts of 52 tokens keep two cores busy for a fifth of a
# second: larger batches no longer raise throughput, but would let a single text wait behind them.
MAX_BATCH = 64
REQUEST_ROWS = 32  # of one request of our clients: a TensorRT engine takes no more (ngc_models), and Triton puts requests together
