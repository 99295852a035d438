"""Takes the screenshot of the README: real commands on a real terminal of 80 columns, drawn as docs/screenshot.svg.

`python -m tests.screenshot` takes it again.
"""

import re
import shlex
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text
from tests.cli.conversation import converse
from tests.cli.machines import Machine

FILE = Path(__file__).parents[1] / "docs" / "screenshot.svg"
LINES, COLUMNS = 24, 80

PREPARED = (
    "user create ada@example.org --username ada --role admin --password-stdin",
    "user create bob@example.org --username bob --password-stdin",
    "user create ci@example.org --username ci-runner --no-password --expires-in 90d",
    "user create dora@example.org --username dora --role moderator --password-stdin",
)
SHOWN = (
    "user deactivate dora --reason 'left the team' -q",
    "user list",
    "user history dora",
    "user deactivate ada",
    "audit verify",
)
REFUSED = {"user deactivate ada": 8}
"""The exit codes of commands that do not succeed."""


def take() -> str:
    """Return everything that the terminal shows, with escape sequences for colours."""
    with TemporaryDirectory() as home:
        machine = Machine(Path(home))
        machine.environment |= {"TERM": "xterm-256color", "USER": "ops", "LOGNAME": "ops", "BACKCTL_ACTOR": "ops"}
        for line in PREPARED:
            machine.run(*shlex.split(line), stdin="correct horse battery").succeeded()
        screen = ""
        for line in SHOWN:
            done = converse(
                machine.command(*shlex.split(line)),
                (),
                folder=machine.home,
                environment=machine.environment,
                size=(LINES, COLUMNS),
            )
            assert done.code == REFUSED.get(line, 0), done.screen.decode()
            screen += f"\x1b[1m$ backctl {line}\x1b[0m\n" + done.screen.decode().replace("\r\n", "\n")
    return screen


def drawn(screen: str) -> str:
    """Return the screen as an SVG image."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen))
    image = console.export_svg(title="backctl", theme=DIMMED_MONOKAI, unique_id="backctl")
    return re.sub(r" *@font-face \{.+?\}\n", "", image, flags=re.DOTALL)  # load no font from the network


if __name__ == "__main__":
    FILE.write_text(drawn(take()), encoding="utf-8")
