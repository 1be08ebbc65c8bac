"""NOTICE tells the truth about what lies in the repository."""

import re
from pathlib import Path

import build_art
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTICE = (ROOT / "NOTICE").read_text(encoding="utf-8")
LICENCES = {
    "LICENSE": ("Apache License", "END OF TERMS AND CONDITIONS"),
    "data/art/licences/OFL-1.1-noto-emoji.txt": (
        "Copyright 2013 Google LLC",
        "SIL OPEN FONT LICENSE Version 1.1",
    ),
    "data/art/licences/MIT-fluent-emoji.txt": ("MIT License", "Copyright (c) Microsoft Corporation."),
    "data/art/licences/MIT-emojibase.txt": ("MIT License", "Copyright (c) 2017 Miles Johnson"),
    "data/art/licences/Unicode-3.0.txt": ("UNICODE LICENSE V3", "Unicode, Inc."),
    "data/fonts/OFL.txt": ("Adobe", "SIL OPEN FONT LICENSE Version 1.1"),
}


def named_paths() -> set[str]:
    return {path.rstrip(".") for path in re.findall(r"\b(?:data|docs|scripts)/[\w./-]+", NOTICE)}


def test_every_file_that_notice_names_exists():
    assert len(named_paths()) >= 10
    assert not [path for path in named_paths() if not (ROOT / path).exists()]


@pytest.mark.parametrize("path", LICENCES)
def test_licence_texts_are_named_and_complete(path):
    assert path in NOTICE
    text = (ROOT / path).read_text(encoding="utf-8")
    assert all(words in text for words in LICENCES[path])
    # The last sentence of each licence: none was cut off.
    ends = ("See the License for the specific language governing permissions", "DEALINGS IN THE")
    assert any(end in text for end in (*ends, "authorization of the copyright holder."))


def test_every_licence_text_is_named():
    folder = ROOT / "data" / "art" / "licences"
    stray = [path.name for path in folder.iterdir() if f"data/art/licences/{path.name}" not in NOTICE]
    assert not stray


def test_package_versions_are_those_the_art_is_built_from():
    packages = re.findall(r"(@[\w-]+/[\w-]+)@([\d.]+)", build_art.__doc__)
    assert len(packages) == 3
    assert not [package for package in packages if " ".join(package) not in NOTICE]


@pytest.mark.parametrize(
    "fact",
    [
        "Kolors' own weights are not contained",
        "free for academic research",
        "commercial use needs registration",
        "section 3(b)",
        "trained from scratch",
    ],
)
def test_notice_states_the_facts_about_kolors(fact):
    assert fact in " ".join(NOTICE.split())
