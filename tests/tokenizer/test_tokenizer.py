"""The tokenizer: shapes at every downsampling, codes that do not depend on precision or mode, and its folder."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.tokenizers import LEVELS, small, started

from d3pm_image.config import ConfigError, TokenizerConfig, TokenizerLossConfig
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.loss import reconstruction_loss
from d3pm_image.tokenizer.quantizer import QuantizerModule
from d3pm_image.tokenizer.quantizers import EMA


def make_images(count: int, channels: int, height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("downsampling", LEVELS)
def test_shapes_at_every_downsampling(downsampling, channels):
    """Rectangles of other sizes than the training ones too; one cell is the smallest image."""
    model = started(small(downsampling), channels)
    f = downsampling
    for height, width in [(32, 32), (16, 48), (3 * f, f), (f, f)]:
        images = make_images(2, channels, height, width)
        codes = model.encode(images)
        assert codes.shape == (2, height // f, width // f) == (2, *model.config.grid((height, width)))
        assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < 16
        decoded = model.decode(codes)
        assert decoded.shape == images.shape and decoded.dtype == torch.float32
        assert decoded.min() >= 0 and decoded.max() <= 1
        assert torch.equal(model.encode(images), codes) and torch.equal(model.decode(codes), decoded)


def test_training_pass_and_decoding_agree():
    """forward() in eval mode is decode(encode()) before the clamp."""
    model = started(small())
    images = make_images(2, 3, 16, 24)
    output, codes, _ = model(images)
    assert torch.equal(codes, model.encode(images))
    torch.testing.assert_close(output.clamp(0, 1), model.decode(codes), atol=1e-5, rtol=0)


def test_codes_are_the_nearest_codebook_vectors():
    model = started(small())
    images = make_images(2, 3, 32, 32)
    features = model.encoder(images * 2 - 1).permute(0, 2, 3, 1)
    nearest = torch.cdist(features.double(), model.quantizer.vq.codebook.double()).argmin(-1)
    assert (model.encode(images) == nearest).float().mean() >= 0.999
    assert nearest.unique().numel() > 4


def test_images_of_a_batch_do_not_touch_each_other():
    model = started(small())
    images = make_images(5, 3, 16, 16)
    assert torch.equal(torch.cat([model.encode(i[None]) for i in images]), model.encode(images))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_decoded_image_does_not_depend_on_its_batch(threads):
    """To the last bit; with images of this size, convolutions of other numbers of images differ on 1, 2 and 4 threads."""
    model = started(TokenizerConfig(width=16, quantizer=EMA(num_codes=64, code_dim=8)))
    codes = torch.randint(64, (7, 24, 24), generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(threads)
    try:
        together = model.decode(codes)
        for size in (1, 3, 5):
            assert torch.equal(model.decode(codes[:size]), together[:size]), size
    finally:
        torch.set_num_threads(1)


def test_codes_under_bf16_autocast_are_those_in_float32():
    """encode() exactly; the quantizer alone on equal features as well, which the library does not do by itself on a CPU."""
    model = started(small(num_codes=64, code_dim=8))
    images = make_images(8, 3, 64, 64)
    features = model.encoder(images * 2 - 1).detach()
    plain, quantized = model.encode(images), model.quantizer(features)[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert (model.encode(images) == plain).float().mean() >= 0.999
        assert (model.quantizer(features)[1] == quantized).float().mean() >= 0.999
        assert model.decode(plain).dtype == torch.float32


@pytest.mark.parametrize("size", [(30, 32), (32, 30), (2, 32)])
def test_sides_that_do_not_divide_are_refused(size):
    with pytest.raises(ConfigError, match=r"not divisible by tokenizer\.downsampling=4; use"):
        started(small()).encode(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4, 8, 8), (3, 8, 8), (1, 3, 8)])
def test_wrong_channels_are_refused(shape):
    with pytest.raises(ConfigError, match=r"images=.*give \(B, 3, h, w\)"):
        started(small()).encode(torch.zeros(shape))


@pytest.mark.parametrize("code", [-1, 16, 10**6])
def test_codes_out_of_range_are_refused_by_value(code):
    codes = torch.full((1, 2, 2), 3)
    codes[0, 1, 0] = code
    with pytest.raises(ConfigError, match=rf"codes={code}: codes must lie in 0\.\.15"):
        started(small()).decode(codes)


def test_no_images_give_no_codes():
    model = started(small())
    assert model.decode(torch.zeros(0, 2, 2, dtype=torch.long)).shape == (0, 3, 8, 8)


def test_eval_never_changes_the_codebook():
    model = started(small(), vectors_a_step=1000)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model(make_images(2, 3, 16, 16))
    model.decode(model.encode(make_images(2, 3, 16, 16)))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_encoding_in_training_mode_is_a_mistake():
    with pytest.raises(AssertionError, match="eval"):
        started(small()).train().encode(make_images(1, 3, 8, 8))


def test_training_moves_the_codebook_to_the_mean_of_its_features():
    """With decay d, code k moves to the count-weighted mean of where it was and what it was given."""
    torch.manual_seed(0)
    quantizer = QuantizerModule(EMA(num_codes=2, code_dim=1, decay=0.9))
    quantizer(torch.tensor([-1.0, -1, 1, 1]).view(1, 1, 2, 2))
    for _ in range(300):
        quantizer(torch.tensor([-1.5, -0.5, 2, 2.2]).view(1, 1, 2, 2))
    torch.testing.assert_close(
        quantizer.vq.codebook.sort(0).values, torch.tensor([[-1.0], [2.1]]), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("revive_below, alive", [(0.1, True), (0.0, False)])
def test_dead_codes_are_revived_in_training(revive_below, alive):
    """Half of the codebook is put where no feature comes; it returns only where reviving is on."""
    torch.manual_seed(0)
    quantizer = QuantizerModule(
        EMA(num_codes=8, code_dim=2, decay=0.5, revive_below=revive_below), vectors_a_step=256
    )
    features = torch.randn(1, 2, 16, 16)
    quantizer(features)
    with torch.no_grad():
        quantizer.vq.codebook.copy_(
            torch.where(torch.arange(8)[:, None] < 4, torch.full((8, 2), 100.0), quantizer.vq.codebook)
        )
        quantizer.vq._codebook.embed_avg[:, :4] = 100 * quantizer.vq._codebook.cluster_size[:, :4, None]
    for _ in range(10):
        quantizer(features)
    used = quantizer(features)[1].unique().numel()
    assert (used == 8) if alive else (used == 4)


@pytest.mark.parametrize("rotation_trick", [False, True])
def test_gradients_reach_the_encoder_through_the_codes(rotation_trick):
    model = started(small(rotation_trick=rotation_trick)).train()
    output, _, _ = model(make_images(2, 3, 16, 16))
    output.square().mean().backward()
    gradients = [p.grad for p in model.encoder.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_a_tokenizer_learns():
    """A few steps lower the error on fixed images: every part of the road carries its gradient."""
    torch.manual_seed(0)
    model = Autoencoder(small(2, num_codes=32), 1, vectors_a_step=16 * 16)
    images = (make_images(16, 1, 8, 8) > 0.5).float() * torch.linspace(0.2, 1, 16)[:, None, None, None]
    optimizer, errors = torch.optim.Adam(model.parameters(), 3e-3), []
    for _ in range(60):
        output, _, commitment = model(images)
        loss = reconstruction_loss(output, images, TokenizerLossConfig())[0] + commitment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float((output - images).detach().square().mean()))
    assert errors[-1] < 0.6 * errors[0]


# folder


@pytest.fixture
def saved(tmp_path):
    model = started(small(), 1)
    save_tokenizer(model, tmp_path / "tok", (24, 32), {"note": "Ü", "score": 0.5})
    return model, tmp_path / "tok"


def test_a_saved_tokenizer_is_the_same(saved):
    model, place = saved
    again, info = load_tokenizer(place)
    assert not again.training and again.config == model.config
    assert info.image_size == (24, 32) and info.channels == 1 and info.metadata == {"note": "Ü", "score": 0.5}
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    images = make_images(2, 1, 24, 32)
    assert torch.equal(model.encode(images), again.encode(images))
    assert torch.equal(model.decode(model.encode(images)), again.decode(again.encode(images)))


def test_the_hash_tells_tokenizers_apart(saved, tmp_path):
    model, place = saved
    save_tokenizer(model, tmp_path / "same", 24)
    with torch.no_grad():
        model.encoder[1].bias += 1
    save_tokenizer(model, tmp_path / "other", 24)
    first, same, other = (load_tokenizer(p)[1].sha256 for p in (place, tmp_path / "same", tmp_path / "other"))
    assert first == same != other


@pytest.mark.parametrize("inside", ["run/model", "run/tokenizer", "run/model/tokenizer"])
def test_a_run_or_pipeline_folder_will_do(saved, tmp_path, inside):
    model, place = saved
    (tmp_path / inside).parent.mkdir(parents=True, exist_ok=True)
    place.rename(tmp_path / inside)
    assert load_tokenizer(tmp_path / "run")[0].config == model.config


def test_folders_without_a_tokenizer_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"tokenizer='.*none': no such folder"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no trained tokenizer; name"):
        load_tokenizer(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match="its training has not ended; go on with --resume true"):
        load_tokenizer(tmp_path)


def edit(path, change) -> None:
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


DAMAGES = {
    "no weights": lambda p: (p / "model.safetensors").unlink(),
    "cut weights": lambda p: (p / "model.safetensors").write_bytes(
        (p / "model.safetensors").read_bytes()[:-100]
    ),
    "empty weights": lambda p: (p / "model.safetensors").write_bytes(b""),
    "a flipped byte": lambda p: (p / "model.safetensors").write_bytes(
        (p / "model.safetensors").read_bytes()[:-1] + b"\x7f"
    ),
    "cut config": lambda p: (p / "config.json").write_text((p / "config.json").read_text()[:50]),
    "no network": lambda p: edit(p / "config.json", lambda raw: raw.pop("tokenizer")),
    "no channels": lambda p: edit(p / "config.json", lambda raw: raw.pop("channels")),
    "no size": lambda p: edit(p / "config.json", lambda raw: raw.pop("image_size")),
    "unknown setting": lambda p: edit(p / "config.json", lambda raw: raw["tokenizer"].update(colour=1)),
    "impossible setting": lambda p: edit(p / "config.json", lambda raw: raw["tokenizer"].update(width=9)),
    "another width": lambda p: edit(p / "config.json", lambda raw: raw["tokenizer"].update(width=16)),
    "another codebook": lambda p: edit(
        p / "config.json", lambda raw: raw["tokenizer"]["quantizer"].update(num_codes=8)
    ),
    "other channels": lambda p: edit(p / "config.json", lambda raw: raw.update(channels=3)),
    "a later version": lambda p: edit(p / "config.json", lambda raw: raw.update(version=2)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(saved, damage):
    DAMAGES[damage](saved[1])
    with pytest.raises(ConfigError, match=r"^tokenizer") as caught:
        load_tokenizer(saved[1])
    assert "\n" not in str(caught.value)
