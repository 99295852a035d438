"""`backctl user delete`: permanently delete accounts."""

from functools import partial
from typing import Annotated

from typer import Option

from backctl.application.views import UserDeletion
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.parameters import Idents

app = noun("delete", within="user")


@leaf(
    app,
    changes="permanently delete {idents}",
    bulk=True,
    guard="name",
    view=UserDeletion,
    members=("ident", "error"),
    examples="""
    # Delete an account, also the data in its events
    backctl user delete eve --erase --confirm eve
    # Delete two accounts, and confirm their number
    backctl user delete bob cleo --confirm 2
    """,
)
def delete(
    call: Invocation,
    idents: Idents = None,
    erase: Annotated[
        bool, Option("--erase", help="Also erase the data of their events; actors and reasons stay.")
    ] = False,
    if_exists: Annotated[bool, Option("--if-exists", help="Succeed if there is no such account.")] = False,
) -> None:
    """Permanently delete accounts; their events stay.

    Confirm by typing the username or with --confirm USERNAME; for several accounts, give their number. --yes is not
    enough. 'backctl audit list --subject IDENT' finds the events of a deleted account.
    """
    call.backend.require_installation()  # before identities are read
    accounts = call.backend.accounts
    from backctl.presentation.batch.run import change_each

    change_each(
        call,
        idents,
        partial(accounts.change_each, step=partial(accounts.steps.deleting, erase=erase, if_exists=if_exists)),
        view=UserDeletion,
        doing="deleting",
        destroys=accounts.find,
    )
