from __future__ import annotations

import argparse

import pytest

from train import options


@pytest.mark.parametrize("flag", ["--epochs", "--batch-per-rank", "--accumulation", "--processes", "--max-seq-len"])
def test_a_number_with_which_nothing_can_be_trained_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    options.add(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([flag, "0"])
    assert f"argument {flag}: 0 is below" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["-0.1", "1.5", "nan"])
def test_a_share_is_between_none_and_all(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    options.add(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--average-weights={given}"])
    assert "expected a share from 0 to 1" in capsys.readouterr().err
