"""Find what is wrong in a Triton model repository before a server loads it.

Any repository will do, also one that was not made here. config.pbtxt, version directories, labels,
warm-up data, model.py, and the signatures of ONNX files and SavedModels are compared as Triton and
its backends would. No server, no GPU, and no model is run; what could not be checked is listed.
Exits 0 without errors (warnings do not count), 6 with errors or where DIR is no repository, 2 on a
wrong command line.

    slipway lint runs/demo/model_repository
"""

from __future__ import annotations

import argparse

from slipway.errors import ManifestError
from slipway.lint import linter, reports


def lint(arguments: argparse.Namespace) -> int:
    report = linter.check(arguments.directory)
    print(reports.render(report, arguments.format))
    return ManifestError.exit_code if report.count("error") else 0
