"""Parses the value of a setting from text or TOML, and describes the values that it accepts."""

import re

from backctl.domain.errors import InvalidDuration
from backctl.domain.quoting import quoted
from backctl.settings.durations import format_duration, parse_duration
from backctl.settings.refusal import UNSAFE, UNSAFE_IN_PATHS, WrongValue
from backctl.settings.schema import SAME_DATABASE, Plain, Setting

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def from_toml(setting: Setting, value: object) -> Plain:
    """Check the value of `setting` from a file and return it. Raises WrongValue, which names the allowed values."""
    kind = setting.kind
    if kind == "list":
        if not isinstance(value, list):
            raise WrongValue(f"{setting.key} is {describe(value)}; it must be {expected(setting)}")
        return _items(setting, value)
    fits = isinstance(value, bool) if kind == "boolean" else isinstance(value, int if kind == "integer" else str)
    if not fits or (kind == "integer" and isinstance(value, bool)):
        raise WrongValue(f"{setting.key} is {describe(value, secret=setting.secret)}; it must be {expected(setting)}")
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _within(setting, value, describe(value))
    return _from_string(setting, str(value))


def from_text(setting: Setting, text: str) -> Plain:
    """Parse and check the value of `setting` from a variable, a flag or `config set`. Raises WrongValue."""
    if setting.kind == "boolean":
        if text.lower() not in _WORDS:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be true or false")
        return _WORDS[text.lower()]
    if setting.kind == "integer":
        if re.fullmatch(r"-?[0-9]{1,18}", text) is None:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
        return _within(setting, int(text), text)
    if setting.kind == "list":
        return _items(setting, [item.strip() for item in text.split(",") if item.strip()])
    return _from_string(setting, text)


def _items(setting: Setting, items: list[object]) -> tuple[str, ...]:
    checked = []
    for item in items:
        if not isinstance(item, str) or re.fullmatch(setting.item, item) is None:
            raise WrongValue(f"{setting.key} contains {describe(item)}; it must be {expected(setting)}")
        if setting.refused and re.fullmatch(setting.refused, item):
            raise WrongValue(f"{setting.key} contains {quoted(item)}, which cannot be made safe")
        checked.append(item)
    return tuple(checked)


def _from_string(setting: Setting, text: str) -> Plain:
    if setting.kind == "duration":
        try:
            return _within(setting, parse_duration(text), quoted(text))
        except InvalidDuration:
            raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}") from None
    checked_later = ("secret", "text", "path", "database-url", "redis-url")
    if setting.kind not in checked_later and re.search(UNSAFE, text):
        shown = "" if setting.secret else f" is {quoted(text)}; it"
        raise WrongValue(f"{setting.key}{shown} must not contain control characters or broken Unicode")
    if setting.form and re.fullmatch(setting.item, text) is None:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {setting.form}")
    if (
        setting.kind == "string"
        and not setting.form
        and not (setting.low <= len(text) <= setting.high and text.isprintable())
    ):
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
    if setting.kind == "string" and setting.item and re.fullmatch(setting.item, text) is None:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it may contain only A-Z, a-z, 0-9, '.', '_' and '-'")
    if setting.kind == "choice" and text not in setting.choices:
        raise WrongValue(f"{setting.key} is {quoted(text)}; it must be {expected(setting)}")
    if setting.kind == "path" and text:
        check_path(setting.key, text)
    if setting.kind == "database-url" and text == SAME_DATABASE:
        raise WrongValue(f"{setting.key} is {quoted(text)}, which only a profile in the configuration file can use")
    if text and setting.kind in ("database-url", "redis-url"):
        from backctl.settings.urls import check_database_url, check_redis_url

        (check_database_url if setting.kind == "database-url" else check_redis_url)(setting.key, text)
    return text


def _within(setting: Setting, number: int, shown: str) -> int:
    if not setting.low <= number <= setting.high:
        raise WrongValue(f"{setting.key} is {shown}; it must be {expected(setting)}")
    return number


def expected(setting: Setting) -> str:
    """Describe the values that `setting` accepts, as the end of a sentence."""
    match setting.kind:
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {setting.low} to {setting.high}"
        case "duration":
            low, high = format_duration(setting.low), format_duration(setting.high)
            return f"a duration from {low} to {high}: a whole number and a unit (ms, s, m, h, d or w)"
        case "string" if setting.form:
            return setting.form
        case "string":
            return f"a string of {setting.low} to {setting.high} printable characters"
        case "choice":
            return f"one of {', '.join(setting.choices)}"
        case "list":
            return f"an array of strings such as {setting.example}"
        case _:
            return "a string"


def check_path(key: str, text: str) -> None:
    """Reject a relative path, because it would name another file in every working directory. Raises WrongValue."""
    if not text.startswith("/"):
        raise WrongValue(f"{key} is {quoted(text)}; it must be an absolute path")
    if re.search(UNSAFE_IN_PATHS, text):
        raise WrongValue(f"{key} is {quoted(text)}; it must not contain control characters or broken Unicode")


def describe(value: object, *, secret: bool = False) -> str:
    """Describe a TOML value for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number beyond 64 bits"
    if isinstance(value, str):
        return "a string" if secret else quoted(value)
    for kind, name in ((float, "a number with a fraction"), (list, "an array"), (dict, "a table")):
        if isinstance(value, kind):
            return name
    return "a date or time"
