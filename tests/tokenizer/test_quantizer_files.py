"""Settings and weights of quantizers in files, those of the first version among them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import pytest
import torch
import yaml
from helpers.quantizers import network

from d3pm_image.config import ConfigError, DiffusionRun, TokenizerConfig, TokenizerRun, migrated
from d3pm_image.data.identity import Identity
from d3pm_image.parser import parse
from d3pm_image.recipes.arguments import run_settings
from d3pm_image.recipes.resuming import Images, RunIdentity
from d3pm_image.recipes.settings import save_resolved
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.quantizers import BSQ, EMA, FSQ, LFQ, QUANTIZERS, Cosine, Quantizer, SimVQ


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_saved_tokenizer_of_any_quantizer_is_the_same(name, tmp_path):
    torch.manual_seed(0)
    model = Autoencoder(network(name), 1)
    images = torch.rand(4, 1, 16, 16)
    model.eval()(images)
    save_tokenizer(model, tmp_path, 16)
    again, _ = load_tokenizer(tmp_path)
    assert again.config == model.config
    assert (
        torch.equal(again.encode(images), model.encode(images)) and model.encode(images).unique().numel() > 1
    )
    assert torch.equal(again.decode(model.encode(images)), model.decode(model.encode(images)))
    stored = json.loads((tmp_path / "config.json").read_text())["tokenizer"]
    assert stored["quantizer"] == json.loads(json.dumps({"name": name, **model.config.quantizer.settings()}))
    assert stored.keys() == {field.name for field in dataclasses.fields(TokenizerConfig)}


NETWORK = {"downsampling": 2, "width": 8, "multipliers": [1], "blocks": 1}
FIRST = {
    "num_codes": 16,
    "code_dim": 4,
    "decay": 0.99,
    "commitment": 0.25,
    "revive_below": 0.1,
    "rotation_trick": False,
}
ALL = {
    "num_codes": 512,
    "code_dim": 32,
    "levels": [8, 8, 8],
    "decay": 0.99,
    "commitment": 0.25,
    "entropy": 0.05,
    "revive_below": 0.1,
}
OLD = {
    "of the first version": (FIRST, EMA(num_codes=16, code_dim=4)),
    "ema": ({**ALL, "quantizer": "ema", "decay": 0.9}, EMA(decay=0.9)),
    "cosine": (
        {**ALL, "quantizer": "cosine", "code_dim": 8, "revive_below": 0.0},
        Cosine(code_dim=8, revive_below=0.0),
    ),
    "simvq": ({**ALL, "quantizer": "simvq", "rotation_trick": True}, SimVQ(rotation_trick=True)),
    "fsq": ({**ALL, "quantizer": "fsq", "levels": [8, 5, 5, 5], "num_codes": 1000}, FSQ(levels=(8, 5, 5, 5))),
    "fsq as it was": ({**ALL, "quantizer": "fsq"}, FSQ()),
    "lfq": ({**ALL, "quantizer": "lfq", "entropy": 0.7, "num_codes": 64}, LFQ(num_codes=64, entropy=0.7)),
    "bsq": ({**ALL, "quantizer": "bsq", "commitment": 1.0}, BSQ(commitment=1.0)),
    "a name alone": ({"quantizer": "fsq"}, FSQ()),
    "some settings": ({"num_codes": 64}, EMA(num_codes=64)),
    "nothing": ({}, EMA()),
    "of this version": ({"quantizer": {"name": "lfq", "num_codes": 64}}, LFQ(num_codes=64)),
}


@pytest.mark.parametrize("given, expected", OLD.values(), ids=OLD)
def test_every_spelling_of_files_is_read(given, expected, tmp_path):
    """In folders, and in YAML files of settings; twice is once."""
    config = TokenizerConfig(downsampling=2, width=8, multipliers=(1,), quantizer=expected)
    former = replace(config, upsampling="shuffle")  # what there was before files recorded it
    assert TokenizerConfig.from_values(NETWORK | given) == former
    assert TokenizerConfig.from_values(NETWORK | given | {"upsampling": "even"}) == config
    assert migrated(migrated(NETWORK | given)) == migrated(NETWORK | given)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"tokenizer": NETWORK | given}))
    assert (
        parse("train-tokenizer", TokenizerRun, ["--config", str(tmp_path / "run.yaml")]).tokenizer == config
    )
    save_resolved(TokenizerRun(tokenizer=config), tmp_path / "config.yaml")
    assert (
        yaml.safe_load((tmp_path / "config.yaml").read_text())["tokenizer"]["quantizer"]["name"]
        == expected.name
    )
    assert (
        parse("train-tokenizer", TokenizerRun, ["--config", str(tmp_path / "config.yaml")]).tokenizer
        == config
    )


@pytest.mark.parametrize(
    "kind, old", [(TokenizerRun, "tokenizer: {num_codes: 64}"), (DiffusionRun, "sampler: {steps: 4}")]
)
def test_texts_and_numbers_of_an_old_file_stay_what_they_are(kind, old, tmp_path):
    (tmp_path / "run.yaml").write_text(
        f'out: "1e3"\ntrain: {{learning_rate: 1e-4}}\ndata: {{root: "no"}}\n{old}\n'
    )
    run = parse("train", kind, ["--config", str(tmp_path / "run.yaml")])
    assert (run.out, run.train.learning_rate, run.data.root) == ("1e3", 1e-4, "no")


@pytest.mark.parametrize(
    "given, words",
    [
        ({"quantizer": "fsq", "code_dim": 16}, "code_dim=16: the quantizer fsq has no such setting"),
        (
            {"quantizer": "fsq", "levels": [8, 5, 5, 5], "num_codes": 512},
            "num_codes=512: the quantizer fsq has no such setting",
        ),
        ({"quantizer": "lfq", "decay": 0.5}, "decay=0.5: the quantizer lfq has no such setting; .*ema"),
    ],
)
def test_what_an_old_file_could_not_say_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        TokenizerConfig.from_values(given)


def test_all_forms_of_a_quantizer_mean_the_same(tmp_path):
    expected = TokenizerConfig(quantizer=FSQ(levels=(8, 5, 5, 5)))
    (tmp_path / "run.yaml").write_text("tokenizer: {quantizer: {name: fsq, levels: [8, 5, 5, 5]}}")
    typed = ["--tokenizer.quantizer.name", "fsq", "--tokenizer.quantizer.levels", "[8,5,5,5]"]
    for words in (typed, ["--config", str(tmp_path / "run.yaml")]):
        assert parse("train-tokenizer", TokenizerRun, words).tokenizer == expected
    for given in (
        {"quantizer": {"name": "fsq", "levels": [8, 5, 5, 5]}},
        {"quantizer": FSQ(levels=(8, 5, 5, 5))},
        expected,
    ):
        made, _ = run_settings(TokenizerRun, "train_tokenizer", "digits", {}, {"tokenizer": given})
        assert made.tokenizer == expected and expected.num_codes == 1000


OLD_BUFFERS = {f"quantizer.vq._codebook.{name}" for name in ("initted", "cluster_size", "embed_avg", "embed")}


def test_folders_of_the_first_version_load(tmp_path):
    """They knew one quantizer and none of the later settings; the names of its tensors are part of the format."""
    model = Autoencoder(network("ema"), 1).eval()
    model(torch.rand(4, 1, 16, 16))
    save_tokenizer(model, tmp_path, 16)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer": NETWORK | FIRST}))
    assert {k for k in model.state_dict() if k.startswith("quantizer")} == OLD_BUFFERS
    again, _ = load_tokenizer(tmp_path)
    assert again.config == replace(model.config, upsampling="shuffle")
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_checkpoint_of_version_0_1_0_is_compared_with_what_it_recorded(tmp_path):
    """Its settings are flat; another value of one is refused under its name of today."""
    images = Images("a", (), Identity("a"))

    def identity(quantizer: Quantizer) -> RunIdentity:
        config = TokenizerRun(tokenizer=TokenizerConfig(quantizer=quantizer, upsampling="shuffle"))
        return RunIdentity(config, {"tokenizer": dataclasses.asdict(config.tokenizer)}, images, images)

    run = identity(Cosine(code_dim=8))
    saved = run.saved()
    old = {**ALL, "quantizer": "cosine", "code_dim": 8, "rotation_trick": False}
    others = {
        name: value for name, value in saved["settings"].items() if not name.startswith("tokenizer.quantizer")
    }
    flat = json.loads(
        json.dumps(
            saved
            | {
                "tokenizer": old,
                "settings": others | {f"tokenizer.{name}": value for name, value in old.items()},
            }
        )
    )
    for state in (saved, flat, flat | {"settings": {}}, saved | {"settings": {}}):
        run.check(json.loads(json.dumps(state)), tmp_path)
        for other, name in (
            (Cosine(code_dim=8, decay=0.5), "decay"),
            (Cosine(code_dim=4), "code_dim"),
            (EMA(code_dim=8), "name"),
        ):
            with pytest.raises(ConfigError, match=rf"^tokenizer\.quantizer\.{name}="):
                identity(other).check(state, tmp_path)
