"""Read seed files: from the members of their documents to the accounts that they declare."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar, cast
from uuid import UUID

from backctl.application.seeding.checking import Checker, Problems, Values
from backctl.application.seeding.documents import Node
from backctl.application.seeding.schema import GENERATE, NO_PASSWORD, PLACEHOLDER, SEED, USER
from backctl.domain.errors import BackctlError
from backctl.domain.quoting import quoted
from backctl.domain.seed import AccountValues, Desired, Origin, SecretSource, Seed, SeedUser, State
from backctl.domain.values import EmailAddress, Expiry, UserId, Username, checked_reason

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser
    from backctl.application.seeding.documents import DocumentReader
    from backctl.domain.access import AccessPolicy

_T = TypeVar("_T")

_ID_MAX: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class _Defaults:
    role: str | None = None
    expiry: Expiry | None = None


@dataclass(frozen=True, slots=True)
class _Generator:
    """Numbered accounts, which exist only while they are iterated."""

    count: int
    email: str
    username: str | None
    first_id: int | None
    pattern: SeedUser
    addresses: "AddressParser" = field(repr=False)

    def __iter__(self) -> Iterator[SeedUser]:
        return map(self.user, range(1, self.count + 1))

    def user(self, number: int) -> SeedUser:
        """Return the account with this number. Raises InvalidEmail, InvalidUsername."""
        digits = str(number)
        username = None if self.username is None else Username.parse(self.username.replace(PLACEHOLDER, digits))
        email = self.addresses.parse(self.email.replace(PLACEHOLDER, digits))
        user_id = None if self.first_id is None else UserId(str(UUID(int=self.first_id + number - 1)))
        values = replace(self.pattern.values, email=email, username=username)
        return replace(self.pattern, id=user_id, values=values)


@dataclass(frozen=True, slots=True)
class SeedUsers:
    """The accounts of one file: those that it lists, then those that it generates. `len` is their number."""

    listed: tuple[SeedUser, ...]
    generators: tuple[_Generator, ...] = ()

    def __len__(self) -> int:
        return len(self.listed) + sum(generator.count for generator in self.generators)

    def __iter__(self) -> Iterator[SeedUser]:
        yield from self.listed
        for generator in self.generators:
            yield from generator


class SeedFiles:
    """Reads and validates seed files."""

    def __init__(
        self,
        *,
        documents: "DocumentReader",
        addresses: "AddressParser",
        access: "AccessPolicy",
        durations: Callable[[str], int],
    ) -> None:
        """`durations` parses a text such as `30d` to microseconds, or raises InvalidDuration."""
        self._documents = documents
        self._addresses = addresses
        self._access = access
        self._durations = durations

    def desired(self, paths: Iterable[str]) -> Desired:
        """Read all files. Raises the errors of `seed`."""
        return Desired(tuple(self.seed(path) for path in paths))

    def seed(self, path: str) -> Seed:
        """Read one file. The paths of secrets become relative to the current folder instead of the file's.

        Raises UsageError for a file that cannot be read or has another ending; InputTooLarge; InvalidSeed with the
        first line that is wrong and the numbers of others.
        """
        reading = _Reading(path, self._addresses, self._access, self._durations)
        root = self._documents(path, {"users": reading.user})
        return reading.seed(root)


class _Reading:
    """Reads one file. Its accounts arrive one by one, maybe before the defaults."""

    def __init__(
        self, path: str, addresses: "AddressParser", access: "AccessPolicy", durations: Callable[[str], int]
    ) -> None:
        self._path = path
        self._addresses = addresses
        self._access = access
        self._problems = Problems(path)
        folder, slash, _ = path.rpartition("/")
        self._checker = Checker(self._problems, durations, folder or slash)
        self._users: list[SeedUser] = []
        self._known_roles: set[str] = set()

    def user(self, node: Node) -> None:
        """Read one element of `users`."""
        values = self._checker.values(USER, node)
        if values is None:
            return
        email_text, username_text = _text(values, "email"), _text(values, "username")
        email: EmailAddress | None = None
        username: Username | None = None
        if email_text is not None:
            email = self._attempt(values, "email", lambda: self._addresses.parse(email_text))
        if username_text is not None:
            username = self._attempt(values, "username", lambda: Username.parse(username_text))
        mfa = values.get("mfa")
        secret = cast(Values, mfa.value).get("secret") if mfa is not None else None
        self._users.append(
            SeedUser(
                origin=Origin(self._path, node.line),
                id=cast("UserId | None", _value(values, "id")),
                state=cast("State | None", _value(values, "state")),
                values=self._account_values(
                    values, node.line, email, username, None if secret is None else cast(SecretSource, secret.value)
                ),
            )
        )

    def seed(self, root: Node) -> Seed:
        """Return the seed after all accounts have been read. Raises InvalidSeed."""
        values = self._checker.values(SEED, root)
        if values is None:
            self._problems.raise_first()
            raise AssertionError("unreachable")
        written = cast("Values | None", _value(values, "defaults")) or {}
        role, reason = self._role(written), _text(written, "reason")
        if reason is not None:
            self._attempt(written, "reason", lambda: checked_reason(reason))
        defaults = _Defaults(role, cast("Expiry | None", _value(written, "expires_in")))
        generated = cast("tuple[Node, ...]", _value(values, "generate")) or ()
        generators = tuple(found for node in generated if (found := self._generator(node)) is not None)
        self._problems.raise_first()
        if defaults != _Defaults():
            self._users = [_completed(user, defaults) for user in self._users]
            generators = tuple(
                replace(generator, pattern=_completed(generator.pattern, defaults)) for generator in generators
            )
        return Seed(_text(values, "name") or "", self._path, SeedUsers(tuple(self._users), generators), reason)

    def _generator(self, node: Node) -> _Generator | None:
        """Return a group of accounts. Its first and last account are checked at once."""
        before = len(self._problems)
        values = self._checker.values(GENERATE, node)
        if values is None or not {"count", "email"} <= values.keys():
            return None
        count = cast(int, values["count"].value)
        templates = {key: text for key in ("email", "username") if (text := _text(values, key)) is not None}
        for key, template in templates.items():
            self._check_template(key, template, values[key].line, count)
        first_id = cast("UserId | None", _value(values, "id_start"))
        number = None if first_id is None else UUID(first_id).int
        if number is not None and number + count - 1 > _ID_MAX:
            self._problems.add(values["id_start"].line, "id_start is too high for so many accounts")
        pattern = SeedUser(
            origin=Origin(self._path, node.line),
            state=cast("State | None", _value(values, "state")),
            values=self._account_values(values, node.line, None, None, None),
        )
        if len(self._problems) > before:
            return None
        generator = _Generator(count, templates["email"], templates.get("username"), number, pattern, self._addresses)
        try:
            for number in (1, count):
                generator.user(number)
        except BackctlError as error:
            self._problems.add(node.line, error.message, hint=error.hint)
        return generator

    def _check_template(self, key: str, template: str, line: int, count: int) -> None:
        rest = template.replace(PLACEHOLDER, "")
        if "{" in rest or "}" in rest:
            self._problems.add(
                line, f"{key} {quoted(template)} contains a brace", hint=f"write {PLACEHOLDER} for the number"
            )
        elif rest == template and count > 1:
            self._problems.add(
                line, f"{key} {quoted(template)} is the same for all accounts", hint=f"write {PLACEHOLDER} in it"
            )

    def _account_values(
        self,
        values: Values,
        line: int,
        email: EmailAddress | None,
        username: Username | None,
        mfa_secret: SecretSource | None,
    ) -> AccountValues:
        password = _value(values, "password")
        password_hash = cast("SecretSource | None", _value(values, "password_hash"))
        enforces = _value(values, "password_policy") == "enforce"
        source = None if password == NO_PASSWORD else cast("SecretSource | None", password)
        if enforces and source is None and password_hash is None and mfa_secret is None:
            self._problems.add(
                values["password_policy"].line,
                "password_policy is enforce, but there is no secret",
                hint="add a password or a password_hash, or leave password_policy out",
            )
        if enforces and source is not None and source.kind == "generate":
            self._problems.add(
                values["password_policy"].line,
                "a generated password cannot be enforced, because it would differ each time",
                hint="leave password_policy out, or name the password's variable or file",
            )
        expiry = cast("Expiry | None", _value(values, "expires_at") or _value(values, "expires_in"))
        return AccountValues(
            email=email,
            username=username,
            role=self._role(values),
            expiry=expiry,
            must_change_password=cast("bool | None", _value(values, "must_change_password")),
            password=source,
            password_hash=password_hash,
            mfa_secret=mfa_secret,
            enforces_secrets=enforces,
        )

    def _role(self, values: Values) -> str | None:
        role = _text(values, "role")
        if role is None or role in self._known_roles:
            return role
        known = self._attempt(values, "role", lambda: self._access.require_known(role))
        if known is not None:
            self._known_roles.add(known)
        return known

    def _attempt(self, values: Values, key: str, parse: Callable[[], _T]) -> _T | None:
        return self._problems.attempt(key, values[key].line, parse)


def _completed(user: SeedUser, defaults: _Defaults) -> SeedUser:
    values = user.values
    role = defaults.role if values.role is None else values.role
    expiry = defaults.expiry if values.expiry is None else values.expiry
    if role is values.role and expiry is values.expiry:
        return user
    return replace(user, values=replace(values, role=role, expiry=expiry))


def _value(values: Values, key: str) -> object:
    given = values.get(key)
    return None if given is None else given.value


def _text(values: Values, key: str) -> str | None:
    given = values.get(key)
    return None if given is None else cast(str, given.value)
