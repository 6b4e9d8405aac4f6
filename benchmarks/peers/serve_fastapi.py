"""A peer: a FastAPI application on uvicorn, one text a request, in a plain function.

    .tools/peers/bin/python -m benchmarks.peers.serve_fastapi --engine onnxruntime \\
        --bundle runs/agnews/bundle --onnx runs/agnews/artifacts/ort_fp32/model.onnx --port 9100
"""

from __future__ import annotations

import fastapi  # type: ignore[import-not-found, unused-ignore]
import pydantic  # type: ignore[import-not-found, unused-ignore]
import uvicorn  # type: ignore[import-not-found, unused-ignore]

from benchmarks.peers import classifier


class TextRequest(pydantic.BaseModel):  # type: ignore[misc, unused-ignore]
    text: str


class LabelReply(pydantic.BaseModel):  # type: ignore[misc, unused-ignore]
    label: str
    probability: float
    logits: list[float]


def main() -> None:
    parser = classifier.parser(__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=classifier.ENGINES, required=True)
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime for one text; default: one a core")
    arguments = parser.parse_args()
    classify = classifier.load(arguments.bundle, arguments.engine, arguments.onnx, arguments.threads)
    app = fastapi.FastAPI()

    @app.post("/classify")  # type: ignore[untyped-decorator, unused-ignore]
    def answer(request: TextRequest) -> LabelReply:
        classified = classify([request.text])
        label, probability = classified.labels[0], float(classified.probabilities[0])
        return LabelReply(label=label, probability=probability, logits=classified.logits[0].tolist())

    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
