"""The use cases of seed files: plan the changes that make the accounts match them, and apply these changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backctl.application.seeding.applying import Applying, ApplyOptions, ApplyReport
from backctl.application.seeding.json_schema import Schema, seed_schema
from backctl.application.seeding.plan import PlanReader, SavedPlan, written
from backctl.application.seeding.staleness import require_all_fresh
from backctl.application.views import Change
from backctl.domain.errors import PlanStale
from backctl.domain.seed import Desired, Plan, Prune, Summary
from backctl.domain.seed_plan import planned

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.ports.environment import AddressParser, Clock
    from backctl.application.ports.storage import Reader
    from backctl.application.seeding.secret_sources import SecretSources
    from backctl.application.seeding.seed_files import SeedFiles
    from backctl.domain.access import AccessPolicy
    from backctl.domain.values import UserId

_TRIES = 20
"""How often files are planned again although no changes were made meanwhile, by this process or another."""


@dataclass(frozen=True, slots=True)
class SeedService:
    """Plan and apply seed files. A plan changes nothing and records nothing."""

    files: "Callable[[], SeedFiles]"
    secrets: "Callable[[], SecretSources]"
    applying: "Callable[[SecretSources], Applying]"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    access: "AccessPolicy"
    clock: "Clock"
    installation_id: Callable[[], str]

    def read(self, paths: Sequence[str]) -> Desired:
        """Read seed files. Raises UsageError, InputTooLarge, and InvalidSeed with file and line."""
        return self.files().desired(paths)

    def schema(self) -> Schema:
        """Return the JSON Schema of seed files."""
        return seed_schema()

    def plan(self, desired: Desired, *, prune: Prune | None = None) -> Plan:
        """Compare seed files with one snapshot of the accounts, and check that their secrets exist.

        Raises InvalidSeed for a missing secret, and the errors of `Planning.changes`.
        """
        with self.reader().account_snapshot() as snapshot:
            plan = planned(desired, snapshot, prune=prune, now=self.clock())
        self.secrets().require(plan.sources())
        return plan

    def saved(self, plan: Plan) -> Iterator[bytes]:
        """Yield the text of a plan to save. It contains no secrets."""
        for line in written(SavedPlan(self.installation_id(), self.clock(), plan)):
            yield line.encode()

    def load(self, text: str) -> SavedPlan:
        """Read a saved plan of this installation. Raises InvalidPlan, PlanElsewhere."""
        saved = PlanReader(self.addresses, self.access).read(text)
        saved.require_installation(self.installation_id())
        return saved

    def require_fresh(self, plan: Plan) -> None:
        """Raise PlanStale unless the accounts of a saved plan are as they were when it was made."""
        with self.reader().account_snapshot() as snapshot:
            require_all_fresh(plan.changes, snapshot)

    def differing(self, plan: Plan, *, by: "Attribution") -> int:
        """Return how many accounts do not change but for an enforced secret, and have another one.

        A plan cannot know them. Verifies their passwords, which takes as long as `apply` needs for it. Raises PlanStale
        if one of them has changed, and InvalidSeed for a secret.
        """
        compared = tuple(change for change in plan.changes if change.action == "none")
        part = replace(plan, changes=compared, summary=Summary(unchanged=len(compared)))
        secrets = self.secrets()
        secrets.read_all(part.sources())
        applying = self.applying(secrets)
        applying.run(part, ApplyOptions(), by=by, dry_run=True, progress=lambda accounts: None)
        return applying.done.total()

    def apply(
        self,
        desired: Desired,
        plan: Plan,
        options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
        *,
        prune: Prune | None = None,
        by: "Attribution",
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda accounts: None,
        replanned: Callable[[Plan, int], object] = lambda plan, changed: None,
    ) -> Change[ApplyReport]:
        """Apply a plan of seed files. If other processes have changed its accounts since, plan the rest again.

        `replanned` is called with such a plan and the number of accounts that were changed before; it may raise, for
        example if that is more than is allowed. Raises the errors of `plan` and `apply_saved`, and PlanStale if the
        accounts do not stop changing, or if the new plan would delete or prune other accounts. The changes of earlier
        transactions stay, unless `options.all_or_nothing`.
        """
        secrets = self.secrets()
        secrets.read_all(plan.sources())
        applying = self.applying(secrets)
        earlier, tries, fewest, removed = 0, 0, len(plan.changes), _removed(plan)
        while tries < _TRIES:
            try:
                applying.run(plan, options, by=by, dry_run=dry_run, progress=progress)
            except PlanStale:
                earlier = applying.counted()
                plan = self.plan(desired, prune=prune)
                if not _removed(plan) <= removed:  # which nobody has seen or confirmed
                    raise PlanStale(
                        "other accounts would be deleted or pruned now than when the command began",
                        hint="run '{backctl} plan FILE' to see them, then run the command again",
                    ) from None
                replanned(plan, applying.done.total())
                secrets.read_all(plan.sources())
            else:
                return applying.change(plan, earlier=earlier)
            # Two processes that apply one file can meet at every batch, and each time one of them has to plan again.
            tries = tries + 1 if len(plan.changes) >= fewest else 0
            fewest = min(fewest, len(plan.changes))
        raise PlanStale("other processes keep changing the same accounts", hint="try again when they have finished")

    def apply_saved(
        self,
        saved: SavedPlan,
        options: ApplyOptions = ApplyOptions(),  # noqa: B008 - immutable
        *,
        by: "Attribution",
        dry_run: bool = False,
        progress: Callable[[int], object] = lambda accounts: None,
    ) -> Change[ApplyReport]:
        """Apply a saved plan. Raises PlanStale, before anything is changed, if one of its accounts has changed since.

        Raises it also if that happens meanwhile; InvalidSeed for a missing secret, and the errors of the changes.
        """
        self.require_fresh(saved.plan)
        secrets = self.secrets()
        secrets.read_all(saved.plan.sources())
        applying = self.applying(secrets)
        applying.run(saved.plan, options, by=by, dry_run=dry_run, progress=progress)
        return applying.change(saved.plan)


def _removed(plan: Plan) -> "frozenset[UserId | None]":
    """Return the accounts that a plan deletes, or closes because no file lists them any more."""
    return frozenset(
        change.id
        for change in plan.changes
        if change.action == "delete" or (change.action == "close" and change.origin is None)
    )
