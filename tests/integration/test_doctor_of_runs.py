"""doctor, and training that goes on, over the files of real runs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from helpers.doctor import doctor, names
from helpers.tiny import TINY_TOKENIZER

from d3pm_image.cli import train_tokenizer
from d3pm_image.diagnostics import examine_run
from d3pm_image.recipes.run_summary import training_facts


def test_values_that_are_no_numbers_harm_nobody(tmp_path):
    lines = [
        {"step": 1, "loss": "much", "seconds": None},
        {"step": 2, "loss": [1], "grad_norm": {}, "seconds": 3.0},
        {"step": 3, "val_score": "x"},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.yaml").write_text("train: {steps: 3}\ntokenizer: {num_codes: 8}\n")
    examine_run(tmp_path, free=10**12)
    metadata = training_facts(tmp_path)
    assert (metadata["steps"], metadata["seconds"]) == (3, 3.0)
    (tmp_path / "log.jsonl").write_bytes(b"5\n[1]\n")
    assert training_facts(tmp_path) == {}


def test_a_run_goes_on_over_a_damaged_log(copied, capsys):
    run = copied / "tokenizer"
    log = run / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b"5\n[1]\n\xff\xfe\n" + before + b'{"step": 7, "lo')
    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(run), "--resume", "true"])
    assert log.read_bytes() == before
    assert "4 lines that cannot be read left out" in capsys.readouterr().err


PLENTY = 10**12


def examined(folder: Path, **more) -> set[str]:
    return names(examine_run(folder, **{"free": PLENTY, **more}))


def test_real_runs_are_silent_and_their_faults_are_found(copied):
    """Finished runs of both stages; then one fault after the other."""
    assert examined(copied / "tokenizer") <= {
        "codebook_collapse"
    }  # a minute's tokenizer may not use its codes yet
    assert examined(copied / "diffusion") <= {"always_clipped"}
    run, before = copied / "diffusion", examined(copied / "diffusion")
    assert examined(run, free=10**6) - before == {"disk_full"}
    shutil.move(run / "best", run / "elsewhere")
    assert examined(run) - before == {"best_missing"}
    shutil.move(run / "elsewhere", run / "best")
    cut(run / "best/model.safetensors")
    assert examined(run) - before == {"weights_damaged"}
    shutil.rmtree(run / "best")
    last = sorted((run / "checkpoints").iterdir())[-1]
    flip_byte(last / "optimizer.safetensors")
    assert examined(run) - before == {"best_missing", "checkpoint_damaged"}
    (last / "state.json").unlink()
    assert examined(run) - before == {"best_missing", "checkpoint_damaged"}
    shutil.rmtree(run / "checkpoints")
    assert examined(run) - before == {"best_missing", "no_checkpoint"}
    (run / "model/tokenizer/model.safetensors").unlink()
    assert examined(run) - before == {"best_missing", "no_checkpoint", "weights_missing"}
    shutil.rmtree(run / "model")
    assert examined(run) - before == {"best_missing", "no_checkpoint", "not_exported"}
    (run / "config.yaml").write_text("a: [", encoding="utf-8")
    assert "settings" in examined(run)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_an_unfinished_run_and_how_to_go_on(copied):
    run = copied / "diffusion"
    shutil.rmtree(run / "model")
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    (run / "log.jsonl").write_text(
        "\n".join(line for line in lines if json.loads(line)["step"] <= 40) + "\n", encoding="utf-8"
    )
    (run / "checkpoints/.step-00000060.1.part").mkdir()
    now = os.stat(run / "log.jsonl").st_mtime
    running = {f.name: f for f in examine_run(run, PLENTY, now + 10)}
    stopped = {f.name: f for f in examine_run(run, PLENTY, now + 10_000)}
    assert not running["unfinished"].wrong and "may still be running" in running["unfinished"].text
    assert stopped["unfinished"].wrong and stopped["unfinished"].hint.startswith(
        "d3pm-image train-diffusion --config"
    )
    assert "--resume true" in stopped["unfinished"].hint and "step 40 of 60" in stopped["unfinished"].text
    assert not stopped["leftovers"].wrong


def test_a_model_folder_is_not_a_run(copied, capsys):
    assert doctor(copied / "diffusion/model") == 2
    assert "name the run" in capsys.readouterr().err
