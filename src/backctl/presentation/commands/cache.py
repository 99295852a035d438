"""`backctl cache …`: inspect, change and invalidate the cache that services share."""

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


@leaf(
    app,
    kind="value",
    view=CachedValue,
    examples="""
    # Print a value as JSON
    backctl cache get report:1
    # Print a string without quotes
    backctl cache get report:title --raw
    """,
)
def get(
    call: Invocation,
    key: Key,
    raw: Annotated[bool, Option("--raw", help="Print a string without quotes, and bytes as they are.")] = False,
) -> None:
    """Print a cached value as JSON; exit code 3 if it is not cached.

    Bytes are printed as base64. A stale, expired or invalidated entry is treated as not cached.
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


@leaf(
    app,
    name="set",
    changes="store a value under {key}",
    view=StoredValue,
    examples="""
    # Store a value for ten minutes
    backctl cache set report:1 '{"total": 7}' --ttl 10m --tag reports
    # Store a text from a file
    backctl cache set report:title --raw --from-file title.txt
    """,
)
def set_(
    call: Invocation,
    key: Key,
    value: Annotated[str | None, Argument(metavar="[VALUE]", help="The value as JSON.")] = None,
    from_file: Annotated[
        str | None,
        Option("--from-file", metavar="FILE", help="Read the value from a file; '-' is standard input."),
    ] = None,
    raw: Annotated[bool, Option("--raw", help="Store the input as a string instead of parsing it as JSON.")] = False,
    base64: Annotated[bool, Option("--base64", help="Decode the input as base64 and store the bytes.")] = False,
    ttl: Annotated[
        str | None, Option("--ttl", metavar="DURATION", help="Time until the value is stale; cache.ttl by default.")
    ] = None,
    tags: Annotated[
        list[str] | None, Option("--tag", metavar="TAG", help="Tag to invalidate the entry by; may be repeated.")
    ] = None,
) -> None:
    """Store a value in the cache, replacing any existing one.

    The namespaces 'user' and 'revocation' are reserved for entries that backctl signs.
    """
    from backctl.application.cache_values import read_value

    if raw and base64:
        raise UsageError("--raw and --base64 cannot be combined", hint="use one of them")
    if (value is None) == (from_file is None):
        raise UsageError("give either VALUE or --from-file", hint="for example, '{\"total\": 3}'")
    microseconds = None if ttl is None else duration(ttl)
    cache = call.backend.cache_entries
    content = _content(call, from_file) if from_file is not None else (value or "").encode(errors="surrogateescape")
    parsed = read_value(content, "base64" if base64 else "text" if raw else "json")
    change = cache.store_value(key, parsed, ttl=microseconds, tags=tags or (), dry_run=call.dry_run)
    call.results.changed(change)
    if not change.changed:
        call.messages.warn("the value was not stored: another process changed this entry at the same time")


@leaf(
    app,
    changes="delete the cached value of {key}",
    view=RemovedEntry,
    examples="""
    # Delete an entry
    backctl cache delete report:1
    # Succeed even if there is none
    backctl cache delete report:9 --if-exists
    """,
)
def delete(
    call: Invocation,
    key: Key,
    if_exists: Annotated[bool, Option("--if-exists", help="Succeed if the entry does not exist.")] = False,
) -> None:
    """Delete a cache entry in all running services.

    Exit code 3 if there is none. A service that is loading the value at that moment does not store it.
    """
    call.results.changed(call.backend.cache_entries.remove(key, if_exists=if_exists, dry_run=call.dry_run))


@leaf(
    app,
    name="list",
    kind="list",
    view=EntryView,
    examples="""
    # List all entries
    backctl cache list
    # Print the keys of one namespace
    backctl cache list 'report:*' --fields key --no-header
    """,
)
def list_(
    call: Invocation,
    pattern: Annotated[
        str, Argument(metavar="[PATTERN]", help="List only keys that match this Redis glob, for example 'report:*'.")
    ] = "*",
) -> None:
    """List the entries in the shared store, in no particular order.

    Includes entries that are no longer used but not yet removed; STATE shows why. Reads every key.
    """
    call.results.stream(call.backend.cache_entries.entries(pattern), EntryView)


@leaf(
    app,
    view=ExplanationView,
    examples="""
    # Show why an entry is used or not
    backctl cache explain report:1
    # Print it as JSON
    backctl cache explain report:1 -o json
    """,
)
def explain(call: Invocation, key: Key) -> None:
    """Show everything about a cache entry.

    Shows its level, age, TTL, tags, epoch and writer, and, if it is not used, the reason. Exit code 3 if there is none.
    """
    call.results.show(call.backend.cache_entries.explain(key))


@leaf(
    app,
    changes="invalidate cached values",
    guard="yes",
    view=InvalidationView,
    examples="""
    # Invalidate the entries with a tag
    backctl cache invalidate --tag reports
    # Count the entries that would be invalidated
    backctl cache invalidate 'report:*' --dry-run
    # Invalidate everything
    backctl cache invalidate --all --yes
    """,
)
def invalidate(
    call: Invocation,
    pattern: Annotated[
        str | None, Argument(metavar="[PATTERN]", help="Invalidate keys that match this Redis glob, such as 'user:*'.")
    ] = None,
    tags: Annotated[
        list[str] | None, Option("--tag", metavar="TAG", help="Invalidate entries with this tag; may be repeated.")
    ] = None,
    everything: Annotated[bool, Option("--all", help="Invalidate all entries; asks for confirmation.")] = False,
) -> None:
    """Invalidate cache entries in all running services.

    Services load the values again when they need them. PATTERN reads every key, in short steps that do not block the
    server, and counts the entries; if interrupted, run the command again. --tag and --all take constant time and do not
    count entries.
    """
    if [pattern is not None, bool(tags), everything].count(True) != 1:
        raise UsageError("give one of PATTERN, --tag and --all", hint="quote the pattern, for example 'report:*'")
    cache = call.backend.cache_entries
    if everything:
        call.guard.confirm("invalidate all cached values")
        call.results.changed(cache.renew_all(dry_run=call.dry_run))
        return
    if pattern is None:
        call.results.changed(cache.renew_tags(tags or (), dry_run=call.dry_run))
        return
    with call.messages.progress(f"invalidating {escaped(pattern)}") as progress:
        change = cache.remove_matching(pattern, dry_run=call.dry_run, progress=progress.advance)
    call.results.changed(change)


@leaf(
    app,
    view=CacheStats,
    examples="""
    # Show the number of entries and the hit ratio
    backctl cache stats
    # Print it as JSON, for example for monitoring
    backctl cache stats -o json
    """,
)
def stats(call: Invocation) -> None:
    """Show the number of entries and the hit ratio.

    Also shows the size of the entries. Reads every key. Services add their counts every ten seconds and when they exit.
    """
    call.results.show(call.backend.cache_entries.stats())


def _content(call: Invocation, file: str) -> bytes:
    """Read the value from a file, up to just over the largest size that a value can have."""
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
