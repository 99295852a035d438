"""Reads the fenced blocks of README.md and docs/, and runs the blocks of a document in one shell, from top to bottom.

| block | what running it means |
|---|---|
| `sh` | its commands run; the first one that fails ends the document |
| `sh`, then a fence without a language | the same on a terminal, and the second block shows what the terminal shows |
| `console` | each line after `$ ` runs on a terminal; the lines below it are what the terminal shows |
| `python` | the program runs; with a following fence like `sh` |
| `toml` | it is merged into the configuration file, which must be valid |
| any language, first line `# NAME.ext` | it is written to that file, and not run |

In what a terminal shows, `…` stands for any text, a line `…` for any lines, and ids, times, keys and tokens for any
others. The terminal has 100 columns, and standard input is empty.
"""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote

from tests.cli.conftest import Machine
from tests.cli.scripts import environment_of
from tests.shell_programs import write_program

ROOT = Path(__file__).parents[2]
RUN = ("sh", "console", "python", "toml")
"""The languages of the blocks that can be run."""

_FENCE = re.compile(r"( *)```(\w*) *")
_NAME = re.compile(r"# ([\w-]+\.[a-z]+)\n")
_ERASED = re.compile(r"[^\n\036]*\r\x1b\[K")
"""The progress of a command, which is erased at its end."""
_COLUMNS = 100
_NO_REPLACEMENTS: Mapping[str, str] = {}
_TERMINAL = ">&9 2>&9"
_MERGE = """
import sys, tomlkit
from pathlib import Path

def merge(into, table):
    for key, value in table.items():
        if isinstance(value, dict) and key in into:
            merge(into[key], value)
        else:
            into[key] = value

file, block = map(Path, sys.argv[1:])
file.parent.mkdir(parents=True, exist_ok=True)
settings = tomlkit.parse(file.read_text()) if file.exists() else tomlkit.document()
merge(settings, tomlkit.parse(block.read_text()).unwrap())
file.touch(mode=0o600)
file.write_text(tomlkit.dumps(settings))
"""
_VARYING = {
    "id": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    "time": r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?",
    "token": r"\bbkr_\w+|\beyJ[\w-]+\.[\w-]+\.[\w-]+|\bbk1s?\.[\w.-]+",
    "key": r"\b(sign|encrypt|audit|index)-[0-9a-f]{12}\b",
    "digest": r"\b[0-9a-f]{64}\b",
    "base64": r"(?m)^[A-Za-z0-9+/]{40,}=*$",
}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    document: str
    """The path of the document in the repository, such as `docs/keys.md`."""
    line: int
    """The number of the line of its opening fence."""
    headings: tuple[str, ...]
    """The titles of the section that contains it and of all enclosing ones, the innermost last."""
    language: str
    text: str
    shown: str | None = None
    """The text of a fence without a language that follows directly."""

    @property
    def heading(self) -> str:
        return self.headings[-1]

    @property
    def file(self) -> str | None:
        """The name of the file whose content it is."""
        match = _NAME.match(self.text)
        return None if match is None else match[1]

    def __str__(self) -> str:
        return f"{self.document}:{self.line} ({self.heading})"


@dataclass(frozen=True)
class Ran:
    """A block that has run."""

    block: Block
    out: str
    """Its standard output, without what the terminal showed."""
    err: str
    screen: str
    """What the terminal showed."""


def documents() -> list[str]:
    """Return the paths of README.md and of the files in docs."""
    return ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def blocks(document: str, *languages: str, heading: str | None = None) -> list[Block]:
    """Return the blocks of a document in these languages (all by default) and in a section and its subsections."""
    return [
        block
        for block in _read(document)
        if (not languages or block.language in languages) and (heading is None or heading in block.headings)
    ]


def runnable(document: str) -> list[Block]:
    """Return the blocks of a document that can be run."""
    return [block for block in blocks(document, *RUN) if block.file is None]


def run_document(
    machine: Machine,
    document: str,
    *,
    replace: Mapping[str, str] = _NO_REPLACEMENTS,
    environment: Mapping[str, str] = _NO_REPLACEMENTS,
) -> list[Ran]:
    """Run all blocks of a document in their order; see `run_blocks`."""
    return run_blocks(machine, blocks(document), replace=replace, environment=environment)


def run_blocks(
    machine: Machine,
    wanted: Sequence[Block],
    *,
    replace: Mapping[str, str] = _NO_REPLACEMENTS,
    environment: Mapping[str, str] = _NO_REPLACEMENTS,
    shell: str = "sh",
) -> list[Ran]:
    """Run blocks in their order in one shell (`sh -eu`), in the home folder of the machine.

    They share variables, functions and the working folder. `replace` maps texts, such as folders, to others. Fails if a
    block fails or shows something else. Blocks in other languages that name no file are ignored.
    """
    wanted = [block for block in wanted if block.language in RUN or block.file is not None]
    folder = machine.home.with_name("blocks")
    folder.mkdir(exist_ok=True)
    (folder / "merge.py").write_text(_MERGE)
    write_program(folder / "merge", [sys.executable, str(folder / "merge.py"), str(machine.config_file)])
    write_program(folder / "program", [sys.executable, "-c"])
    texts = [_replaced(block.text, replace) for block in wanted]
    script = "status=0\n"
    for number, (block, text) in enumerate(zip(wanted, texts, strict=True)):
        (folder / str(number)).write_text(text)
        script += _mark(number) + _step(block, text, folder / str(number))
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, _COLUMNS))
    screen: list[bytes] = []
    reading = threading.Thread(target=_read_all, args=(master, screen))
    reading.start()
    try:
        done = subprocess.run(
            [shell, "-euc", f"exec 9>{os.ttyname(slave)}\n{script}"],
            env={**environment_of(machine), "TERM": "dumb", "COLUMNS": str(_COLUMNS), **environment},
            cwd=machine.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        os.close(slave)
        reading.join()
        os.close(master)
    shown = _ERASED.sub("", b"".join(screen).decode(errors="replace").replace("\r\n", "\n"))
    parts = [_divided(text) for text in (done.stdout, done.stderr, shown)]
    ran = [Ran(block, *(part.get(f"{number}", "") for part in parts)) for number, block in enumerate(wanted)]
    if done.returncode != 0:
        last = ran[max(int(name) for name in parts[0])]
        raise AssertionError(
            f"{last.block}: exit {done.returncode}\n{last.block.text}\n{last.out}\n{last.err}\n{last.screen}"
        )
    for number, (one, text) in enumerate(zip(ran, texts, strict=True)):
        _compare(one, text, parts[2], number, replace)
    return ran


def differs(shown: str, actual: str) -> bool:
    """Whether a terminal did not show what a document says."""
    pattern = ""
    for line in _normalised(shown):
        parts = [re.escape(part) for part in line.split("…")]
        pattern += "(?:.*\n)*?" if line == "…" else ".*?".join(parts) + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _normalised(actual))) is None


def conversation(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the lines below it. `> ` continues a command."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> ") and not found[-1][1]:
            found[-1] = (found[-1][0] + line[2:], "")
        else:
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


@cache
def _read(document: str) -> tuple[Block, ...]:
    found: list[Block] = []
    titles: list[str] = [document]
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    number, gap = 0, 0
    while number < len(lines):
        line = lines[number]
        opening = _FENCE.fullmatch(line)
        if opening is None:
            if title := re.match("(#+) (.+)", line):
                titles = [*titles[: len(title[1]) - 1], title[2]]
            gap += bool(line.strip())
            number += 1
            continue
        end = next(at for at in range(number + 1, len(lines)) if lines[at].strip() == "```")
        text = "".join(f"{each.removeprefix(opening[1])}\n" for each in lines[number + 1 : end])
        follows = gap == 0 and bool(found) and found[-1].language in ("sh", "python") and found[-1].shown is None
        if follows and not opening[2]:
            last = found.pop()
            found.append(Block(last.document, last.line, last.headings, last.language, last.text, text))
        else:
            found.append(Block(document, number + 1, tuple(titles), opening[2], text))
        number, gap = end + 1, 0
    return tuple(found)


def _step(block: Block, text: str, path: Path) -> str:
    """Return the commands of the shell that run a block, whose text is also in a file."""
    file, folder = quote(str(path)), quote(str(path.parent))
    if block.file is not None:
        return f"cp {file} {block.file}\n"
    if block.language == "toml":
        return f"{folder}/merge {file}\nbackctl config validate\n"
    if block.language == "console":
        script = "set +e\n"
        for number, (command, _) in enumerate(conversation(text)):
            script += f"{{ {_mark(f'{path.name}.{number}')}(exit $status)\n{command}}} {_TERMINAL}\nstatus=$?\n"
        return script + "set -e\n"
    commands = f'{folder}/program "$(cat {file})"\n' if block.language == "python" else text
    return commands if block.shown is None else f"{{ {_mark(path.name + '.0')}{commands}}} {_TERMINAL}\n"


def _mark(name: int | str) -> str:
    """Return the command that begins a part of the outputs."""
    mark = f"printf '\\036{name}\\036'"
    return f"{mark}; {mark} >&2; {mark} >&9\n" if isinstance(name, int) else f"{mark}\n"


def _divided(text: str) -> dict[str, str]:
    """Return the parts of an output by their names."""
    _, *parts = text.split("\036")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _compare(one: Ran, text: str, screens: Mapping[str, str], number: int, replace: Mapping[str, str]) -> None:
    expected = []
    if one.block.file is None and one.block.language == "console":
        expected = conversation(text)
    elif one.block.file is None and one.block.shown is not None:
        expected = [(text, _replaced(one.block.shown, replace))]
    for index, (command, shown) in enumerate(expected):
        actual = screens[f"{number}.{index}"]
        assert not differs(shown, actual), f"{one.block}:\n$ {command}--- shown\n{shown}--- actual\n{actual}"


def _normalised(text: str) -> list[str]:
    for name, pattern in _VARYING.items():
        text = re.sub(pattern, f"<{name}>", text)
    return [line.rstrip() for line in text.splitlines()]


def _replaced(text: str, replace: Mapping[str, str]) -> str:
    for old, new in replace.items():
        text = text.replace(old, new)
    return text


def _read_all(descriptor: int, into: list[bytes]) -> None:
    """Read a terminal until nobody can write to it any more."""
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # Linux reports EIO when the last writer has closed
            return
        if not block:
            return
        into.append(block)
