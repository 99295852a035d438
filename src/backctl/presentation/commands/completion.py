"""`backctl completion …`: print completion scripts for shells."""

from dataclasses import dataclass

from backctl.presentation.completion.scripts import Shell, script
from backctl.presentation.completion.tree import read_tree
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("completion")


@dataclass(frozen=True, slots=True)
class ScriptView:
    shell: str
    script: str


@leaf(
    app,
    kind="value",
    view=ScriptView,
    examples="""
    # Install it for the current user
    backctl completion bash > ~/.local/share/bash-completion/completions/backctl
    # Load it in this shell
    eval "$(backctl completion bash)"
    """,
)
def bash(call: Invocation) -> None:
    """Print the completion script for bash.

    Add to ~/.bashrc: eval "$(backctl completion bash)"
    """
    _print(call, Shell.BASH)


@leaf(
    app,
    kind="value",
    view=ScriptView,
    examples="""
    # Install it in a folder of $fpath
    backctl completion zsh > ~/.zfunc/_backctl
    # Load it in this shell, after compinit
    eval "$(backctl completion zsh)"
    """,
)
def zsh(call: Invocation) -> None:
    """Print the completion script for zsh.

    Add to ~/.zshrc, after compinit: eval "$(backctl completion zsh)"
    """
    _print(call, Shell.ZSH)


@leaf(
    app,
    kind="value",
    view=ScriptView,
    examples="""
    # Install it for the current user
    backctl completion fish > ~/.config/fish/completions/backctl.fish
    # Load it in this shell
    backctl completion fish | source
    """,
)
def fish(call: Invocation) -> None:
    """Print the completion script for fish.

    Run once: backctl completion fish > ~/.config/fish/completions/backctl.fish
    """
    _print(call, Shell.FISH)


def _print(call: Invocation, shell: Shell) -> None:
    from backctl.presentation.app import app as program
    from backctl.presentation.typer_internals import get_command

    text = script(shell, read_tree(get_command(program)))
    call.results.value(text.removesuffix("\n"), ScriptView(shell, text))
