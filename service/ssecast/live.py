"""Settings that change while the pod runs: the folder that holds them is looked at, and what can be taken is taken."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ssecast.settings import LIVE, PREFIX, Settings, SettingsError, load_settings, read_folder

LOOK_SECONDS = 2.0

log = structlog.get_logger()


class LiveSettings:
    """take: told the new settings, with only what a running pod can take changed.

    problem: why the folder's last content was not taken, empty where it was. restart_needed: variables that have changed,
    and that only a new pod takes.
    """

    def __init__(self, environ: Mapping[str, str], settings: Settings, take: Callable[[Settings], None]) -> None:
        self._environ, self._settings, self._take = environ, settings, take
        self._seen = self._look()
        self.problem = ""
        self.restart_needed: tuple[str, ...] = ()

    async def run(self) -> None:
        """Looks again and again, where there is a folder, until it is cancelled."""
        while self._settings.settings_dir:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()
        await asyncio.Event().wait()

    def look(self) -> None:
        """Takes what has changed; while the folder holds something wrong, everything stays as it is."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            wanted = load_settings(self._environ)
        except SettingsError as wrong:
            self.problem = str(wrong)
            log.error("the settings have changed and cannot be used; the old ones stay in force", problem=self.problem)
            return
        self.problem = ""
        changed = {name for name in Settings.model_fields if getattr(wanted, name) != getattr(self._settings, name)}
        self.restart_needed = tuple(sorted(PREFIX + name.upper() for name in changed - LIVE))
        if changed & LIVE:
            taken = {name: getattr(wanted, name) for name in changed & LIVE}
            self._settings = self._settings.model_copy(update=taken)
            self._take(self._settings)
            log.info("settings taken", changed={name: str(value) for name, value in sorted(taken.items())})
        if self.restart_needed:
            log.warning("settings have changed that only a new pod takes", changed=self.restart_needed)

    def _look(self) -> dict[str, str] | str:
        try:
            return read_folder(self._settings.settings_dir)
        except SettingsError as wrong:
            return str(wrong)
