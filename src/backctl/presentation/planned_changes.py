"""Shows a plan: as objects, and as coloured differences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from backctl.domain.quoting import escaped, quoted
from backctl.domain.seed import Plan, PlannedChange, Summary, Value
from backctl.domain.values import UserId
from backctl.presentation.colors import of_action
from backctl.settings.durations import format_duration

PlannedAction = Literal["create", "update", "open", "close", "delete"]
_MARKS: Mapping[str, str] = {"create": "+", "update": "~", "open": "o", "close": "x", "delete": "-"}
_IMPLIED = {"create": ("email", "username"), "open": ("is_active",), "close": ("is_active",)}
"""Members that the first line of a change shows already."""


@dataclass(frozen=True, slots=True)
class PlannedAccount:
    """What a plan changes of one account. `changes` has `before` and `after` of each member, never a secret."""

    action: PlannedAction
    id: UserId | None
    email: str
    username: str
    seed: str
    changes: dict[str, object]


def planned_accounts(plan: Plan) -> Iterator[PlannedAccount]:
    """Yield the accounts that change, in the order of the plan."""
    for change in plan.changes:
        if change.action != "none":
            changes: dict[str, object] = {
                name: {"before": before, "after": after} for name, before, after in _members(change)
            }
            yield PlannedAccount(change.action, change.id, change.email, change.username, change.seed, changes)


def compared(plan: Plan) -> int:
    """Return the number of accounts whose secrets only applying compares with the stored ones."""
    return sum(bool(change.compares) for change in plan.changes)


def replaced(plan: Plan) -> str | None:
    """Return a notice if a seed creates accounts and prunes others, which can be the same people; else None."""
    created = {change.seed for change in plan.changes if change.action == "create"}
    pruned = {change.seed for change in plan.changes if change.origin is None}
    if not created & pruned:
        return None
    names = ", ".join(map(quoted, sorted(created & pruned)))
    return (
        f"for {names}, accounts are created and others pruned; "
        "if an e-mail address has changed, give its entry the id of the account"
    )


def differences(plan: Plan, *, color: bool) -> Iterator[str]:
    """Yield the lines of a plan for a terminal, escaped, and a summary at the end."""
    for change in plan.changes:
        if change.action == "none":
            continue
        name = f"{escaped(change.username)} <{escaped(change.email)}>"
        first = f"{_MARKS[change.action]} {change.action:6} {name}"
        yield (of_action(change.action, first) if color else first) + "\n"
        for member, before, after in _members(change):
            if member in _IMPLIED.get(change.action, ()) or (change.action == "create" and _is_usual(member, after)):
                continue
            old = "" if change.action == "create" or member not in change.before else f"{_shown(before, member)} -> "
            yield f"    {member}: {old}{_shown(after, member)}\n"
    yield f"{summarized(plan.summary)}\n"


def summarized(summary: Summary) -> str:
    """Return, for example, `2 to create, 1 to close, 7 unchanged`."""
    counts = [f"{count} to {action}" for action, count in summary._asdict().items() if count and action != "unchanged"]
    return ", ".join([*(counts or ["no changes"]), f"{summary.unchanged} unchanged"])


def _members(change: PlannedChange) -> Iterator[tuple[str, Value, Value]]:
    for name, value in change.after.items():
        is_duration = name == "expires_in" and isinstance(value, int)
        yield name, change.before.get(name), format_duration(int(value)) if is_duration and value else value


def _is_usual(member: str, value: Value) -> bool:
    """Whether a new account has this value of a member unless a seed says otherwise."""
    return (member, value) in (("is_active", True), ("must_change_password", False), ("expires_at", None))


def _shown(value: Value, member: str) -> str:
    if value is None:
        return "never" if member == "expires_at" else "none"
    return str(value).lower() if isinstance(value, bool) else escaped(str(value))
