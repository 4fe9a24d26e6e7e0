"""Tickets: they carry a sign-in from the provider's window to the page that opened it."""

from __future__ import annotations

import secrets
import time

from imagegen.access.identity import Identity

TICKET_LIFETIME_SECONDS = 60


class TicketStore:
    def __init__(self) -> None:
        self._tickets: dict[str, tuple[Identity, float]] = {}

    def issue(self, identity: Identity) -> str:
        """Returns a new ticket, which is valid once and for one minute."""
        now = time.monotonic()
        self._tickets = {ticket: entry for ticket, entry in self._tickets.items() if entry[1] > now}
        ticket = secrets.token_urlsafe(32)
        self._tickets[ticket] = (identity, now + TICKET_LIFETIME_SECONDS)
        return ticket

    def redeem(self, ticket: str) -> Identity | None:
        """Returns the identity that the ticket was issued for, or None if it is unknown, used or expired."""
        identity, expires_at = self._tickets.pop(ticket, (None, 0.0))
        return identity if time.monotonic() <= expires_at else None
