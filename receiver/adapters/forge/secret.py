"""The secret that the forge's webhooks are signed with, read from its file each time: a new one counts at once."""

from __future__ import annotations

from receiver.adapters.forge.settings import ForgeSettings
from receiver.errors import Refused


def webhook_secret(settings: ForgeSettings) -> str:
    """Empty when none is set; then every webhook is refused, and polling does all."""
    file = settings.webhook_secret_file
    if file is None:
        return ""
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise Refused(
            f"reading forge.webhook_secret_file {str(file)!r}: {error}",
            next_step="let the server's user read it",
            reason="secret",
        ) from error
