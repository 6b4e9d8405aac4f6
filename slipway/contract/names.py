"""Names that several files of serving agree on: records of a run, and the text model's."""

from __future__ import annotations

REPOSITORY = "repository.json"  # the manifest of model_repository/
README = "README.md"  # of the published repository: it is in git, and no manifest lists it
SERVED = "served.json"
BENCHMARK = "benchmark.json"
BENCHMARK_SCHEMA = 2  # docs/benchmark.schema.json
TUNING = "tuning.json"

TEXT_MODEL = "text_classifier"
# Texts in a batch of the embedded server, and in one request of our clients. A batch holds the
# texts that arrived while the one before it ran: 32 texts of 52 tokens keep a core busy for a tenth
# of a second. Larger ones no longer raise throughput, but others wait behind them (docs/log.md).
# A TensorRT engine in NVIDIA's container takes no more, either (ngc_models).
MAX_BATCH = 32
DEADLINE = 60.0  # seconds for a whole call of a client: all its requests, retries and pauses
RETRIES = 3  # of each request of a client, and only when the server is unavailable
