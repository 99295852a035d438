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
        members = values.members
        email: EmailAddress | None = None
        username: Username | None = None
        if (text := _text(members, "email")) is not None:
            email = self._attempt(values, "email", self._addresses.parse, text)
        if (text := _text(members, "username")) is not None:
            username = self._attempt(values, "username", Username.parse, text)
        mfa = cast("Values | None", members.get("mfa"))
        secret = None if mfa is None else cast("SecretSource | None", mfa.members.get("secret"))
        self._users.append(
            SeedUser(
                origin=Origin(self._path, node.line),
                id=cast("UserId | None", members.get("id")),
                state=cast("State | None", members.get("state")),
                values=self._account_values(values, email, username, secret),
            )
        )

    def seed(self, root: Node) -> Seed:
        """Return the seed after all accounts have been read. Raises InvalidSeed."""
        values = self._checker.values(SEED, root)
        members = {} if values is None else values.members
        defaults, reason = _Defaults(), None
        if (written := cast("Values | None", members.get("defaults"))) is not None:
            defaults = _Defaults(self._role(written), cast("Expiry | None", written.members.get("expires_in")))
            if (reason := _text(written.members, "reason")) is not None:
                self._attempt(written, "reason", checked_reason, reason)
        groups = cast("tuple[Node, ...]", members.get("generate", ()))
        generators = tuple(found for node in groups if (found := self._generator(node)) is not None)
        self._problems.raise_first()
        if defaults != _Defaults():
            self._users = [_completed(user, defaults) for user in self._users]
            generators = tuple(
                replace(generator, pattern=_completed(generator.pattern, defaults)) for generator in generators
            )
        return Seed(cast(str, members["name"]), self._path, SeedUsers(tuple(self._users), generators), reason)

    def _generator(self, node: Node) -> _Generator | None:
        """Return a group of accounts. Its first and last account are checked at once."""
        before = len(self._problems)
        values = self._checker.values(GENERATE, node)
        if values is None or not {"count", "email"} <= values.members.keys():
            return None
        members = values.members
        count = cast(int, members["count"])
        email, username = cast(str, members["email"]), _text(members, "username")
        self._check_template("email", email, values, count)
        if username is not None:
            self._check_template("username", username, values, count)
        first_id = None if (text := _text(members, "id_start")) is None else UUID(text).int
        if first_id is not None and first_id + count - 1 > _ID_MAX:
            self._problems.add(values.line("id_start"), "id_start is too high for so many accounts")
        pattern = SeedUser(
            origin=Origin(self._path, node.line),
            state=cast("State | None", members.get("state")),
            values=self._account_values(values, None, None, None),
        )
        if len(self._problems) > before:
            return None
        generator = _Generator(count, email, username, first_id, pattern, self._addresses)
        try:
            for number in (1, count):
                generator.user(number)
        except BackctlError as error:
            self._problems.add(node.line, error.message, hint=error.hint)
        return generator

    def _check_template(self, key: str, template: str, values: Values, count: int) -> None:
        rest, line = template.replace(PLACEHOLDER, ""), values.line(key)
        if "{" in rest or "}" in rest:
            self._problems.add(
                line, f"{key} {quoted(template)} contains a brace", hint=f"write {PLACEHOLDER} for the number"
            )
        elif rest == template and count > 1:
            self._problems.add(
                line, f"{key} {quoted(template)} is the same for all accounts", hint=f"write {PLACEHOLDER} in it"
            )

    def _account_values(
        self, values: Values, email: EmailAddress | None, username: Username | None, mfa_secret: SecretSource | None
    ) -> AccountValues:
        members = values.members
        password = members.get("password")
        source = None if password == NO_PASSWORD else cast("SecretSource | None", password)
        password_hash = cast("SecretSource | None", members.get("password_hash"))
        enforces = members.get("password_policy") == "enforce"
        if enforces:
            self._check_enforced(values, (source, password_hash, mfa_secret))
        return AccountValues(
            email=email,
            username=username,
            role=self._role(values),
            expiry=cast("Expiry | None", members.get("expires_at", members.get("expires_in"))),
            must_change_password=cast("bool | None", members.get("must_change_password")),
            password=source,
            password_hash=password_hash,
            mfa_secret=mfa_secret,
            enforces_secrets=enforces,
        )

    def _check_enforced(self, values: Values, secrets: tuple[SecretSource | None, ...]) -> None:
        line = values.line("password_policy")
        if not any(secrets):
            self._problems.add(
                line,
                "password_policy is enforce, but there is no secret",
                hint="add a password or a password_hash, or leave password_policy out",
            )
        if any(source is not None and source.kind == "generate" for source in secrets):
            self._problems.add(
                line,
                "a generated password cannot be enforced, because it would differ each time",
                hint="leave password_policy out, or name the password's variable or file",
            )

    def _role(self, values: Values) -> str | None:
        role = _text(values.members, "role")
        if role is None or role in self._known_roles:
            return role
        known = self._attempt(values, "role", self._access.require_known, role)
        if known is not None:
            self._known_roles.add(known)
        return known

    def _attempt(self, values: Values, key: str, parse: Callable[[str], _T], text: str) -> _T | None:
        """Parse the text of a member; None if it is refused, which is reported."""
        try:
            return parse(text)
        except BackctlError as error:
            self._problems.add(values.line(key), f"{key}: {error.message}", hint=error.hint)
            return None


def _completed(user: SeedUser, defaults: _Defaults) -> SeedUser:
    values = user.values
    role = defaults.role if values.role is None else values.role
    expiry = defaults.expiry if values.expiry is None else values.expiry
    if role is values.role and expiry is values.expiry:
        return user
    return replace(user, values=replace(values, role=role, expiry=expiry))


def _text(members: dict[str, object], key: str) -> str | None:
    return cast("str | None", members.get(key))
