"""The use case of checking an installation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.database_views import CheckView
from backctl.domain.errors import BackctlError, ResourcesExhausted

if TYPE_CHECKING:
    from backctl.application.ports.storage import HealthProbe


@dataclass(frozen=True, slots=True)
class DoctorService:
    """Runs every probe. A probe that fails is reported as a failed check and does not stop the others.

    Raises ResourcesExhausted when this process has run out of memory, files or threads.
    """

    probes: "tuple[HealthProbe, ...]"

    def examine(self) -> Iterable[CheckView]:
        for probe in self.probes:
            try:
                yield probe.examine()
            except ResourcesExhausted:
                raise
            except BackctlError as error:
                yield CheckView.failed(probe.check, error)
