"""`backctl completion …`: the script that makes a shell complete what is typed after `backctl`."""

from dataclasses import dataclass

from backctl.presentation.completion.scripts import Shell, script
from backctl.presentation.completion.tree import read_tree
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("completion")


@dataclass(frozen=True, slots=True)
class ScriptView:
    shell: str
    script: str


@leaf(app, view=ScriptView)
def bash(call: Invocation) -> None:
    """Print the script for bash.

    In ~/.bashrc: eval "$(backctl completion bash)"
    """
    _print(call, Shell.BASH)


@leaf(app, view=ScriptView)
def zsh(call: Invocation) -> None:
    """Print the script for zsh.

    In ~/.zshrc, after compinit: eval "$(backctl completion zsh)"
    """
    _print(call, Shell.ZSH)


@leaf(app, view=ScriptView)
def fish(call: Invocation) -> None:
    """Print the script for fish.

    Once: backctl completion fish > ~/.config/fish/completions/backctl.fish
    """
    _print(call, Shell.FISH)


def _print(call: Invocation, shell: Shell) -> None:
    from backctl.presentation.app import app as program
    from backctl.presentation.typer_internals import get_command

    text = script(shell, read_tree(get_command(program)))
    call.value(text.removesuffix("\n"), ScriptView(shell, text))
