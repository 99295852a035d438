"""Saved plans: JSON documents without secrets.

The format is `backctl-plan/1`. Each change has its own line.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast, get_args

from backctl.domain.errors import BackctlError, InvalidPlan, PlanElsewhere
from backctl.domain.quoting import quoted
from backctl.domain.seed import (
    ACTIONS,
    NO_VALUES,
    AccountValues,
    Action,
    Origin,
    Plan,
    PlannedChange,
    SecretKind,
    SecretSource,
    Summary,
    Value,
)
from backctl.domain.values import NEVER, Expiry, Instant, UserId, Username, checked_reason, is_uuid

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser
    from backctl.domain.access import AccessPolicy

FORMAT: Final = "backctl-plan/1"
SECRET_MEMBERS: Final = ("password", "password_hash", "mfa_secret")
_PLAIN_MEMBERS: Final = ("email", "username", "role", "is_active", "expires_at", "expires_in", "must_change_password")
_MEMBERS: Final = ("format", "installation_id", "created_at", "files", "names", "reason", "changes")
_CHANGE_MEMBERS: Final = (
    "action",
    "seed",
    "file",
    "line",
    "id",
    "email",
    "username",
    "version",
    "before",
    "after",
    "secrets",
    "enforces_secrets",
    "compares",
)
_BEGINNING: Final = re.compile(r'\s*\{\s*"format"\s*:\s*"backctl-plan/')
_INTEGER_MAX: Final = 2**63 - 1
NEW_PLAN: Final = "make a new plan with '{backctl} plan FILE --out PLAN'"


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan and the installation that it was made for."""

    installation_id: str
    created_at: Instant
    plan: Plan

    def require_installation(self, installation_id: str) -> None:
        """Raises PlanElsewhere for another installation."""
        if self.installation_id != installation_id:
            raise PlanElsewhere("the plan was made for another installation", hint=NEW_PLAN)


def is_saved_plan(text: str) -> bool:
    """Whether a text begins like a saved plan, of this version or another one."""
    return _BEGINNING.match(text) is not None


# Writing.


def written(saved: SavedPlan) -> Iterator[str]:
    """Yield the text of a saved plan, one line after another."""
    head = {
        "format": FORMAT,
        "installation_id": saved.installation_id,
        "created_at": saved.created_at.isoformat(),
        "files": list(saved.plan.files),
        "names": list(saved.plan.names),
        "reason": saved.plan.reason,
    }
    yield json.dumps(head)[:-1] + ', "changes": ['
    separator = "\n"
    for change in saved.plan.changes:
        yield separator + json.dumps(_document(change))
        separator = ",\n"
    yield "\n]}\n"


def _document(change: PlannedChange) -> dict[str, object]:
    values, origin = change.values, change.origin
    sources: dict[str, SecretSource | None] = {name: getattr(values, name) for name in SECRET_MEMBERS}
    return {
        "action": change.action,
        "seed": change.seed,
        "file": None if origin is None else origin.file,
        "line": None if origin is None else origin.line,
        "id": change.id,
        "email": change.email,
        "username": change.username,
        "version": change.version,
        "before": {name: value for name, value in change.before.items() if name in _PLAIN_MEMBERS},
        "after": {name: value for name, value in values.shown().items() if name in _PLAIN_MEMBERS},
        "secrets": {name: {source.kind: source.name or True} for name, source in sources.items() if source is not None},
        "enforces_secrets": values.enforces_secrets,
        "compares": list(change.compares),
    }


# Reading.


@dataclass(frozen=True, slots=True)
class PlanReader:
    """Reads saved plans, and checks them as if somebody had edited them."""

    addresses: "AddressParser"
    access: "AccessPolicy"

    def read(self, text: str) -> SavedPlan:
        """Raises InvalidPlan; a role that no longer exists and an invalid name are named in its message."""
        try:
            top = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
        except (ValueError, RecursionError):
            raise InvalidPlan("the file is not a saved plan: it is not valid JSON", hint=NEW_PLAN) from None
        if not isinstance(top, dict) or top.get("format") != FORMAT:
            raise InvalidPlan(f"the file is not a saved plan of the format {FORMAT}", hint=NEW_PLAN)
        _require_members(top, _MEMBERS, "the plan")
        try:
            installation_id = _text(top["installation_id"], "installation_id")
            created_at = Instant.parse(_text(top["created_at"], "created_at"))
            names, files = _texts(top["names"], "names"), _texts(top["files"], "files")
            reason = None if top["reason"] is None else checked_reason(_text(top["reason"], "reason"))
            documents = _array(top["changes"], "changes")
        except BackctlError as error:
            raise _invalid("the plan", error.message) from error
        changes = tuple(self._change(each, f"change {number}") for number, each in enumerate(documents, 1))
        counts = {
            "unchanged" if action == "none" else action: sum(change.action == action for change in changes)
            for action in ACTIONS
        }
        return SavedPlan(installation_id, created_at, Plan(names, files, changes, Summary(**counts), reason))

    def _change(self, members: object, place: str) -> PlannedChange:
        if not isinstance(members, dict):
            raise _invalid(place, "it is not an object")
        _require_members(members, _CHANGE_MEMBERS, place)
        try:
            change = PlannedChange(
                action=cast(Action, _choice(members["action"], ACTIONS, "action")),
                seed=_text(members["seed"], "seed"),
                origin=_origin(members["file"], members["line"]),
                id=_id(members["id"]),
                email=_text(members["email"], "email"),
                username=_text(members["username"], "username"),
                version=_integer(members["version"], "version"),
                values=self._values(
                    _object(members["after"], "after"),
                    _object(members["secrets"], "secrets"),
                    enforces=_boolean(members["enforces_secrets"], "enforces_secrets"),
                ),
                before=_before(_object(members["before"], "before")),
                compares=_texts(members["compares"], "compares"),
            )
        except BackctlError as error:
            raise _invalid(place, error.message) from error
        _require_consistent(change, place)
        return change

    def _values(self, after: Mapping[str, object], secrets: Mapping[str, object], *, enforces: bool) -> AccountValues:
        _require_known(after, _PLAIN_MEMBERS)
        _require_known(secrets, SECRET_MEMBERS)
        sources = {name: _source(_object(value, name), name) for name, value in secrets.items()}
        return AccountValues(
            email=self.addresses.parse(_text(after["email"], "email")) if "email" in after else None,
            username=Username.parse(_text(after["username"], "username")) if "username" in after else None,
            role=self.access.require_known(_text(after["role"], "role")) if "role" in after else None,
            is_active=_boolean(after["is_active"], "is_active") if "is_active" in after else None,
            expiry=_expiry(after),
            must_change_password=(
                _boolean(after["must_change_password"], "must_change_password")
                if "must_change_password" in after
                else None
            ),
            password=sources.get("password"),
            password_hash=sources.get("password_hash"),
            mfa_secret=sources.get("mfa_secret"),
            enforces_secrets=enforces,
        )


def _require_consistent(change: PlannedChange, place: str) -> None:
    """Raises InvalidPlan if no plan of this program could contain the change."""
    values = change.values
    sound = _is_creation(change) if change.action == "create" else _is_change_of_account(change)
    if not sound or (values.password is not None and values.password_hash is not None):
        raise _invalid(place, f"its members do not fit the action {quoted(change.action)}")


def _is_creation(change: PlannedChange) -> bool:
    values = change.values
    return (
        change.version is None
        and values.email is not None
        and values.email.address == change.email
        and values.username is not None
        and values.username.name == change.username
        and values.role is not None
        and values.is_active is not None
        and not change.before
        and not change.compares
    )


def _is_change_of_account(change: PlannedChange) -> bool:
    values = change.values
    if change.id is None or change.version is None or not values.shown().keys() >= set(change.compares):
        return False
    if values.expiry is not None and values.expiry.after is not None:
        return False
    if values.password is not None and values.password.kind == "generate":
        return False  # it would differ each time
    match change.action:
        case "delete":
            return values == NO_VALUES
        case "open":
            return values.is_active is True
        case "close":
            return values.is_active is False
        case "none":
            return values.is_active is None and not change.after and bool(change.compares)
        case _:
            return values.is_active is None and bool(change.after)


# Members of the document. Messages name the member, never its value, which could be a secret in the wrong place.


def _invalid(place: str, why: str) -> InvalidPlan:
    return InvalidPlan(f"the saved plan is damaged: {place}: {why}", hint=NEW_PLAN)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member appears twice")
    return members


def _refused(constant: str) -> object:
    raise ValueError(constant)


def _wrong(name: str) -> InvalidPlan:
    return InvalidPlan(f"{name} has a wrong value")


def _object(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _wrong(name)
    return value


def _array(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise _wrong(name)
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _wrong(name)
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    return tuple(_text(each, name) for each in _array(value, name))


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name)
    return value


def _integer(value: object, name: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= _INTEGER_MAX:
        raise _wrong(name)
    return value


def _choice(value: object, known: Sequence[str], name: str) -> str:
    text = _text(value, name)
    if text not in known:
        raise _wrong(name)
    return text


def _id(value: object) -> UserId | None:
    if value is None:
        return None
    text = _text(value, "id")
    if not is_uuid(text) or text != text.lower():
        raise _wrong("id")
    return UserId(text)


def _origin(file: object, line: object) -> Origin | None:
    number = _integer(line, "line")
    if file is None and number is None:
        return None
    return Origin(_text(file, "file"), number or 1)


def _expiry(after: Mapping[str, object]) -> Expiry | None:
    if "expires_in" in after:
        if "expires_at" in after:
            raise _wrong("expires_in")
        return Expiry(after=_integer(after["expires_in"], "expires_in"))
    if "expires_at" not in after:
        return None
    value = after["expires_at"]
    return NEVER if value is None else Expiry(at=Instant.parse(_text(value, "expires_at")))


def _source(members: Mapping[str, object], name: str) -> SecretSource:
    if len(members) != 1:
        raise _wrong(name)
    ((kind, value),) = members.items()
    if kind not in get_args(SecretKind) or (kind == "generate") != (value is True):
        raise _wrong(name)
    return SecretSource(cast(SecretKind, kind), "" if value is True else _text(value, name))


def _before(members: Mapping[str, object]) -> dict[str, Value]:
    _require_known(members, _PLAIN_MEMBERS)
    for name, value in members.items():
        if value is not None and not isinstance(value, str | bool):
            raise _wrong(name)
    return cast(dict[str, Value], dict(members))


def _require_known(members: Mapping[str, object], known: Sequence[str]) -> None:
    for name in members:
        if name not in known:
            raise InvalidPlan(f"unknown member {quoted(name)}")


def _require_members(members: Mapping[str, object], expected: Sequence[str], place: str) -> None:
    missing = [name for name in expected if name not in members]
    unknown = [name for name in members if name not in expected]
    if missing or unknown:
        raise _invalid(place, f"{quoted(missing[0])} is missing" if missing else f"unknown member {quoted(unknown[0])}")
