"""`backctl token …`: issue, verify, refresh and revoke tokens, and list sessions.

A token is a secret: it comes from a pipe, a file, a descriptor or a variable, never as an argument.
"""

from typing import Annotated

from typer import Option

from backctl.application.token_views import (
    InspectedToken,
    IssuedTokens,
    Revocation,
    SessionView,
    TokenCheck,
    VerifiedToken,
)
from backctl.application.views import Change
from backctl.domain.errors import AnswerIsNo, InvalidInput, TokenInvalid, UsageError
from backctl.domain.quoting import escaped
from backctl.domain.repositories import Swept
from backctl.domain.values import Secret
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.output import members
from backctl.presentation.paging import Paging
from backctl.presentation.parameters import Ident, duration

app = noun("token")

Audience = Annotated[
    str | None, Option("--audience", metavar="NAME", help="Audience claim (`aud`), instead of tokens.audience.")
]
Offline = Annotated[bool, Option("--offline", help="Do not use the database; revocation is not checked.")]


@leaf(
    app,
    changes="issue a token to {ident}",
    view=IssuedTokens,
    examples="""
    # Issue an access token for ten minutes
    backctl token issue ada --ttl 10m
    # Also issue a refresh token, and save both
    backctl token issue ada --pair -o json > tokens.json
    # Issue a token with two scopes for another audience
    backctl token issue ada --audience reports --scope 'read write'
    """,
)
def issue(
    call: Invocation,
    ident: Ident,
    ttl: Annotated[
        str | None, Option("--ttl", metavar="DURATION", help="How long the token is valid, up to 1d.")
    ] = None,
    audience: Audience = None,
    scope: Annotated[str, Option("--scope", metavar="WORDS", help="Space-separated scopes.")] = "",
    pair: Annotated[bool, Option("--pair", help="Also issue a refresh token, on a second line.")] = False,
) -> None:
    """Issue an access token to an account and print it.

    This starts a session without asking for a password.
    """
    change = call.backend.tokens.issue(
        ident,
        ttl=None if ttl is None else duration(ttl),
        audience=audience,
        scope=scope,
        pair=pair,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    _print(call, change)


@leaf(
    app,
    secrets=("token",),
    kind="check",
    view=TokenCheck,
    members=("line",),
    examples="""
    # Verify a token
    backctl token verify --token-file token.txt
    # Verify it without the database
    backctl token verify --token-file token.txt --offline
    # Verify one token per line
    backctl token verify --batch < token.txt
    """,
)
def verify(
    call: Invocation,
    audience: Audience = None,
    offline: Offline = False,
    batch: Annotated[
        bool, Option("--batch", help="Read one token per line from standard input and print one JSON object for each.")
    ] = False,
) -> None:
    """Check whether an access token is valid, and print its claims.

    Exit code 0 or 6, with --batch 0 or 7. The token is read from standard input unless an option names another source.
    """
    call.backend.require_keyring() if offline else call.backend.require_installation()
    tokens = call.backend.tokens
    if batch:
        from backctl.presentation.batch.tokens import verify_lines

        if call.secrets.is_given("token"):
            raise UsageError("--batch reads tokens from standard input", hint="leave the other source out")
        verify_lines(call, lambda lines: tokens.verify_batch(lines, audience=audience, offline=offline))
        return
    answer: VerifiedToken | AnswerIsNo
    try:
        answer = tokens.verify(_token(call), audience=audience, offline=offline)
        if offline:
            call.messages.notice("revocation was not checked")
    except AnswerIsNo as refusal:
        answer = refusal
    call.results.check(TokenCheck.of(answer))


@leaf(
    app,
    secrets=("token",),
    view=InspectedToken,
    examples="""
    # Show the header and the claims of a token
    backctl token inspect --token-file token.txt
    # Print only its claims
    backctl token inspect --token-file token.txt --fields claims --no-header
    """,
)
def inspect(call: Invocation) -> None:
    """Show the contents of a token, without verifying it."""
    tokens = call.backend.tokens
    found = tokens.inspect(_token(call))
    call.messages.warn("this token was not verified: anybody could have written it")
    call.results.show(found)


@leaf(
    app,
    changes="redeem a refresh token",
    secrets=("token",),
    view=IssuedTokens,
    examples="""
    # Print a new access token and a new refresh token
    backctl token refresh --token-file refresh.txt
    # Save both as JSON
    backctl token refresh --token-file other.txt -o json > tokens.json
    """,
)
def refresh(call: Invocation) -> None:
    """Exchange a refresh token for a new pair of tokens.

    The access token is printed on the first line, the refresh token on the second. A refresh token works once: using it
    again revokes its session (exit code 6).
    """
    call.backend.require_installation()
    tokens = call.backend.tokens
    token = _token(call)
    _print(call, tokens.refresh(token, by=call.attribution, dry_run=call.dry_run))


@leaf(
    app,
    changes="revoke tokens",
    guard="yes",
    secrets=("token",),
    view=Revocation,
    examples="""
    # Revoke one token
    backctl token revoke --token-file token.txt
    # Revoke all sessions of an account
    backctl token revoke --user ada --yes
    # Revoke all sessions of all accounts
    backctl token revoke --all --yes
    """,
)
def revoke(
    call: Invocation,
    jti: Annotated[str | None, Option("--jti", metavar="JTI", help="Revoke the access token with this id.")] = None,
    session: Annotated[
        str | None, Option("--session", metavar="ID", help="Revoke a session with all its tokens.")
    ] = None,
    user: Annotated[str | None, Option("--user", metavar="IDENT", help="Revoke all sessions of this account.")] = None,
    all_: Annotated[bool, Option("--all", help="Revoke all sessions of all accounts.")] = False,
) -> None:
    """Revoke a token, a session, or many sessions.

    Without an option, a token is read from standard input: an access token is revoked alone, a refresh token with its
    session. A token that is unknown or malformed is not an error, and nothing changes.
    """
    given = [
        name
        for name, value in (("--jti", jti), ("--session", session), ("--user", user), ("--all", all_ or None))
        if value is not None
    ]
    if call.secrets.is_given("token"):
        given.append("the token itself")
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} cannot be combined", hint="use one of them")
    call.backend.require_installation()
    tokens, sessions = call.backend.tokens, call.backend.sessions
    if jti is not None:
        change = tokens.revoke_jti(jti, by=call.attribution, dry_run=call.dry_run)
    elif session is not None:
        change = sessions.revoke(session, by=call.attribution, dry_run=call.dry_run)
    elif user is not None:
        call.guard.confirm(f"revoke all sessions of {escaped(user)}")
        change = sessions.revoke_user(user, by=call.attribution, dry_run=call.dry_run)
    elif all_:
        call.guard.confirm("revoke all sessions of all accounts")
        change = sessions.revoke_all(by=call.attribution, dry_run=call.dry_run)
    else:
        try:
            token = _token(call, instead="--jti, --session, --user or --all")
            change = tokens.revoke(token, by=call.attribution, dry_run=call.dry_run)
        except TokenInvalid:  # not text
            from backctl.application.tokens import NOTHING_REVOKED

            change = NOTHING_REVOKED
        if change.value.id is None:
            call.messages.notice("the token was not issued here, so there is nothing to revoke")
    call.results.changed(change)


@leaf(
    app,
    name="list",
    kind="list",
    view=SessionView,
    examples="""
    # List the sessions of an account
    backctl token list ada
    # Print the ids of all its sessions
    backctl token list ada --all -o id
    """,
)
def list_(call: Invocation, ident: Ident, paging: Paging) -> None:
    """List the sessions of an account, oldest first."""
    paging.require_one_way()
    sessions = call.backend.sessions
    if paging.all_:
        call.results.stream(sessions.stream(ident), SessionView)
    else:
        call.results.show_page(sessions.page(ident, limit=paging.size, cursor=paging.cursor), SessionView)


@leaf(
    app,
    changes="remove expired sessions and tokens",
    view=Swept,
    examples="""
    # Remove what expired more than a day ago
    backctl token gc
    # Count what expired more than 30 days ago
    backctl token gc --older-than 30d --dry-run
    """,
)
def gc(
    call: Invocation,
    batch_size: Annotated[
        int | None,
        Option("--batch-size", metavar="N", help="Rows of each kind per transaction; 1000 unless given."),
    ] = None,
    older_than: Annotated[
        str | None,
        Option("--older-than", metavar="DURATION", help="Remove what expired at least this long ago; 1d unless given."),
    ] = None,
) -> None:
    """Remove expired sessions, refresh tokens and revocations."""
    from backctl.application.sessions import BATCH_SIZE, OLDER_THAN

    sessions = call.backend.sessions
    with call.messages.progress("removing") as progress:
        change = sessions.sweep(
            older_than=OLDER_THAN if older_than is None else duration(older_than),
            batch_size=BATCH_SIZE if batch_size is None else batch_size,
            by=call.attribution,
            dry_run=call.dry_run,
            progress=progress.advance,
        )
    call.results.changed(change)


def _print(call: Invocation, change: Change[IssuedTokens]) -> None:
    issued = change.value
    secrets = [secret.reveal() for secret in (issued.access_token, issued.refresh_token) if secret is not None]
    if call.dry_run and not call.results.renderer.is_json:
        call.messages.notice("a dry run issues no tokens")
    shown = {name: getattr(issued, name) for name in members(IssuedTokens)}
    for name in ("access_token", "refresh_token"):
        shown[name] = None if shown[name] is None else shown[name].reveal()
    call.results.created(change, shown, secrets=tuple(secrets))


def _token(call: Invocation, *, instead: str | None = None) -> Secret:
    """Read the token. One that is too long or not text is an invalid token, exit code 6, as with --batch."""
    try:
        return call.secrets.read("token", piped=True, instead=instead)
    except UsageError:
        raise
    except InvalidInput as error:
        raise TokenInvalid(error.message, hint="a token is one line of at most 8192 ASCII characters") from None
