"""An account for tests of the rules that apply to it."""

from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Instant, PasswordHash, UserId, Username

ID = UserId("01935b1e-7c3a-7def-8abc-0123456789ab")
HASH = PasswordHash("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")


def new_account(
    now: Instant,
    *,
    email: str = "ada@example.org",
    username: str = "ada",
    password_hash: PasswordHash | None = HASH,
    must_change: bool = False,
) -> User:
    """Return an account, by default `ada`, created at this time."""
    return User.create(
        id=ID,
        email=EmailAddress.of(email),
        username=Username.parse(username),
        password_hash=password_hash,
        role="user",
        now=now,
        must_change_password=must_change,
    )
