"""The colours of tables, cards and plans on a terminal."""

BOLD, RESET = "\x1b[1m", "\x1b[0m"
_GOOD, _ATTENTION, _BAD, _OVER = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m"

_MEMBERS = frozenset(("mfa", "ok", "outcome", "state", "status"))
"""Members whose values are coloured. Other members, such as names, are not, even if they contain such a word."""

_WORDS = {
    **dict.fromkeys(("active", "current", "fresh", "ok", "on", "open", "primary", "true"), _GOOD),
    **dict.fromkeys(
        ("expired", "mfa_required", "must_change", "outdated", "pending", "stale", "standby", "warn"), _ATTENTION
    ),
    **dict.fromkeys(
        (
            *("absent", "fail", "failed", "false", "locked", "newer", "refused", "revoked", "throttled"),
            *("unreadable", "untrusted"),
        ),
        _BAD,
    ),
    **dict.fromkeys(("closed", "invalidated", "off", "retired"), _OVER),
}


_ACTIONS = {"create": _GOOD, "update": _ATTENTION, "open": _GOOD, "close": _BAD, "delete": _BAD}


def of_action(action: str, text: str) -> str:
    """Return the first line of a planned change in the colour of its action."""
    return f"{_ACTIONS[action]}{text}{RESET}"


def painted(member: str, text: str) -> str:
    """Return the value of a member, coloured if it is one of the known words."""
    color = _WORDS.get(text) if member in _MEMBERS else None
    return text if color is None else f"{color}{text}{RESET}"
