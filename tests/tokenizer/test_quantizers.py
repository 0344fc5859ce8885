"""Six quantizers behind one adapter: exact round trips, float32 whatever the precision, settings that are read, one codebook everywhere."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
import yaml
from helpers.quantizers import SMALL, features, network, small, started
from torch.nn import functional as F

from d3pm_image.cli.parsing import parse
from d3pm_image.config import ConfigError, DiffusionRun, TokenizerConfig, TokenizerRun, migrated
from d3pm_image.data.identity import Identity
from d3pm_image.recipes.arguments import run_settings
from d3pm_image.recipes.resuming import Images, RunIdentity
from d3pm_image.recipes.settings import save_resolved
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.bits import coin_entropy, entropy_loss, group_entropy
from d3pm_image.tokenizer.quantizers import BSQ, EMA, FSQ, LFQ, QUANTIZERS, Cosine, Quantizer, SimVQ


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_to_features_to_codes_is_exact_for_every_code(name):
    """FSQ takes features before its tanh: there the code's values are led back through the inverse of the bound."""
    quantizer = started(small(name))
    codes = torch.arange(quantizer.settings.num_codes).view(1, 1, -1)
    vectors = quantizer.lookup(codes)
    assert (
        vectors.shape == (1, quantizer.settings.vector_dim, 1, codes.numel())
        and vectors.dtype == torch.float32
    )
    given = vectors
    if name == "fsq":
        values = torch.tensor(quantizer.settings.levels).view(1, -1, 1, 1)
        half, offset = (values - 1) * 1.001 / 2, torch.where(values % 2 == 0, 0.5, 0.0)
        given = ((vectors * (values // 2) + offset) / half).atanh() - (offset / half).atanh()
    again = quantizer(given)
    assert torch.equal(again[1], codes)
    assert torch.equal(again[0], vectors)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_a_pass_gives_is_what_its_codes_give(name):
    quantizer = started(small(name))
    quantized, codes, loss = quantizer(features(quantizer.settings, 2, 8, seed=5))
    assert torch.equal(quantized, quantizer.lookup(codes))
    assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < quantizer.settings.num_codes
    assert codes.unique().numel() > 4 and float(loss) == 0


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("training", [False, True])
def test_bf16_autocast_changes_nothing(name, training):
    quantizer = started(small(name))
    given = features(quantizer.settings, 4, 32)
    results = []
    for enabled in (False, True):
        copy = started(small(name)).train(training)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            torch.manual_seed(3)
            results.append(
                [*copy(given), copy.lookup(torch.arange(16).view(1, 4, 4)), *copy.state_dict().values()]
            )
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_gradients_pass_to_the_features(name):
    """Straight through (or rotated), and the quantizer's own loss pulls features towards their codes where it has one."""
    quantizer = started(small(name)).train()
    given = features(quantizer.settings, 2, 4).requires_grad_()
    quantized, _, loss = quantizer(given)
    (through,) = torch.autograd.grad(
        (quantized * torch.randn(quantized.shape)).sum(), given, retain_graph=True
    )
    assert torch.isfinite(through).all() and (through.abs().sum(1) > 0).all()
    if "commitment" in QUANTIZERS[name].types():
        (own,) = torch.autograd.grad(loss, given)
        assert torch.isfinite(own).all() and float(own.abs().sum()) > 0


@pytest.mark.parametrize("name", ["ema", "cosine", "simvq"])
def test_the_nearest_code_is_taken(name):
    quantizer = started(small(name))
    given = features(quantizer.settings, 2, 8)
    flat, book = (
        given.permute(0, 2, 3, 1).double(),
        quantizer.lookup(torch.arange(16).view(1, 1, 16))[0, :, 0].T.double(),
    )
    similar = F.normalize(flat, dim=-1) @ book.T if name == "cosine" else -torch.cdist(flat, book)
    assert (quantizer(given)[1] == similar.argmax(-1)).double().mean() > 0.99
    assert name != "cosine" or torch.allclose(
        book.norm(dim=1), torch.ones(16, dtype=torch.float64), atol=1e-5
    )


CHANGES = {
    "num_codes": 8,
    "code_dim": 5,
    "decay": 0.5,
    "commitment": 1.5,
    "revive_below": 0.9,
    "rotation_trick": True,
    "levels": (5, 4, 3),
    "entropy": 0.7,
}


@pytest.mark.parametrize(
    "name, field", [(name, field) for name, kind in QUANTIZERS.items() for field in kind.types()]
)
def test_every_setting_that_a_quantizer_reads_changes_its_training(name, field):
    def trained(quantizer: Quantizer) -> list[torch.Tensor]:
        module = started(quantizer, vectors_a_step=1600).train()
        given = features(quantizer, 1, 8, seed=2).requires_grad_()
        for _ in range(3):
            torch.manual_seed(1)
            quantized, codes, loss = module(given)
        (gradient,) = torch.autograd.grad(quantized.square().sum() + loss, given)
        return [gradient, loss.detach(), codes, *module.state_dict().values()]

    plain, changed = trained(small(name)), trained(small(name, **{field: CHANGES[field]}))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(plain, changed, strict=True))


@pytest.mark.parametrize(
    "name, field",
    [(name, field) for name, kind in QUANTIZERS.items() for field in CHANGES if field not in kind.types()],
)
def test_a_setting_that_the_quantizer_does_not_have_is_refused(name, field):
    with pytest.raises(
        ConfigError,
        match=rf"^tokenizer\.quantizer\.{field}=.*the quantizer {name} has no such setting; .* ha(s|ve) it",
    ):
        small(name, **{field: CHANGES[field]})


def test_a_wrong_setting_names_the_quantizers_that_have_it_and_the_nearest_name():
    with pytest.raises(ConfigError, match=r"levels=.*the quantizer ema has no such setting; fsq has it$"):
        QUANTIZERS.make("ema", levels=(8, 8))
    with pytest.raises(ConfigError, match=r"comitment=.*no quantizer has it \(did you mean commitment\?\)"):
        QUANTIZERS.make("lfq", comitment=1)


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("fsq", {"levels": (2, 256)}, r"levels=\(2, 256\): give 3 values"),
        ("fsq", {"levels": ()}, r"levels=\(\): give 3 values"),
        ("fsq", {"levels": 5}, "levels=5: give 3 values"),
        ("fsq", {"levels": (300, 300)}, r"levels=\[300, 300\]: make 90000 codes; at most 65535"),
        (
            "lfq",
            {"num_codes": 1000},
            "num_codes=1000: lfq has one bit per coordinate: use a power of 2, such as 1024",
        ),
        ("bsq", {"num_codes": 65000}, "such as 32768"),
        ("residual", {}, "quantizer='residual': use one of"),
        (["fsq"], {}, r"quantizer=\['fsq'\]: use one of"),
    ],
)
def test_codebooks_that_cannot_be_are_refused(name, changes, words):
    with pytest.raises(ConfigError, match=words):
        QUANTIZERS.make(name, **changes)


def test_settings_hold_where_their_quantizer_is_asked_for():
    begun = EMA(num_codes=64, decay=0.5)
    assert QUANTIZERS.change(begun, decay=0.9) == EMA(num_codes=64, decay=0.9)
    assert QUANTIZERS.change(begun, name="cosine", num_codes=32) == Cosine(num_codes=32)


@pytest.mark.parametrize("name, width", [("ema", 4), ("simvq", 4), ("fsq", 3), ("lfq", 4), ("bsq", 4)])
def test_the_encoder_gives_what_the_quantizer_takes(name, width):
    assert small(name).vector_dim == width
    model = Autoencoder(network(name), 1).eval()
    assert model.encoder(torch.zeros(1, 1, 8, 8)).shape == (1, width, 4, 4)


# the entropy of bits


def all_codes(logits: torch.Tensor) -> torch.Tensor:
    """p(code | u) for every code, by the definition: a product of one coin a bit."""
    count = logits.shape[1]
    rows = []
    for code in range(2**count):
        bits = torch.tensor([(code >> i) & 1 for i in range(count)], dtype=torch.bool)
        rows.append(torch.where(bits, logits.sigmoid(), 1 - logits.sigmoid()).prod(1))
    return torch.stack(rows, 1)


def test_the_entropy_loss_is_that_of_all_codes():
    given = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = all_codes(3 * given)
    entropy = lambda q: -torch.special.xlogy(q, q).sum(-1)  # noqa: E731
    torch.testing.assert_close(entropy_loss(given, 3.0, False), entropy(p).mean() - entropy(p.mean(0)))
    torch.testing.assert_close(coin_entropy(3 * given).sum(1), entropy(p))


def test_the_entropy_loss_is_lowest_where_bits_are_sure_and_codes_even():
    every = torch.tensor([[1.0 if code >> i & 1 else -1.0 for i in range(4)] for code in range(16)])
    best = float(entropy_loss(every, 100.0, False))
    assert best == pytest.approx(-math.log(16), abs=1e-4)
    assert float(entropy_loss(every * 0, 100.0, False)) == pytest.approx(0, abs=1e-5)  # nothing is sure
    assert float(entropy_loss(every[:1].expand(16, 4), 100.0, False)) == pytest.approx(
        0, abs=1e-4
    )  # one code is used
    torch.manual_seed(0)
    assert all(best <= float(entropy_loss(torch.randn(16, 4), 4.0, False)) <= 1e-6 for _ in range(20))


def test_entropy_by_groups_bounds_the_joint_one_and_is_exact_for_independent_bits():
    torch.manual_seed(0)
    logits = torch.randn(50, 6)
    assert float(group_entropy(logits, False)) <= float(
        group_entropy(logits[:, :3], False) + group_entropy(logits[:, 3:], False)
    )
    same = logits[:1].expand(50, 6)
    torch.testing.assert_close(group_entropy(same, False), coin_entropy(same[0]).sum())
    many = torch.randn(4, 12)  # 4096 codes: two groups
    torch.testing.assert_close(
        entropy_loss(many, 1.0, False),
        coin_entropy(many).sum(1).mean()
        - group_entropy(many[:, :6], False)
        - group_entropy(many[:, 6:], False),
    )


# folders


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
    assert TokenizerConfig.from_values(NETWORK | given) == config
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
    assert again.config == model.config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_checkpoint_of_version_0_1_0_is_compared_with_what_it_recorded(tmp_path):
    """Its settings are flat; another value of one is refused under its name of today."""
    images = Images("a", (), Identity("a"))

    def identity(quantizer: Quantizer) -> RunIdentity:
        config = TokenizerRun(tokenizer=TokenizerConfig(quantizer=quantizer))
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


# more than one process


def test_every_quantizer_has_a_row_and_says_what_it_is():
    assert set(SMALL) == set(QUANTIZERS) and set(CHANGES) == set(QUANTIZERS.types())
    for kind in QUANTIZERS.values():
        assert kind.__doc__ and set(kind.describe()) == set(kind.types())
