"""The script of each shell."""

from enum import StrEnum

from backctl.presentation.completion import bash, fish, zsh
from backctl.presentation.completion.tree import Node


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def script(shell: Shell, tree: Node) -> str:
    """The completion script of `tree`, ending with a newline; the same on every machine."""
    return {Shell.BASH: bash.script, Shell.ZSH: zsh.script, Shell.FISH: fish.script}[shell](tree)
