"""Confirmations: those a command asks for, and those of a protected profile."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backctl.application.guard import Guard
from backctl.domain.errors import ConfirmationRequired
from backctl.domain.quoting import escaped, quoted
from backctl.presentation import terminal

if TYPE_CHECKING:
    from backctl.settings.model import Settings


class CommandGuard(Guard):
    """Asks a person, or checks the flags that confirm, before the first change of a command.

    It asks once, outside any transaction, and only if a dry run shows a change. A dry run itself is never asked about.
    """

    def __init__(
        self,
        flags: Mapping[str, Any],
        *,
        interactive: bool,
        action: Callable[[], str],
        settings: "Callable[[], Settings]",
        mutation: bool,
        before_asking: Callable[[], None] = lambda: None,
    ) -> None:
        """`action` names what the command does and to what, for example "deactivate ada".

        `mutation`: a protected profile asks before the command changes anything, and requires a reason.
        """
        self._reason: str | None = flags.get("reason")
        self._confirmed: bool = flags.get("yes", False)
        self._confirmed_name: str | None = flags.get("confirm")
        self._interactive = interactive
        self._action = action
        self._settings = settings
        self._mutation = mutation
        self._before_asking = before_asking
        self._question: str | None = None
        self._name: str | None = None
        self._settled: bool = flags.get("dry_run", False)

    def confirm(self, action: str | None = None) -> None:
        """Require a yes, or `--yes`, before the first change.

        `action` is, for example, "revoke all sessions of ada"; by default the action of the command.
        """
        self._question = self._action() if action is None else action

    def confirm_name(self, name: str, action: str) -> None:
        """Require that `name` is typed, or given with `--confirm`, before the first change."""
        self._name, self._question = name, action

    @property
    def is_due(self) -> bool:
        """Whether anything must be asked that the flags do not answer. Raises InvalidConfiguration."""
        if self._settled:
            return False
        protected = self._is_protected()
        if protected and not self._reason:
            return True
        return not self._is_confirmed() and (protected or self._question is not None)

    def ask(self) -> None:
        """Ask what is due. Raises ConfirmationRequired for a missing reason, without a terminal, and for a no."""
        if self._settled:
            return
        self._before_asking()
        profile = self._settings().profile
        if self._is_protected() and not self._reason:
            confirmed = self._confirmed or self._confirmed_name is not None or self._interactive
            needed = "--reason TEXT" if confirmed else "--reason TEXT and --yes"
            name = f"the profile {quoted(profile)}" if profile else "the configuration"
            raise ConfirmationRequired(f"{name} is protected: a change needs a reason", hint=f"add {needed}")
        where = f" in profile {escaped(profile)}" if profile else ""
        action = f"{self._question or self._action()}{where}"
        if self._name is not None:
            self._ask_name(self._name, action)
        elif not self._is_confirmed():
            self._ask_yes(f"{action}?")
        self._settled = True

    def _is_confirmed(self) -> bool:
        """Whether the flags confirm the change."""
        if self._name is not None:
            return self._confirmed_name == self._name
        return self._confirmed or (self._confirmed_name is not None and self._question is None)

    def _is_protected(self) -> bool:
        return self._mutation and self._settings().protected

    def _ask_yes(self, question: str) -> None:
        if not self._interactive:
            raise ConfirmationRequired(f"not confirmed: {question}", hint="confirm with --yes")
        from backctl.presentation.asking import ask_yes

        if not ask_yes(question):
            raise ConfirmationRequired("not confirmed; nothing was changed")

    def _ask_name(self, name: str, action: str) -> None:
        typed = self._confirmed_name
        if typed is None:
            if not self._interactive:
                raise ConfirmationRequired(
                    f"not confirmed: {action}", hint=f"confirm with --confirm {terminal.shell_word(name)}"
                )
            from backctl.presentation.asking import ask_name

            typed = ask_name(name, action)
        if typed != name:
            raise ConfirmationRequired(f"{quoted(typed)} is not {quoted(name)}; nothing was changed")
