"""Completion scripts for bash, zsh and fish, written from the command tree.

The tree is inside the script: a TAB starts no process and reads no account. Shells evaluate parts of what completion
functions are given, so words are refused here unless they are plain; help texts only ever stand in quotes.
"""

from enum import StrEnum

from backctl.presentation.completion import bash, fish, zsh
from backctl.presentation.completion.tree import Flag, Node, Value, read_tree

__all__ = ["Flag", "Node", "Shell", "Value", "read_tree", "script"]


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def script(shell: Shell, tree: Node) -> str:
    """The completion script of `tree`, ending with a newline; the same on every machine."""
    return {Shell.BASH: bash.script, Shell.ZSH: zsh.script, Shell.FISH: fish.script}[shell](tree)
