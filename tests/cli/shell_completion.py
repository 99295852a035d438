"""Types command lines in real shells that are installed."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.cli.conversation import converse

from backctl.presentation.completion.scripts import Shell

FOLDER = Path(__file__).parents[2] / "completions"
FILES = {Shell.BASH: "backctl.bash", Shell.ZSH: "_backctl", Shell.FISH: "backctl.fish"}

shells = pytest.mark.parametrize("shell", [shell for shell in Shell if shutil.which(shell)])
every_shell = pytest.mark.parametrize("shell", Shell)

_BASH_RC = """
PS1='ready> '
{load}
PATH={path}
bind '"\\C-xa": insert-completions'
args() {{ printf '%s\\n' "$@" >answer; }}
"""
_ZSH_RC = """
PS1='ready> '
unsetopt prompt_sp
bindkey -e
autoload -Uz compinit
{load}
rehash
path=({path})
insert_all() {{ [[ $WIDGET != insert-all ]] || compstate[insert]=all; comppostfuncs=(insert_all) }}
comppostfuncs=(insert_all)
zle -C insert-all complete-word _main_complete
bindkey '^Xa' insert-all
args() {{ print -rl -- "$@" >answer }}
"""


class InteractiveShell:
    """Types command lines in an interactive shell, in which Ctrl-X a inserts everything that completion offers."""

    def __init__(
        self,
        shell: Shell,
        home: Path,
        *,
        text: str | None = None,
        autoload: bool = False,
        programs: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Use the committed script, or `text`, in `home`. `programs` is the only folder in PATH."""
        self._shell, self.home = shell, home
        self._path = "" if programs is None else shlex.quote(str(programs))
        self._environment = {"HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8", **(environment or {})}
        self._environment |= {"ZDOTDIR": str(home), "PATH": os.environ["PATH"]}
        folder = home / "completions"
        folder.mkdir(exist_ok=True)
        file = folder / FILES[shell]
        file.write_text((FOLDER / FILES[shell]).read_text() if text is None else text)
        self._load = {
            Shell.BASH: f". '{file}'",
            Shell.ZSH: f"fpath=('{folder}' $fpath); compinit -u" if autoload else f"compinit -u; . '{file}'",
            Shell.FISH: f"source '{file}'",
        }[shell]

    def offers(self, line: str, *, described: str = "") -> list[str]:
        """Return the sorted words offered for the last word of `line`, without a flag that is attached to the value.

        Checks that the help `described` is shown with them. bash shows no help.
        """
        words = self._fish(line, described) if self._shell is Shell.FISH else self._interactive(line, described)
        return sorted(re.sub("^--[a-z-]+=(?=.)", "", word).removesuffix("=") for word in words)

    def _fish(self, line: str, described: str) -> list[str]:
        command = ["fish", "--no-config", "-c", f"{self._load}; set PATH {self._path}; complete -C $argv[1]", line]
        done = subprocess.run(command, cwd=self.home, env=self._environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert described in done.stdout
        return [offer.partition("\t")[0] for offer in done.stdout.splitlines()]

    def _interactive(self, line: str, described: str) -> list[str]:
        rc, answer = self.home / ".zshrc", self.home / "answer"
        answer.unlink(missing_ok=True)
        if self._shell is Shell.BASH:
            rc.write_text(_BASH_RC.format(load=self._load, path=self._path))
            command = ["bash", "--noprofile", "--rcfile", str(rc), "-i"]
        else:
            rc.write_text(_ZSH_RC.format(load=self._load, path=self._path))
            command = ["zsh", "-d", "-i"]
        everything, leave = "\x18a\x01args \r", ("ready> ", "exit\r")
        if described and self._shell is Shell.ZSH:
            self._type(command, [("ready> ", f"{line}\t"), (described, everything), leave])
        else:
            self._type(command, [("ready> ", line + everything), leave])
        typed, entered = shlex.split(line), answer.read_text().splitlines()
        if typed == entered:
            return []
        return entered[len(typed) - (not line.endswith(" ")) :]

    def _type(self, command: Sequence[str], keys: Sequence[tuple[str, str]]) -> None:
        done = converse(command, keys, folder=self.home, environment=self._environment, size=(40, 200))
        assert not done.unasked, done.screen
