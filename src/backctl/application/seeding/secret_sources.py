"""The secrets that seed files refer to: checked when planning, read once when applying."""

from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from backctl.application.seeding.checking import Problems
from backctl.domain.errors import BackctlError, InvalidInput
from backctl.domain.plain_text import text_of
from backctl.domain.quoting import quoted
from backctl.domain.seed import Origin, SecretSource
from backctl.domain.values import Secret

LONGEST: Final = 65_536
"""Bytes of a secret, with its line end."""


class SecretFiles(Protocol):
    """Reads files that contain one secret."""

    def require(self, path: str) -> None:
        """Raises InvalidInput unless there is a regular file that can be read."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file. Raises InvalidInput if it cannot be read or has more than `limit` bytes."""
        ...


class SecretSources:
    """Finds secrets in the environment and in files. Every secret is read at most once, so it does not change."""

    def __init__(self, variables: Mapping[str, str], files: SecretFiles) -> None:
        self._variables = variables
        self._files = files
        self._read: dict[SecretSource, Secret] = {}
        self._exist: set[SecretSource] = set()

    def require(self, used: Iterable[tuple[Origin, SecretSource]]) -> None:
        """Check that all these secrets exist, without reading them. Raises InvalidSeed with the line of the first."""
        self._check_each(used, self._require)

    def read_all(self, used: Iterable[tuple[Origin, SecretSource]]) -> None:
        """Read all these secrets, so that `secret` returns them. Raises InvalidSeed as `require` does."""
        self._check_each(used, self.secret)

    def secret(self, source: SecretSource) -> Secret:
        """Return a secret of a variable or a file, without a byte order mark and one line end.

        Raises InvalidInput if it does not exist, is empty, too long, or not UTF-8. The message never contains it.
        """
        known = self._read.get(source)
        if known is None:
            known = self._read[source] = self._fresh(source)
            self._exist.add(source)
        return known

    def _check_each(self, used: Iterable[tuple[Origin, SecretSource]], check: "_Check") -> None:
        faulty: dict[str, Problems] = {}
        failed: set[SecretSource] = set()
        for origin, source in used:
            if source.kind == "generate" or source in failed:
                continue
            try:
                check(source)
            except BackctlError as error:
                failed.add(source)
                problems = faulty.setdefault(origin.file, Problems(origin.file))
                problems.add(origin.line, error.message, hint=error.hint)
        for problems in faulty.values():
            problems.raise_first()

    def _require(self, source: SecretSource) -> None:
        if source in self._exist:
            return
        if source.kind == "file":
            self._files.require(source.name)
        else:
            self._variable(source.name)
        self._exist.add(source)

    def _fresh(self, source: SecretSource) -> Secret:
        if source.kind == "file":
            raw = self._files.read(source.name, LONGEST)
            shown = f"the file {quoted(source.name, limit=400)}"
        else:
            raw = self._variable(source.name).encode("utf-8", "surrogateescape")
            shown = f"the variable {source.name}"
        if len(raw) > LONGEST:
            raise InvalidInput(f"{shown} has more than {LONGEST} bytes")
        if raw.endswith(b"\n"):
            raw = raw[: -2 if raw.endswith(b"\r\n") else -1]
        try:
            text = text_of(raw)
        except UnicodeDecodeError:
            raise InvalidInput(f"{shown} is not UTF-8 text") from None
        if not text:
            raise InvalidInput(f"{shown} is empty", hint="a secret has at least one character")
        return Secret(text)

    def _variable(self, name: str) -> str:
        value = self._variables.get(name)
        if not value:
            what = "is empty" if name in self._variables else "is not set"
            raise InvalidInput(f"the environment variable {name} {what}", hint="set it, or name another source")
        return value


class _Check(Protocol):
    def __call__(self, source: SecretSource) -> object: ...
