"""log.jsonl as strangers, copies and full disks leave it: read by a resumed run, doctor and the model's facts."""

from __future__ import annotations

import json
import os

import pytest
from helpers.tiny import TINY_TOKENIZER

from d3pm_image.cli import train_tokenizer
from d3pm_image.config import ConfigError
from d3pm_image.diagnostics import examine_run
from d3pm_image.diagnostics.run import read_log
from d3pm_image.recipes.run_summary import training_facts
from d3pm_image.training.monitor import LONGEST_LINE, Monitor

GOOD = [b'{"step": 1, "loss": 2.0, "seconds": 1.5}', b'{"step": 20, "loss": 1.0}', b'{"step": 20, "val_score": 3}']
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


def test_values_that_are_no_numbers_harm_nobody(tmp_path):
    lines = [
        {"step": 1, "loss": "much", "seconds": None},
        {"step": 2, "loss": [1], "grad_norm": {}, "seconds": 3.0},
        {"step": 3, "val_score": "x"},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.yaml").write_text("train: {steps: 3}\ntokenizer: {num_codes: 8}\n")
    examine_run(tmp_path, free=10**12)
    facts = training_facts(tmp_path, "train-tokenizer")
    assert (facts["steps"], facts["seconds"]) == (3, 3.0)
    (tmp_path / "log.jsonl").write_bytes(b"5\n[1]\n")
    assert training_facts(tmp_path, "train-tokenizer") == {}


def test_a_run_goes_on_over_a_damaged_log(copied, capsys):
    run = copied / "tokenizer"
    log = run / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b"5\n[1]\n\xff\xfe\n" + before + b'{"step": 7, "lo')
    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(run), "--resume", "true"])
    assert log.read_bytes() == before
    assert "4 lines that cannot be read left out" in capsys.readouterr().err


def test_a_log_that_is_no_file_is_refused(tmp_path):
    """A pipe would be waited for for ever."""
    os.mkfifo(tmp_path / "log.jsonl")
    with pytest.raises(ConfigError, match="is no plain file"):
        Monitor(tmp_path, True)
    log = read_log(tmp_path / "log.jsonl")
    assert log.steps == []
