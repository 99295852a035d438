"""`backctl token …`: issue, verify, refresh and revoke tokens, and look after the sessions they belong to.

A token is a secret: it comes in by a pipe, a file, a descriptor or a variable, never as an argument.
"""

from typing import Annotated

from typer import Argument, Option

from backctl.application.token_views import InspectedToken, IssuedTokens, Revocation, SessionView, VerifiedToken
from backctl.application.views import Change
from backctl.domain.errors import InvalidInput, TokenInvalid, UsageError, quoted
from backctl.domain.repositories import PAGE_SIZE, Swept
from backctl.domain.values import Secret
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun
from backctl.presentation.paging import All, Cursor, Limit, refuse_mixture

app = noun("token")

_OBJECT = ("token_type",)

Ident = Annotated[str, Argument(metavar="IDENT", help="An id, an e-mail address or a username.")]
Audience = Annotated[
    str | None, Option("--audience", metavar="NAME", help="Whom the token is for, instead of tokens.audience.")
]
Offline = Annotated[bool, Option("--offline", help="Ask no database: whether it was revoked stays unknown.")]


@leaf(app, mutation=True, view=IssuedTokens, members=_OBJECT)
def issue(
    call: Invocation,
    ident: Ident,
    ttl: Annotated[
        str | None, Option("--ttl", metavar="DURATION", help="How long it counts, up to 1d, instead of the usual.")
    ] = None,
    audience: Audience = None,
    scope: Annotated[
        str, Option("--scope", metavar="WORDS", help="What it is good for, words with a space between.")
    ] = "",
    pair: Annotated[bool, Option("--pair", help="Issue a refresh token, too, on a second line.")] = False,
) -> None:
    """Issue an access token to an account and print it.

    It opens a session, without asking for a password: whoever runs this vouches for the account.
    """
    change = call.backend.tokens.issue(
        ident,
        ttl=_duration(ttl),
        audience=audience,
        scope=scope,
        pair=pair,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    _print(call, change)


@leaf(app, secrets=("token",), view=VerifiedToken, members=("line", "valid", "error"))
def verify(
    call: Invocation,
    audience: Audience = None,
    offline: Offline = False,
    batch: Annotated[
        bool, Option("--batch", help="Read one token a line from standard input and answer each with one of JSON.")
    ] = False,
) -> None:
    """Verify an access token, and print what it says.

    The exit code is 0 or 6, with --batch 0 or 7. The token is read from standard input unless a flag says otherwise.
    """
    tokens = call.backend.tokens
    if batch:
        from backctl.presentation.token_batch import verify_lines

        if call.secret_given("token"):
            raise UsageError("--batch reads its tokens from standard input", hint="leave the other source out")
        verify_lines(call, lambda lines: tokens.verify_batch(lines, audience=audience, offline=offline))
        return
    verified = tokens.verify(_token(call), audience=audience, offline=offline)
    if offline:
        call.notice("not asked whether it was revoked")
    call.check(verified, True)


@leaf(app, secrets=("token",), view=InspectedToken)
def inspect(call: Invocation) -> None:
    """Show what a token says about itself, without any check."""
    tokens = call.backend.tokens
    found = tokens.inspect(_token(call))
    call.warn("nothing of this was verified: anybody may have written it")
    call.show(found)


@leaf(app, mutation=True, secrets=("token",), view=IssuedTokens, members=_OBJECT)
def refresh(call: Invocation) -> None:
    """Redeem a refresh token for an access token and the next one.

    The access token is printed on the first line, the refresh token on the second. A refresh token works once. Using it
    again revokes its session: exit code 6.
    """
    tokens = call.backend.tokens
    token = _token(call)
    _print(call, tokens.refresh(token, by=call.attribution, dry_run=call.dry_run))


@leaf(app, mutation=True, guard="yes", secrets=("token",), view=Revocation)
def revoke(
    call: Invocation,
    jti: Annotated[str | None, Option("--jti", metavar="JTI", help="The access token with this identifier.")] = None,
    session: Annotated[str | None, Option("--session", metavar="ID", help="One session with all its tokens.")] = None,
    user: Annotated[str | None, Option("--user", metavar="IDENT", help="Every session of this account.")] = None,
    all_: Annotated[bool, Option("--all", help="Everything: every session of everybody.")] = False,
) -> None:
    """Revoke tokens: one, those of a session or of an account, or all.

    Without an option the token itself is read from standard input: an access token is revoked alone, a refresh token
    with its session. A token that is unknown or malformed is not an error: nothing changes.
    """
    given = [
        name
        for name, value in (("--jti", jti), ("--session", session), ("--user", user), ("--all", all_ or None))
        if value is not None
    ]
    if call.secret_given("token"):
        given.append("the token itself")
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other", hint="say in one way what to revoke")
    tokens, sessions = call.backend.tokens, call.backend.sessions
    if jti is not None:
        change = tokens.revoke_jti(jti, by=call.attribution, dry_run=call.dry_run)
    elif session is not None:
        change = sessions.revoke(session, by=call.attribution, dry_run=call.dry_run)
    elif user is not None:
        call.confirm(f"end every session of {quoted(user)}?")
        change = sessions.revoke_user(user, by=call.attribution, dry_run=call.dry_run)
    elif all_:
        call.confirm("end every session of everybody?")
        change = sessions.revoke_all(by=call.attribution, dry_run=call.dry_run)
    else:
        try:
            token = _token(call, instead="--jti, --session, --user or --all")
            change = tokens.revoke(token, by=call.attribution, dry_run=call.dry_run)
        except TokenInvalid:  # not even text
            from backctl.application.tokens import NOTHING_REVOKED

            change = NOTHING_REVOKED
        if change.value.id is None:
            call.notice("the token was not issued here: there is nothing to revoke")
    call.changed(change)


@leaf(app, name="list", view=SessionView)
def list_(call: Invocation, ident: Ident, limit: Limit = None, cursor: Cursor = None, all_: All = False) -> None:
    """List the sessions of an account, the oldest first."""
    refuse_mixture(all_=all_, cursor=cursor, limit=limit)
    sessions = call.backend.sessions
    if all_:
        call.stream(sessions.stream(ident), SessionView)
        return
    size = PAGE_SIZE if limit is None else limit
    call.show_page(sessions.page(ident, limit=size, cursor=cursor), SessionView)


@leaf(app, mutation=True, view=Swept)
def gc(
    call: Invocation,
    batch_size: Annotated[
        int | None, Option("--batch-size", metavar="N", help="Rows of a kind in one transaction; 1000 unless given.")
    ] = None,
    older_than: Annotated[
        str | None,
        Option("--older-than", metavar="DURATION", help="Only what has been past for this long; 1d unless given."),
    ] = None,
) -> None:
    """Remove sessions, refresh tokens and revocations that are past."""
    from backctl.application.sessions import BATCH_SIZE, OLDER_THAN

    past = _duration(older_than)
    sessions = call.backend.sessions
    with call.progress("removing what is past") as progress:
        change = sessions.sweep(
            older_than=OLDER_THAN if past is None else past,
            batch_size=BATCH_SIZE if batch_size is None else batch_size,
            by=call.attribution,
            dry_run=call.dry_run,
            progress=progress.advance,
        )
    call.changed(change)


def _print(call: Invocation, change: Change[IssuedTokens]) -> None:
    issued = change.value
    secrets = [secret.reveal() for secret in (issued.access_token, issued.refresh_token) if secret is not None]
    if call.dry_run and not call.renderer.is_json:
        call.notice("a dry run makes no tokens")
    members: dict[str, object] = {}
    if issued.access_token is not None:
        members["access_token"] = issued.access_token.reveal()
    members["token_type"] = "Bearer"
    members["expires_in"] = issued.expires_in
    if issued.refresh_token is not None:
        members["refresh_token"] = issued.refresh_token.reveal()
    members["expires_at"] = issued.expires_at
    if issued.refresh_expires_at is not None:
        members["refresh_expires_at"] = issued.refresh_expires_at
    for name in ("session_id", "jti", "user_id", "audience", "role", "scope"):
        members[name] = getattr(issued, name)
    call.made(change, members, secrets=tuple(secrets))


def _token(call: Invocation, *, instead: str | None = None) -> Secret:
    """The token. One that is too long, or no text, is as invalid as any other that was sent: 6, as with --batch."""
    try:
        return call.secret("token", piped=True, instead=instead)
    except UsageError:
        raise
    except InvalidInput as error:
        raise TokenInvalid(error.message, hint="a token is one line of ASCII, of at most 8192 characters") from None


def _duration(text: str | None) -> int | None:
    if text is None:
        return None
    from backctl.settings.durations import parse_duration

    return parse_duration(text)
