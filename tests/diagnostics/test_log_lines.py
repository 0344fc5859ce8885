"""log.jsonl as strangers, copies and full disks leave it: read by a resumed run, doctor and the model's facts."""

from __future__ import annotations

import os

import pytest

from d3pm_image.config import ConfigError
from d3pm_image.diagnostics.run import read_log
from d3pm_image.training.monitor import LONGEST_LINE, Monitor

GOOD = [
    b'{"step": 1, "loss": 2.0, "seconds": 1.5}',
    b'{"step": 20, "loss": 1.0}',
    b'{"step": 20, "val_score": 3}',
]
BAD = {
    "a number": b"5",
    "a list": b"[1]",
    "a text": b'"step"',
    "null": b"null",
    "no text": b'{"step": 3, "loss": "\xff\xfe"}',
    "half a line": b'{"step": 3, "lo',
    "a step that is a text": b'{"step": "3", "loss": 1}',
    "a step that is a list": b'{"step": [3], "loss": 1}',
    "a step that is true": b'{"step": true, "loss": 1}',
    "a fraction": b'{"step": 1.5, "loss": 1}',
    "infinity": b'{"step": Infinity, "loss": 1}',
    "a step below 0": b'{"step": -3, "loss": 1}',
    "nested": b"[" * 100_000,
    "digits": b'{"step": ' + b"9" * 10_000 + b"}",
    "too long": b'{"step": 3, "loss": 1, "x": "' + b"y" * 2 * LONGEST_LINE + b'"}',
    "exactly too long": b'{"step": 3, "x": "' + b"y" * (LONGEST_LINE - 20) + b'"}',
    "zeros": b"\0" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_line_that_is_none_is_left_out_and_counted(bad, place, tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    lines = [*GOOD[:place], bad, *GOOD[place:]]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    log = read_log(path)
    assert (len(log.steps), len(log.validations), log.damaged) == (2, 1, [place + 1])
    Monitor(tmp_path, True, first_step=20).close()
    assert path.read_bytes() == b"".join(line + b"\n" for line in GOOD)
    assert capsys.readouterr().err == f"{path}: 1 line that cannot be read left out\n"


def test_a_log_that_is_no_file_is_refused(tmp_path):
    """A pipe would be waited for for ever."""
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(ConfigError, match="is not a regular file"):
        Monitor(tmp_path, True)
    log = read_log(tmp_path / "log.jsonl")
    assert log.steps == []
