"""What a page tells its reader to type: commands and Python, with the markers that say which of them are long.

A block of commands is a fence of ``bash`` (or ``sh``), or lines indented by four spaces after an empty line, of which the first begins with a
known program. A block that no test runs has the marker ``<!-- long: DATE, DURATION -->`` on the line before it, or ``# long: …`` at the end
of a line. It says when the block was last run, or ``not run here`` and why. Text and diagrams are fences of ``text``.
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
LAUNCHERS = {
    "train_tokenizer.py",
    "train_diffusion.py",
    "encode.py",
    "evaluate.py",
    "generate.py",
    "inpaint.py",
}
SHOWN = {"yaml", "text", "math", "{toctree}", "{eval-rst}", "{include}", "{registered}"}  # not to be typed
RUN = {
    "bash",
    "sh",
    "python",
}  # by tests/integration/test_docs.py; "py" of CONTRIBUTING.md by test_recipes.py
FENCE = re.compile(
    r"^( *)(?:<!-- long: (?P<long>[^>]+) -->\n(?:\n)?)?^ *```(?P<language>[\w{}-]*)[^\n]*\n(?P<body>.*?)^ *```$",
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
        if match["language"] in RUN:
            language = "python" if match["language"] == "python" else "bash"
            found[match.start()] = Block(language, match["body"], match["long"] or "")
    outside = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    for match in INDENTED.finditer(outside):
        if match["body"].strip().startswith((*PROGRAMS, "DATA=")):
            found[match.start()] = Block("bash", match["body"], match["long"] or "")
    return [found[place] for place in sorted(found)]


def unknown_blocks(path: Path) -> list[str]:
    """First lines of blocks of which nobody can say whether a test runs them: fences of another language, and indented lines that do
    not begin with a known program."""
    text = path.read_text(encoding="utf-8")
    known = RUN | SHOWN | ({"py"} if path.name == "CONTRIBUTING.md" else set())
    fences = [
        match[0].strip().split("\n")[0] for match in FENCE.finditer(text) if match["language"] not in known
    ]
    outside = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    fences += [line for line in outside.split("\n") if "```" in line]  # opened or closed in another way
    indented = [
        match["body"].strip().split("\n")[0] for match in INDENTED.finditer(outside) if match["body"].strip()
    ]
    return fences + [line for line in indented if not line.startswith((*PROGRAMS, "DATA="))]


def plain(words: tuple[str, ...]) -> list[str]:
    """The words of a command without what only says where or how to run."""
    left = list(words)
    while left and (left[0] in ("taskset", "srun") or re.fullmatch(r"[A-Z_]+=\S*", left[0])):
        left = left[3:] if left[0] == "taskset" else left[1:]
    return left


def launched(words: list[str]) -> list[str] | None:
    """The command that a launcher's script stands for, or None where no script is launched."""
    for place, word in enumerate(words):
        if word.startswith("scripts/") and Path(word).name in LAUNCHERS:
            return [Path(word).stem.replace("_", "-"), *words[place + 1 :]]
    return None


def can_run(command: Command) -> bool:
    """Whether tests/integration/test_docs.py runs such a command where it is not marked long."""
    words = plain(command.words)
    script = words[0] == "python" and words[1].endswith(("-m", ".py"))
    return launched(words) is None and (words[0] == "d3pm-image" or script)


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
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"^```{include} (\S+)$", text, re.MULTILINE):
        text += (path.parent / name).read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def name(path: Path) -> str:
    """A page's path below the repository."""
    return path.relative_to(ROOT).as_posix()


def of_the_site() -> list[Path]:
    """Every Markdown page of docs/, folders included, without what a build leaves there."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return [path for path in found if not {"_build", ".ipynb_checkpoints"} & set(path.parts)]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *of_the_site()]
