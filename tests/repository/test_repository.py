"""The repository's own files: workflows and forms fit their schemas, and no path or version contradicts another."""

from __future__ import annotations

import tomllib

import yaml
from helpers.paths import ROOT

import d3pm_image


def test_workflows_name_scripts_extras_and_versions_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert "scripts/wheel.sh" in text and (ROOT / "scripts/wheel.sh").is_file()
    assert ".[test]" in text and "test" in project["optional-dependencies"]
    oldest = project["requires-python"].removeprefix(">=")
    versions = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"][
        "tests"
    ]["strategy"]["matrix"]
    assert versions["python"][0] == oldest and versions["python"] == sorted(
        versions["python"], key=lambda v: int(v.split(".")[1])
    )
    assert {name.split("-")[0] for name in versions["os"]} == {"ubuntu", "macos", "windows"}


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == d3pm_image.__version__ and cited["license"] == "Apache-2.0"


def test_issue_forms_ask_for_something():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert (
            form["name"]
            and form["description"]
            and len({item["id"] for item in form["body"]}) == len(form["body"])
        ), path
    assert len(forms) == 2
