"""Read the accounts of other programs as accounts of this one.

A mapping applies first: what it takes from a record overrides what follows from the rest.
"""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from backctl.application.transfer.mapping import Mapping
from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted

_Object = dict[str, object]

_NO_PASSWORD: Final = "!"  # UNUSABLE_PASSWORD_PREFIX of django.contrib.auth.hashers
_FRACTION = re.compile(r"(\.\d{6})\d+")


class NotAnAccount(Exception):
    """The record is of another kind; `what` says which."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def from_django(record: _Object, mapping: Mapping) -> _Object:
    """Read a user of Django, as `manage.py dumpdata auth.User` writes it. Raises InvalidInput and NotAnAccount.

    A model named `user` of any application is accepted. Superusers become administrators, and staff moderators. A
    password that starts with `!` is unusable, so the account gets none. Where people log in with their e-mail address,
    its local part becomes the username. Groups, permissions and other fields are left out, and so is the primary key.
    Formats: https://docs.djangoproject.com/en/5.2/topics/serialization/ and
    https://docs.djangoproject.com/en/5.2/ref/contrib/auth/
    """
    taken = mapping.taken_from(record)
    model = record.get("model")
    if not isinstance(model, str):
        raise InvalidInput("it has no 'model'", hint="use the output of 'manage.py dumpdata auth.User'")
    if model.rpartition(".")[2].lower() != "user":
        raise NotAnAccount(model)
    fields = _object(record, "fields")
    email = taken.get("email", fields.get("email") or None)
    username = fields.get("username")
    members: _Object = {
        "username": _local_part(email) if _is_address(username, email) else username,
        "email": email,
        "role": _django_role(fields),
        "is_active": fields.get("is_active"),
        "created_at": fields.get("date_joined"),
        "last_login_at": fields.get("last_login"),
    }
    password = fields.get("password") or None
    if not isinstance(password, str) or not password.startswith(_NO_PASSWORD):
        members["password_hash"] = password
    return _given(members) | taken


def _is_address(username: object, email: object) -> bool:
    """Whether the username is missing, or is the e-mail address in any case: Django lowers that of its domain."""
    if isinstance(username, str) and isinstance(email, str):
        return username.casefold() == email.casefold()
    return username is None


def _local_part(email: object) -> str | None:
    return email.rpartition("@")[0] or None if isinstance(email, str) else None


def _django_role(fields: _Object) -> str | None:
    if "is_superuser" not in fields and "is_staff" not in fields:
        return None
    for name, role in (("is_superuser", "admin"), ("is_staff", "moderator")):
        value = fields.get(name, False)
        if not isinstance(value, bool):
            raise InvalidInput(f"its {name} is not true or false")
        if value:
            return role
    return "user"


def from_kratos(record: _Object, mapping: Mapping) -> _Object:
    """Read an identity of Ory Kratos, as its import takes it and as its admin API lists it. Raises InvalidInput.

    The username is the trait `username`, or the local part of the e-mail address. An identity within a batch stands in
    its member `create`. Social sign-in, passkeys and recovery codes are left out. Formats:
    https://www.ory.com/docs/kratos/manage-identities/import-user-accounts-identities,
    https://www.ory.com/docs/kratos/manage-identities/export-user-accounts-identities and
    https://www.ory.com/docs/reference/api#tag/identity
    """
    if isinstance(created := record.get("create"), dict) and "traits" not in record:
        record = created
    taken = mapping.taken_from(record)
    traits = _object(record, "traits") if "traits" in record or not taken else {}
    email = taken.get("email", traits.get("email"))
    username = traits.get("username")
    members: _Object = {
        "id": record.get("id"),
        "email": email,
        "username": _local_part(email) if username is None else username,
        "is_active": _is_active(record.get("state")),
        "created_at": _microseconds(record.get("created_at")),
        "updated_at": _microseconds(record.get("updated_at")),
    }
    credentials = _object(record, "credentials", optional=True)
    if password := _object(credentials, "password", optional=True):
        members |= _kratos_password(password)
    if codes := _object(credentials, "totp", optional=True):
        members |= _kratos_codes(codes)
    return _given(members) | taken


def _is_active(state: object) -> bool | None:
    if state is None:
        return None
    if state not in ("active", "inactive"):
        raise InvalidInput("its state is not 'active' or 'inactive'")
    return state == "active"


def _kratos_password(credential: _Object) -> _Object:
    config = _object(credential, "config", optional=True)
    if config.get("password"):
        return {"password": config["password"]}
    if "hashed_password" in config or config.get("use_password_migration_hook"):
        return {"password_hash": config.get("hashed_password") or None}
    raise _without_secret("password")


def _kratos_codes(credential: _Object) -> _Object:
    config = _object(credential, "config", optional=True)
    if not isinstance(uri := config.get("totp_url"), str):
        raise _without_secret("totp")
    return _codes_of(uri) | {
        "mfa_enrolled_at": _microseconds(credential.get("created_at")),
        "mfa_confirmed_at": _microseconds(credential.get("created_at")),
    }


def _without_secret(kind: str) -> InvalidInput:
    return InvalidInput(
        f"its credential {quoted(kind)} was exported without its secret",
        hint=f"export it with include_credential={kind}, or ignore it with --map credentials.{kind}=",
    )


def _codes_of(uri: str) -> _Object:
    """Read one-time codes from a URI: https://github.com/google/google-authenticator/wiki/Key-Uri-Format"""
    try:
        parts = urlsplit(uri)
        parameters = {name: values[0] for name, values in parse_qs(parts.query, max_num_fields=20).items()}
    except ValueError:
        raise _bad_uri() from None
    if parts.scheme != "otpauth" or parts.netloc.lower() != "totp" or "secret" not in parameters:
        raise _bad_uri()
    return {
        "mfa": "on",
        "totp_secret": parameters["secret"],
        "totp_algorithm": parameters.get("algorithm", "SHA1").lower(),
        "totp_digits": _number(parameters.get("digits", "6")),
        "totp_period": _number(parameters.get("period", "30")),
    }


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _bad_uri()
    return int(text)


def _bad_uri() -> InvalidInput:
    return InvalidInput("its totp_url is not a valid otpauth URI of time-based codes")


def _microseconds(moment: object) -> object:
    """Cut a time to microseconds; Go writes nanoseconds."""
    return _FRACTION.sub(r"\1", moment) if isinstance(moment, str) else moment


def _object(record: _Object, name: str, *, optional: bool = False) -> _Object:
    value = record.get(name)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"its {quoted(name)} is not an object")
    return value


def _given(members: _Object) -> _Object:
    return {name: value for name, value in members.items() if value is not None}
