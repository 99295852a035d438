"""Checks the tree of a document against the schema and collects what is wrong, each with its line.

No message contains what could be a secret in the wrong place: values of secrets, of unknown members, of choices, and of
members with another type, and keys that do not look like names.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from backctl.application.seeding.documents import Items, Members, Node, Scalar, fault, may_show
from backctl.application.seeding.schema import NEVER, Kind, Member, Shape
from backctl.domain.errors import BackctlError, InvalidInput, InvalidSeed
from backctl.domain.quoting import quoted
from backctl.domain.seed import SecretSource
from backctl.domain.values import NEVER as NEVER_EXPIRES
from backctl.domain.values import Expiry, Instant, UserId, is_uuid

_T = TypeVar("_T")

_LISTED_MAX: Final = 10
_REMEMBERED_MAX: Final = 1000
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)
_KINDS: Final[Mapping[Kind, str]] = {
    "boolean": "true or false",
    "integer": "a whole number",
    "mapping": "a mapping",
    "list": "a list",
}


class Values(NamedTuple):
    """The members of a mapping that are valid. The type of a value depends on the kind of the member."""

    members: dict[str, object]
    node: Members

    def line(self, key: str) -> int:
        """Return the line of a member that is written."""
        return next(entry.line for entry in self.node.entries if entry.key == key)


class Problems:
    """What is wrong with one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: list[tuple[int, InvalidSeed]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, line: int, message: str, *, hint: str | None = None) -> None:
        self._count += 1
        if len(self._found) < _REMEMBERED_MAX:
            self._found.append((line, fault(self.file, line, message, hint=hint)))

    def attempt(self, member: str, line: int, parse: Callable[[], _T]) -> _T | None:
        """Call `parse`; None if it raises an error, which is reported for the member."""
        try:
            return parse()
        except BackctlError as error:
            self.add(line, f"{member}: {error.message}", hint=error.hint)
            return None

    def raise_first(self) -> None:
        """Raise the error for the first line with a problem, which mentions the other lines; nothing without one."""
        if not self._found:
            return
        self._found.sort(key=lambda problem: problem[0])
        (first, error), *others = self._found
        if not others:
            raise error
        lines = list(dict.fromkeys(line for line, _ in others if line != first))
        listed = ", ".join(str(line) for line in lines[:_LISTED_MAX])
        more = f"{self._count - 1} more problem{'s' if self._count > 2 else ''}"
        where = f" on line{'s' if len(lines) > 1 else ''} {listed}" if lines else ""
        dots = " and others" if len(lines) > _LISTED_MAX else ""
        raise InvalidSeed(f"{error.message} ({more}{where}{dots})", hint=error.hint)


class Checker:
    """Turns members into values. `durations` parses a duration such as `30d` to microseconds and may raise."""

    def __init__(self, problems: Problems, durations: Callable[[str], int], folder: str) -> None:
        """`folder` is what paths of secrets are relative to; empty for the current folder."""
        self._problems = problems
        self._durations = durations
        self._folder = folder

    def values(self, shape: Shape, node: Node) -> Values | None:
        """Return the values of a mapping that are valid; None if it is not a mapping. Report everything else."""
        if not isinstance(node, Members):
            self._problems.add(node.line, f"{shape.name} must be a mapping, not {_described(node)}")
            return None
        found: dict[str, object] = {}
        for key, line, value in node.entries:
            member = shape.members.get(key)
            if member is None:
                self._unknown(shape, key, line)
                continue
            result = self._value(key, member, line, value)
            if result is not None:
                found[key] = result
        self._require_complete(shape, node)
        return Values(found, node)

    def _require_complete(self, shape: Shape, node: Members) -> None:
        written = {entry.key for entry in node.entries}
        for key in shape.required:
            if key not in written:
                member = shape.members[key]
                self._problems.add(node.line, f"{shape.name} has no {key}", hint=f"add {quoted(key)}: {member.title}")
        for one, other in shape.exclusive:
            if one in written and other in written:
                self._problems.add(node.line, f"{shape.name} has both {one} and {other}", hint="keep one of them")
        if shape.one_of and not written.intersection(shape.one_of):
            names = " or ".join(quoted(name) for name in shape.one_of)
            self._problems.add(node.line, f"{shape.name} has no {' or '.join(shape.one_of)}", hint=f"add {names}")

    def _unknown(self, shape: Shape, key: str, line: int) -> None:
        hint = shape.elsewhere.get(key)
        if hint is None:
            near = _nearest(key, shape)
            hint = f"did you mean {quoted(near)}?" if near else "known members: " + ", ".join(shape.members)
        shown = quoted(key) if may_show(key) and not shape.hides_keys else "with this name"
        self._problems.add(line, f"{shape.name} has no member {shown}", hint=hint)

    def _value(self, key: str, member: Member, line: int, node: Node) -> object:
        """Return the value of a member; None if it is wrong, which is reported."""
        if member.is_any_text and isinstance(node, Scalar) and node.text and node.kind in ("string", "plain"):
            return node.text  # most members
        match member.kind:
            case "secret":
                return self._secret(key, member, line, node)
            case "mapping" if member.shape is not None:
                if isinstance(node, Members):
                    return self.values(member.shape, node)
                return self._wrong_type(key, line, "a mapping", node)
            case "list":
                return self._list(key, member, line, node)
        if not isinstance(node, Scalar) or node.kind == "null":
            return self._wrong_type(key, line, _KINDS.get(member.kind, "a text"), node)
        match member.kind:
            case "boolean":
                return self._boolean(key, line, node)
            case "integer":
                return self._integer(key, member, line, node)
        if node.kind not in ("string", "plain"):
            return self._wrong_type(key, line, "a text", node)
        match member.kind:
            case "choice":
                return self._choice(key, member, line, node.text)
            case "time":
                return self._problems.attempt(key, line, lambda: _expiry(node.text))
            case "duration":
                return self._problems.attempt(key, line, lambda: Expiry(after=self._positive(node.text)))
            case "id":
                return self._problems.attempt(key, line, lambda: _id(node.text))
        return self._text(key, member, line, node.text)

    def _list(self, key: str, member: Member, line: int, node: Node) -> object:
        if isinstance(node, Items):
            return node.items
        if member.may_be_single and isinstance(node, Members):
            return (node,)
        expected = "a mapping or a list of mappings" if member.may_be_single else "a list"
        return self._wrong_type(key, line, expected, node)

    def _boolean(self, key: str, line: int, node: Scalar) -> bool | None:
        if node.kind == "boolean" or (node.kind == "plain" and node.text in ("true", "false")):
            return node.text == "true"
        self._problems.add(line, f"{key} must be true or false", hint="write true or false, without quotes")
        return None

    def _integer(self, key: str, member: Member, line: int, node: Scalar) -> int | None:
        if node.kind not in ("number", "plain") or not _INTEGER.fullmatch(node.text):
            self._problems.add(line, f"{key} must be a whole number", hint="write digits only, without quotes")
            return None
        value = int(node.text)
        if member.least == member.most != value:
            self._problems.add(line, f"{key} {value} is not supported", hint=f"write {key} {member.most}")
        elif not member.least <= value <= member.most:
            self._problems.add(line, f"{key} must be {member.least} to {member.most}, not {value}")
        else:
            return value
        return None

    def _choice(self, key: str, member: Member, line: int, text: str) -> str | None:
        if text in member.choices:
            return text
        choices = f"{', '.join(member.choices[:-1])} or {member.choices[-1]}"
        near = _similar(text, member.choices)
        hint = f"did you mean {quoted(near)}?" if near else None
        self._problems.add(line, f"{key} must be {choices}", hint=hint)
        return None

    def _text(self, key: str, member: Member, line: int, text: str) -> str | None:
        if not text:
            self._problems.add(line, f"{key} is empty", hint="leave it out, or write a value")
        elif member.most and len(text) > member.most:
            self._problems.add(line, f"{key} has {len(text)} characters, more than {member.most}")
        elif member.pattern and not re.fullmatch(member.pattern, text):
            self._problems.add(line, f"{key} must consist of {member.pattern_words}, unlike {quoted(text)}")
        else:
            return text
        return None

    def _positive(self, text: str) -> int:
        duration = self._durations(text)
        if duration <= 0:
            raise InvalidInput(f"{quoted(text)} is not a positive duration")
        return duration

    def _secret(self, key: str, member: Member, line: int, node: Node) -> object:
        """Return the source, or `member.without`. No message contains what is written."""
        forms = [f"{{{kind}: {_EXAMPLES[kind]}}}" for kind in member.sources]
        hint = f"write {key}: {', '.join(forms[:-1])} or {forms[-1]}"
        if isinstance(node, Scalar):
            if member.without and node.kind in ("string", "plain") and node.text == member.without:
                return member.without
            if node.kind == "null":
                self._problems.add(line, f"{key} has no value", hint=hint)
            else:
                self._problems.add(line, f"{key} must not be written in the file", hint=hint)
            return None
        if not isinstance(node, Members) or len(node.entries) != 1:
            self._problems.add(line, f"{key} must name one source", hint=hint)
            return None
        ((kind, kind_line, name),) = node.entries
        for known in member.sources:
            if kind == known:
                return self._source(key, known, kind_line, name, hint)
        near = _similar(kind, member.sources)
        self._problems.add(
            kind_line, f"{key} has an unknown source", hint=f"did you mean {quoted(near)}?" if near else hint
        )
        return None

    def _source(self, key: str, kind: object, line: int, node: Node, hint: str) -> SecretSource | None:
        text = node.text if isinstance(node, Scalar) and node.kind in ("string", "plain") else ""
        match kind:
            case "generate":
                if isinstance(node, Scalar) and node.kind in ("boolean", "plain") and node.text == "true":
                    return SecretSource("generate")
                self._problems.add(line, f"generate of {key} must be true", hint=hint)
            case "env":
                if _VARIABLE.fullmatch(text):
                    return SecretSource("env", text)
                self._problems.add(line, f"env of {key} is not the name of a variable", hint=hint)
            case _:
                if text and "\0" not in text:
                    return SecretSource("file", self._path(text))
                self._problems.add(line, f"file of {key} is not the path of a file", hint=hint)
        return None

    def _path(self, text: str) -> str:
        return text if text.startswith("/") or not self._folder else f"{self._folder.rstrip('/')}/{text}"

    def _wrong_type(self, key: str, line: int, expected: str, node: Node) -> object:
        """Report a value of another type. Returns None."""
        if isinstance(node, Scalar) and node.kind == "null":
            hint = f"leave it out, or write {NEVER}" if key == "expires_at" else "leave it out, or write a value"
            if node.text not in ("", "~"):
                hint += "; a text is written in quotes"
            self._problems.add(line, f"{key} has no value", hint=hint)
            return None
        quotes = isinstance(node, Scalar) and expected == "a text"
        hint_text = "write it in quotes" if quotes else None
        self._problems.add(line, f"{key} must be {expected}, not {_described(node)}", hint=hint_text)
        return None


_EXAMPLES: Final = {"env": "VARIABLE", "file": "PATH", "generate": "true"}


def _expiry(text: str) -> Expiry:
    return NEVER_EXPIRES if text == NEVER else Expiry(at=Instant.parse(text))


def _id(text: str) -> UserId:
    if not is_uuid(text):
        raise InvalidInput(f"{quoted(text)} is not a UUID")
    return UserId(text.lower())


def _described(node: Node) -> str:
    match node:
        case Members():
            return "a mapping"
        case Items():
            return "a list"
        case Scalar(kind="number"):
            return "a number"
        case Scalar(kind="boolean"):
            return "true or false"
        case Scalar(kind="null"):
            return "nothing"
    return "a text"


def _nearest(key: str, shape: Shape) -> str | None:
    return _similar(key, tuple(shape.members))


def _similar(word: str, known: tuple[str, ...]) -> str | None:
    import difflib

    found = difflib.get_close_matches(word[:80].lower().replace("-", "_"), known, 1, 0.6)
    return found[0] if found else None
