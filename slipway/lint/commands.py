"""Find what is wrong in a Triton model repository before a server loads it.

Any repository will do, also one that was not made here. config.pbtxt, version directories, labels,
warm-up data, and the signatures of ONNX files and SavedModels are compared as Triton and its
backends would. No server, no GPU, and no model is run; what could not be checked is listed. Exits 0
without errors (warnings do not count), 6 with errors or where DIR is no repository, 2 on a wrong
command line.

    slipway lint runs/demo/model_repository
"""

from __future__ import annotations

import argparse
import json

from slipway.errors import ManifestError
from slipway.lint import linter
from slipway.lint.linter import Report


def lint(arguments: argparse.Namespace) -> int:
    report = linter.check(arguments.directory)
    if arguments.json:
        print(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        _show_report(report)
    return ManifestError.exit_code if report.count("error") else 0


def _show_report(report: Report) -> None:
    for finding in report.findings:
        print(f"{finding}\n")
    for unchecked in report.unchecked:
        print(unchecked)
    counts = f"errors {report.count('error')}, warnings {report.count('warning')}, not checked {len(report.unchecked)}"
    print(f"{report.directory}: models {len(report.models)}, {counts}")
