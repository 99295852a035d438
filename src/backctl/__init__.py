"""Administers the accounts, tokens, keys and encryption of a backend.

Services call `open_backend`. The command line is `python -m backctl`.
"""

TYPE_CHECKING = False  # known to type checkers; importing it from typing would slow down `--version` by 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backctl.application.reactions import Reaction
    from backctl.backend import Backend
    from backctl.domain.values import Secret

__version__ = "0.1.0"
__all__ = ["Secret", "__version__", "open_backend"]


def open_backend(
    *,
    config_file: str | None = None,
    profile: str | None = None,
    environ: "Mapping[str, str] | None" = None,
    reactions: "Sequence[Reaction]" = (),
) -> "Backend":
    """Open the installation that the configuration names, for use in a `with` block.

    Provides the services of the command line: `accounts`, `authentication`, `mfa`, `tokens`, `sessions`, `encryption`,
    `keys`, `sanitizing`, `audit`, `access`, `limits`, `cache`, `doctor`. `config_file` and `profile` work like the
    flags `--config` and `--profile`. Reads the `BACKCTL_…` variables from `environ`, by default the process
    environment. Connects lazily. Calls each of `reactions` with the events of every transaction once they are durable.
    Raises InvalidConfiguration and the other errors of `backctl.domain.errors`.
    """
    import os

    from backctl.backend import Backend
    from backctl.settings import load

    loaded = load(config_file=config_file, profile=profile, environ=os.environ if environ is None else environ)
    return Backend(loaded, reactions=reactions)


def __getattr__(name: str) -> object:
    if name == "Secret":
        from backctl.domain.values import Secret

        return Secret
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
