"""What is measured of a tokenizer: figures by hand, the same for any batch size, each image read once, and the worst ones found."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from helpers.damage import truncate
from helpers.image_files import noisy_folder
from helpers.image_sets import image_set, noisy
from helpers.tokenizers import small, started

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet
from d3pm_image.evaluation.reconstruction import Distance, Space, Worst, evaluate_tokenizer
from d3pm_image.evaluation.samples import SampleEvaluator, evenly
from d3pm_image.metrics.fidelity import frechet_distance
from d3pm_image.metrics.reconstruction import reconstruction_error
from d3pm_image.tokenizer.similarity import structural_similarity


class Halves:
    """A tokenizer of 4 codes per image that gives back its first row's mean in every pixel, and counts the images it is given."""

    num_codes, downsampling, channels = 256, 4, 1

    def __init__(self):
        self.encoded, self.decoded = 0, 0

    def encode(self, images):
        self.encoded += len(images)
        return (images[:, 0, 0].mean(1) * 255).long().view(-1, 1, 1).expand(-1, 2, 2)

    def decode(self, codes):
        self.decoded += len(codes)
        return (codes[:, :1, :1, None].float() / 255).permute(0, 3, 1, 2).expand(-1, 1, 8, 8)


# figures


def test_both_kinds_of_psnr_and_the_absolute_error_by_hand():
    """Two images, 20 dB and 40 dB: the mean of both is 30, that of the mean error is nearly that of the worse one."""
    images = torch.tensor([0.1, 0.01]).view(2, 1, 1, 1).expand(2, 1, 8, 8)

    class Black(Halves):
        def decode(self, codes):
            return torch.zeros(len(codes), 1, 8, 8)

    values = reconstruction_error(Black(), lambda i: images[i], 2)
    assert values["mean_psnr_db"] == pytest.approx(30, rel=1e-6)
    assert values["psnr_db"] == pytest.approx(-10 * np.log10((0.01 + 0.0001) / 2), rel=1e-6)
    assert values["mae"] == pytest.approx(0.055, rel=1e-6)
    assert values["ssim"] == pytest.approx(
        np.mean([1e-4 / (m**2 + 1e-4) for m in (0.1, 0.01)]), rel=1e-3
    )  # flat: brightness alone


def test_laws_of_the_errors():
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    values = reconstruction_error(Halves(), lambda i: images[i], 9, batch_size=4)
    assert (
        values["mean_psnr_db"] > values["psnr_db"]
    )  # Jensen: the logarithm of a mean is below the mean of logarithms' negatives
    assert values["mae"] ** 2 < values["mse"]
    assert values["mse_p10"] < values["mse_p50"] < values["mse_p90"] < values["mse_p99"]


def test_exact_reconstructions():
    from d3pm_image.tokenizer import Pixels

    images = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    values = reconstruction_error(Pixels(256, 1).eval(), lambda i: images[i], 5)
    assert values["mse"] < 1e-14 and values["mae"] < 1e-7
    assert values["psnr_db"] == values["mean_psnr_db"] == 120
    assert values["ssim"] == pytest.approx(1) and values["contrast"] == pytest.approx(1)


def test_ssim_is_that_of_scikit_image():
    """Its formula, written with scipy's own Gaussian filter: sigma 1.5 cut at 3.5 sigma, population covariance, the border left out."""
    filters = pytest.importorskip("scipy.ndimage")
    random = np.random.default_rng(0)
    a = random.random((24, 31))
    b = np.clip(a + 0.2 * random.standard_normal(a.shape), 0, 1)

    def mean(x):
        return filters.gaussian_filter(x, 1.5, truncate=3.5)

    u_a, u_b = mean(a), mean(b)
    v_a, v_b, v_ab = mean(a * a) - u_a**2, mean(b * b) - u_b**2, mean(a * b) - u_a * u_b
    found = ((2 * u_a * u_b + 1e-4) * (2 * v_ab + 9e-4)) / ((u_a**2 + u_b**2 + 1e-4) * (v_a + v_b + 9e-4))
    ours = structural_similarity(*(torch.from_numpy(x)[None, None] for x in (a, b)))
    assert float(ours) == pytest.approx(found[5:-5, 5:-5].mean(), abs=1e-5)


# one pass


def test_figures_do_not_depend_on_the_batch_size():
    """All of them, with a real network: six digits."""
    held_out, tokenizer = image_set(noisy(45, 32)), started(small(), 1)

    def features(images):
        return images.float().div(255).flatten(1)[:, ::97]

    found = [
        evaluate_tokenizer(tokenizer, held_out, "cpu", size, Space(features, "pixels"), worst=True)
        for size in (1, 7, 64)
    ]
    for other in found[1:]:
        assert other.figures.keys() == found[0].figures.keys()
        for name, value in other.figures.items():  # the last of six digits may round either way
            assert value == (
                value if isinstance(value, str) else pytest.approx(found[0].figures[name], rel=2e-5)
            ), name
    assert found[0].figures["reconstruction_frechet_distance"] > 0
    assert [f.worst.listed(held_out.source.names) for f in found[1:]] == [
        found[0].worst.listed(held_out.source.names)
    ] * 2
    assert evaluate_tokenizer(tokenizer, held_out, "cpu", 7).figures.items() <= found[1].figures.items()


def test_each_image_is_encoded_and_decoded_once():
    held_out, tokenizer = image_set(noisy(45, 8)), Halves()
    space = Space(lambda images: images.float().flatten(1)[:, :3], "pixels")
    evaluate_tokenizer(tokenizer, held_out, "cpu", 10, space, worst=True, keep_codes=True)
    assert (tokenizer.encoded, tokenizer.decoded) == (45, 45)


def test_kept_codes_are_those_of_the_images():
    labels = np.arange(45) % 3
    held_out, tokenizer = image_set(noisy(45, 8), labels), Halves()
    found = evaluate_tokenizer(tokenizer, held_out, "cpu", 10, keep_codes=True)
    assert np.array_equal(found.codes, tokenizer.encode(held_out.read(list(range(45)))).flatten(1))
    assert np.array_equal(found.labels, labels)
    assert evaluate_tokenizer(tokenizer, held_out, "cpu", 10).codes is None


def test_the_distance_is_that_of_the_features():
    held_out, tokenizer = image_set(noisy(45, 8)), Halves()
    space = Space(lambda images: images.double().flatten(1)[:, [0, 9, 33]], "three pixels")
    found = evaluate_tokenizer(tokenizer, held_out, "cpu", 10, space).figures
    images = held_out.read(list(range(45)))
    output = (tokenizer.decode(tokenizer.encode(images)) * 255).round()
    expected = frechet_distance(space.features(output), space.features(images * 255))
    assert found["reconstruction_frechet_distance"] == pytest.approx(expected, rel=1e-5)
    assert found["reconstruction_frechet_features"] == "three pixels"
    assert not any("fid" in name.lower() for name in found)
    distance = Distance(space)
    distance.add((images * 255).round().to(torch.uint8), images)
    assert distance.figures()["reconstruction_frechet_distance"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [1, 10, 45])
def test_the_worst_images_are_found(size):
    held_out, tokenizer = image_set(noisy(45, 8)), Halves()
    images = held_out.read(list(range(45)))
    errors = (tokenizer.decode(tokenizer.encode(images)) - images).square().mean((1, 2, 3))
    found = evaluate_tokenizer(tokenizer, held_out, "cpu", size, worst=True).worst
    rows = found.listed(held_out.source.names)
    assert [row["number"] for row in rows] == errors.argsort(descending=True)[:16].tolist()
    assert rows[0]["name"] == f"image {rows[0]['number']}" and rows[0]["mse"] == pytest.approx(
        float(errors.max()), rel=1e-5
    )
    sheet = found.sheet()
    assert sheet.width > 8 * 96 and sheet.height > 4 * 96  # two rows of originals, two of reconstructions
    original = np.asarray(sheet)[2 : 2 + 96, 2 : 2 + 96]
    assert np.array_equal(
        original[::12, ::12], held_out.__getitems__([rows[0]["number"]])["images"][0, 0].numpy()
    )


def test_the_worst_of_few_and_of_equal_images():
    worst = Worst(most=3)
    image = torch.zeros(2, 1, 8, 8)
    worst.add([4, 5], torch.tensor([0.5, 0.5]).double(), image, image)
    worst.add([6, 7], torch.tensor([0.5, 0.7]).double(), image, image)
    assert [row["number"] for row in worst.listed([""] * 8)] == [7, 4, 5]
    alone = Worst()
    alone.add([0], torch.tensor([0.5]).double(), image[:1], image[:1])
    assert alone.sheet().width < 2 * 96 + 20


def test_an_image_that_stands_in_keeps_its_own_name(tmp_path):
    """An unreadable image of a set too large for memory is replaced by the next one; the list names that one."""

    from d3pm_image.data.sources import folder

    noisy_folder(tmp_path, 4)
    truncate(tmp_path / "1.png")
    data = DataConfig("folder", str(tmp_path), image_size=8, channels=1, memory_mb=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held_out = ImageSet(folder(tmp_path), data)
        found = evaluate_tokenizer(Halves(), held_out, "cpu", 2, worst=True)
    assert sorted(row["name"] for row in found.worst.listed(held_out.source.names)) == [
        "0.png",
        "2.png",
        "2.png",
        "3.png",
    ]


# the evaluator of samples


def test_numbers_spread_evenly():
    assert (
        evenly(5, 10).tolist() == [0, 1, 2, 3, 4]
        and evenly(101, 3).tolist() == [0, 50, 100]
        and evenly(9, 1).tolist() == [0]
    )


def test_samples_are_compared_with_held_out_images_of_every_class():
    """Of a set that is sorted by class, as folders are."""
    pytest.importorskip("sklearn")
    random, labels = np.random.default_rng(0), np.repeat(np.arange(4), 30)

    def make_images(labels):
        return (60 * labels[:, None, None] + random.integers(0, 20, (len(labels), 8, 8))).astype(np.uint8)

    train, held_out = (image_set(make_images(labels), labels) for _ in range(2))
    evaluator = SampleEvaluator(train.source, train.config, held_out, "0123")
    some = np.arange(24) % 4
    found = evaluator.measure(torch.from_numpy(make_images(some))[:, None], torch.from_numpy(some))
    assert found["label_accuracy"] == evaluator.accuracy == 1
    assert found["fidelity"]["precision"] > 0.9 and found["fidelity"]["recall"] > 0.9


def test_the_judge_holds_no_more_training_images_than_asked(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr("d3pm_image.evaluation.samples.LEAST_MB", 1)
    labels = np.arange(20_000) % 2
    pixels = np.zeros((20_000, 8, 8), np.uint8) + labels[:, None, None].astype(np.uint8) * 200
    images = image_set(pixels[:100], labels[:100])
    source = ImageSource([""] * 20_000, labels, ("0", "1"), Arrays(pixels), "many")
    evaluator = SampleEvaluator(source, DataConfig(image_size=8, channels=1, memory_mb=1), images, "01")
    assert (
        len(evaluator.training) == 2**20 // 64
        and evaluator.accuracy == 1
        and set(evaluator.training.source.labels.tolist()) == {0, 1}
    )


# the command


def test_the_recorded_command_is_the_one_that_was_given(monkeypatch):
    from d3pm_image.cli import evaluate as command
    from d3pm_image.evaluation import evaluate as work
    from d3pm_image.evaluation.results import command_line

    def measured(args, *_):
        raise ConfigError("command", command_line(args), "seen")

    monkeypatch.setattr(work, "load", lambda args, *_: measured(args))
    with pytest.raises(ConfigError) as seen:
        command.main(["m", "--steps", "8", "--num-samples", "40", "--seed", "2"])
    words = seen.value.value.split()
    assert words[:3] == ["d3pm-image", "evaluate", "m"] and "None" not in words
    assert {("--steps", "8"), ("--num-samples", "40"), ("--seed", "2")} <= set(itertools.pairwise(words))
    with pytest.raises(ConfigError) as seen:
        work.evaluate("m", steps=8, guidance=None)
    assert seen.value.value == "d3pm-image evaluate m --steps 8"
