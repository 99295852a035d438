"""`backctl cache …`: inspect, change and invalidate what services have cached."""

from typing import Annotated

from typer import Argument, Option

from backctl.application.cache_views import (
    CachedValue,
    CacheStats,
    EntryView,
    ExplanationView,
    InvalidationView,
    RemovedEntry,
    StoredValue,
)
from backctl.domain.cache_entry import VALUE_MAX
from backctl.domain.errors import UsageError
from backctl.domain.quoting import escaped
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import duration

app = noun("cache")

Key = Annotated[str, Argument(metavar="KEY", help="Key of an entry, for example 'report:2026'.")]
_BASE64_GROWTH = 2  # base64 with line ends


@leaf(app, view=CachedValue)
def get(
    call: Invocation,
    key: Key,
    raw: Annotated[bool, Option("--raw", help="Print a string without quotes, and bytes as they are.")] = False,
) -> None:
    """Print a cached value as JSON; exit code 3 if it is not cached.

    Bytes are printed as base64. Values of services that have a stale, expired or invalidated entry are not cached.
    """
    import json

    from backctl.application.cache_values import shown_value

    found = call.backend.cache_entries.value(key)
    view = {"key": found.key, "value": shown_value(found.value), "format": found.format}
    if raw and isinstance(found.value, bytes):
        call.results.renderer.exactly(found.value, view)
        return
    text = found.value if raw and isinstance(found.value, str) else json.dumps(view["value"], ensure_ascii=False)
    call.results.value(text, view)


@leaf(app, name="set", changes="store a value under {key}", view=StoredValue)
def set_(
    call: Invocation,
    key: Key,
    value: Annotated[str | None, Argument(metavar="[VALUE]", help="The value as JSON.")] = None,
    from_file: Annotated[
        str | None,
        Option("--from-file", metavar="FILE", help="Read the value from a file; '-' is standard input."),
    ] = None,
    raw: Annotated[bool, Option("--raw", help="Store the text itself as a string, instead of JSON.")] = False,
    base64: Annotated[bool, Option("--base64", help="Store bytes, given as base64.")] = False,
    ttl: Annotated[
        str | None, Option("--ttl", metavar="DURATION", help="Time until the value is stale; cache.ttl unless given.")
    ] = None,
    tags: Annotated[
        list[str] | None, Option("--tag", metavar="TAG", help="Add a tag, by which the entry can be invalidated.")
    ] = None,
) -> None:
    """Store a value in the cache, in place of the one that is there.

    The namespaces 'user' and 'revocation' are reserved: only services store their entries.
    """
    from backctl.application.cache_values import read_value

    if raw and base64:
        raise UsageError("--raw and --base64 exclude each other", hint="use one of them")
    if (value is None) == (from_file is None):
        raise UsageError("give either VALUE or --from-file", hint="write for example '{\"total\": 3}'")
    microseconds = None if ttl is None else duration(ttl)
    cache = call.backend.cache_entries
    content = _content(call, from_file) if from_file is not None else (value or "").encode(errors="surrogateescape")
    parsed = read_value(content, "base64" if base64 else "text" if raw else "json")
    change = cache.store_value(key, parsed, ttl=microseconds, tags=tags or (), dry_run=call.dry_run)
    call.results.changed(change)
    if not change.changed:
        call.messages.warn("another process changed this entry at the same time, so it was not stored")


@leaf(app, changes="delete the cached value of {key}", view=RemovedEntry)
def delete(
    call: Invocation,
    key: Key,
    if_exists: Annotated[bool, Option("--if-exists", help="Succeed if there is no such entry.")] = False,
) -> None:
    """Delete a cached value in all running services; exit code 3 if there is none.

    A service that is loading the value at this moment does not store it.
    """
    call.results.changed(call.backend.cache_entries.remove(key, if_exists=if_exists, dry_run=call.dry_run))


@leaf(app, name="list", view=EntryView)
def list_(
    call: Invocation,
    pattern: Annotated[
        str, Argument(metavar="[PATTERN]", help="Only keys that match this glob of Redis, for example 'report:*'.")
    ] = "*",
) -> None:
    """List the entries that all processes share, in any order.

    Includes entries that are not used any more and have not been removed yet: their state says why. Reads every key.
    """
    call.results.stream(call.backend.cache_entries.entries(pattern), EntryView)


@leaf(app, view=ExplanationView)
def explain(call: Invocation, key: Key) -> None:
    """Show everything about an entry: its level, age, TTL, tags, epoch and writer, and why it is not used."""
    call.results.show(call.backend.cache_entries.explain(key))


@leaf(app, changes="invalidate cached values", guard="yes", view=InvalidationView)
def invalidate(
    call: Invocation,
    pattern: Annotated[
        str | None, Argument(metavar="[PATTERN]", help="Keys that match this glob of Redis, for example 'user:*'.")
    ] = None,
    tags: Annotated[
        list[str] | None, Option("--tag", metavar="TAG", help="Entries with this tag; can be repeated.")
    ] = None,
    everything: Annotated[bool, Option("--all", help="All entries. Asks first, unless --yes.")] = False,
) -> None:
    """Invalidate cached values in all running services, which load them again when they need them.

    A pattern reads every key, in short steps that do not block the server, and counts the entries. If it is
    interrupted, run it again. --tag and --all take the same time for any number of entries, and count nothing.
    """
    if [pattern is not None, bool(tags), everything].count(True) != 1:
        raise UsageError("give one of PATTERN, --tag and --all", hint="write for example 'report:*', in quotes")
    cache = call.backend.cache_entries
    if pattern is None:
        if everything:
            call.guard.confirm("invalidate all cached values")
        call.results.changed(cache.renew(tags or (), dry_run=call.dry_run))
        return
    with call.messages.progress(f"invalidating {escaped(pattern)}") as progress:
        change = cache.remove_matching(pattern, dry_run=call.dry_run, progress=progress.advance)
    call.results.changed(change)


@leaf(app, view=CacheStats)
def stats(call: Invocation) -> None:
    """Show the number and size of the entries, and how often services found a value.

    Reads every key. Services add their counts every ten seconds and when they end.
    """
    call.results.show(call.backend.cache_entries.stats())


def _content(call: Invocation, file: str) -> bytes:
    """Read the value from a file, and no more than a value can have."""
    from backctl.presentation.input_files import NamedFile

    size = _BASE64_GROWTH * VALUE_MAX + 1
    if file == "-":
        call.stdin.claim("--from-file")
        return call.stdin.reader("read")(size)
    with NamedFile("--from-file", file) as source:
        content = bytearray()
        while len(content) < size and (block := source.read(size - len(content))):
            content += block
        return bytes(content)
