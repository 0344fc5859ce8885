"""Models that are given away: packaged folders, their cards, names, the hub."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from d3pm_image import Pipeline
from d3pm_image.cli import main
from d3pm_image.config import ConfigError
from d3pm_image.hub import SHIPPED, locate, shipped


@pytest.fixture(scope="module")
def packaged(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("packaged") / "digits"
    main(
        [
            "package",
            str(trained / "diffusion"),
            "--out",
            str(out),
            "--note",
            "Made for a test.",
            "--licence",
            "mit",
        ]
    )
    return out


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_a_packaged_model_is_half_as_large_and_draws_nearly_the_same(packaged, trained):
    assert size(packaged) < 0.6 * size(trained / "diffusion" / "model")
    whole, half = Pipeline.from_pretrained(trained / "diffusion"), Pipeline.from_pretrained(packaged)
    assert next(half.denoiser.parameters()).dtype == torch.float32
    x = torch.randint(whole.process.num_codes, (2, 16), generator=torch.Generator().manual_seed(0))
    asked = x, torch.full((2,), 0.5), torch.tensor([1, 2]), whole.grid
    torch.testing.assert_close(half.predict(*asked), whole.predict(*asked), atol=0.02, rtol=0.02)
    again = Pipeline.from_pretrained(half.save_pretrained(packaged.parent / "again"))
    assert torch.equal(half.generate_codes(4, steps=3), again.generate_codes(4, steps=3))


def test_the_card_says_what_the_model_remembers_and_no_folder_of_this_machine(packaged, trained):
    text = (packaged / "README.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "mit" and yaml.safe_load(head)["datasets"] == ["digits"]
    assert "# digits" in body and "Made for a test." in body and 'from_pretrained("digits")' in body
    assert "60 steps" in body and "uniform_share: 0.1" in body and "![samples](samples.jpg)" in body
    everything = "".join(
        path.read_text(encoding="utf-8") for path in packaged.rglob("*") if path.suffix in (".json", ".md")
    )
    assert str(trained) not in everything
    settings = body.split("```yaml\n# d3pm-image train-diffusion --config FILE\n")[1].split("```")[0]
    assert yaml.safe_load(settings)["denoiser"]["width"] == 32


def test_scores_go_into_the_card_of_the_model_they_are_of(packaged, trained, tmp_path):
    found = tmp_path / "scores.json"
    main(["evaluate", str(packaged), "--num-samples", "40", "--out", str(found)])
    out = tmp_path / "scored"
    main(["package", str(packaged), "--out", str(out), "--evaluation", str(found)])
    text = (out / "README.md").read_text(encoding="utf-8")
    kept = json.loads(found.read_text())["samples"]
    assert (
        f"{kept['fidelity']['frechet_distance']:.3g}" in text
        and f"{kept['label_accuracy']:.1%}" in text
        and "40 samples" in text
    )
    with pytest.raises(SystemExit):  # full precision: other weights
        main(
            [
                "package",
                str(trained / "diffusion"),
                "--out",
                str(tmp_path / "other"),
                "--evaluation",
                str(found),
            ]
        )
    assert not (tmp_path / "other").exists()


def test_a_folder_with_other_things_is_left_alone(trained, tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(SystemExit):
        main(["package", str(trained / "diffusion"), "--out", str(tmp_path)])
    assert "holds other files" in capsys.readouterr().err and [p.name for p in tmp_path.iterdir()] == [
        "letter.txt"
    ]


def test_names_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert locate(tmp_path) == tmp_path
    for missing in ("no-such-model", "./no/folder", str(tmp_path / "none")):
        with pytest.raises(ConfigError, match="no such folder; name a trained model"):
            locate(missing)


def test_a_hub_id_is_fetched_by_the_hubs_own_client(packaged, monkeypatch, tmp_path):
    import huggingface_hub

    asked = {}

    def fetch(repository, revision=None, allow_patterns=None):
        asked.update(repository=repository, revision=revision, patterns=allow_patterns)
        return str(packaged)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert len(Pipeline.from_pretrained("someone/digits@v1").generate(2, steps=2)) == 2
    assert asked["repository"] == "someone/digits" and asked["revision"] == "v1"
    assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in asked["patterns"]), (
        "weights and words only"
    )

    def refuse(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no way to the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ConfigError, match="the hub did not give it"):
        locate("someone/digits")


def test_pushing_uploads_the_folder(packaged, monkeypatch):
    import huggingface_hub

    seen = {}

    class Client:
        def create_repo(self, repository, private, exist_ok):
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repository}")

        def upload_folder(self, repo_id, folder_path, allow_patterns):
            from pathlib import Path

            seen.update(id=repo_id, files=sorted(p.name for p in Path(folder_path).rglob("*") if p.is_file()))

    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    address = Pipeline.from_pretrained(packaged).push_to_hub("someone/digits", half=True)
    assert address.endswith("someone/digits") and seen["id"] == "someone/digits"
    assert seen["files"].count("model.safetensors") == 2


def test_shipped_models_work_offline_and_stay_as_they_are(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "fashion-mnist" in shipped()
    sizes = [sum(p.stat().st_size for p in (SHIPPED / name).rglob("*") if p.is_file()) for name in shipped()]
    assert max(sizes) < 16e6 and sum(sizes) < 34e6, dict(zip(shipped(), sizes, strict=True))
    for name in shipped():
        folder = SHIPPED / name
        assert (folder / "README.md").is_file() and (folder / "samples.jpg").is_file()
        pipe = Pipeline.from_pretrained(name)
        images = pipe.generate(2, steps=2)
        assert images[0].size == pipe.image_size[::-1] and not np.array_equal(*map(np.asarray, images))
        with pytest.raises(SystemExit):
            main(["tune", name])
        assert "came with the package" in capsys.readouterr().err
