"""What a page tells its reader to type: commands and Python, with the markers that say which of them are long.

A block of commands is a fence of ``bash`` (or ``sh``), or lines set in by four spaces after an empty line of which the first begins with a known
program. ``<!-- long: DATE, DURATION -->`` on the line before it, or ``# long: …`` at the end of a line, says when it was last run instead, or
``not run here`` and why.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from helpers.paths import ROOT

PROGRAMS = (
    "d3pm-image",
    "python",
    "bash",
    "torchrun",
    "accelerate",
    "taskset",
    "srun",
    "pip",
    "pytest",
    "source",
    "TINY=1",
    "#!/",
)
FENCE = re.compile(
    r"^( *)(?:<!-- long: (?P<long>[^>]+) -->\n(?:\n)?)?^ *```(?P<language>\w*)\n(?P<body>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
INDENTED = re.compile(
    r"^\n(?:<!-- long: (?P<long>[^>]+) -->\n\n)?(?P<body>(?: {4}\S.*\n(?: {4}.*\n)*))", re.MULTILINE
)
INLINE = re.compile(r"`((?:d3pm-image|python|torchrun|taskset)\s[^`]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Command:
    """One line of a shell: its words, and why it is not run (empty: it is)."""

    page: str
    words: tuple[str, ...]
    long: str = ""

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def lines(body: str) -> list[str]:
    """Lines of a shell block; those that end with a backslash are joined with the next."""
    return [line.strip() for line in body.replace("\\\n", " ").split("\n") if line.strip()]


def command(page: str, line: str, long: str, variables: dict[str, str]) -> Command | None:
    """A line as a command; comments are None, and assignments are remembered."""
    line, _, own = line.partition("# long:")
    words = shlex.split(re.sub(r"\$(\w+)", lambda m: variables.get(m[1], m[0]), line), comments=True)
    words = [word for word in words if word != "…"]
    if words and re.match(r"[A-Z]+=", words[0]) and not words[0].startswith("TINY="):
        name, _, value = " ".join(words).partition("=")
        variables[name] = value if "$(" not in value else "true" if "echo true" in value else name.lower()
        return None
    return Command(page, tuple(words), own.strip() or long) if words else None


@dataclass(frozen=True)
class Block:
    """What stands together in a page: a shell's lines or Python, and why it is not run (empty: it is)."""

    language: str
    body: str
    long: str


def blocks(path: Path) -> list[Block]:
    """Every block of commands or Python, in the page's order."""
    text, found = path.read_text(encoding="utf-8"), {}
    fences = list(FENCE.finditer(text))
    for match in fences:
        if match["language"] in ("bash", "sh", "python"):
            language = "python" if match["language"] == "python" else "bash"
            found[match.start()] = Block(language, match["body"], match["long"] or "")
    outside = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    for match in INDENTED.finditer(outside):
        if match["body"].strip().startswith((*PROGRAMS, "DATA=")):
            found[match.start()] = Block("bash", match["body"], match["long"] or "")
    return [found[place] for place in sorted(found)]


def commands(path: Path) -> list[Command]:
    """All commands of a page's blocks, in order."""
    return [found for found in steps(path) if isinstance(found, Command)]


def steps(path: Path) -> list[Command | Block]:
    """What a reader who follows the page does: its commands one by one, and its blocks of Python."""
    variables: dict[str, str] = {}
    done: list[Command | Block] = []
    for block in blocks(path):
        if block.language == "python":
            done.append(block)
            continue
        made = [command(path.name, line, block.long, variables) for line in lines(block.body)]
        done += [found for found in made if found is not None]
    return done


def inline(path: Path) -> list[Command]:
    """Commands in running text, which are never run."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    made = [
        command(path.name, " ".join(line.split()), "in running text", {})
        for line in INLINE.findall(text)
        if "…" not in line
    ]
    return [found for found in made if found is not None]


def links(path: Path) -> list[str]:
    """Where the page's links and images lead, but for the web."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        target for target in LINK.findall(text) if not target.startswith(("http://", "https://", "mailto:"))
    ]


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as they are made on the web."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
