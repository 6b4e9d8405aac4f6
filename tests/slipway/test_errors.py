from __future__ import annotations

import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway import errors
from slipway.errors import ServerError
from tests.support.command import CHECKOUT


def test_an_error_is_the_same_in_another_process() -> None:
    error = ServerError("no answer", expected="one", found="none", where="there", fix="ask again")
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), other.found) == (ServerError, str(error), "none")


def test_a_command_whose_reader_has_gone_ends_quietly() -> None:
    code = "from slipway import errors; errors.run(lambda: print('line\\n' * 100_000) or 0)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=CHECKOUT) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait(20)) == (b"", 128 + signal.SIGPIPE)


def test_a_proposed_option_takes_the_place_of_the_one_that_was_wrong() -> None:
    line = "slipway train 'my run' --text 'a b' c --labels x --resume"
    fixed = errors.with_options(line, ["--text", "d e", "--label", "f"])
    assert fixed == "slipway train 'my run' --labels x --resume --text 'd e' --label f"


def test_of_many_files_that_did_not_fit_the_first_is_named() -> None:
    found = shutil.Error([("a", "runs/x/.bundle.building-12/a", "[Errno 28] No space left on device: 'a'")])
    with pytest.raises(shutil.Error) as raised, errors.named(Path("runs/x")):
        raise found
    told = errors.storage_error(raised.value, "slipway export runs/x")
    assert told
    assert (told.where, "the disk is full" in told.summary, told.exit_code) == ("runs/x/bundle/a", True, 74)
