"""Limits the structure of JSON before it is parsed: the number of its values and their depth."""

from __future__ import annotations

from imagegen.errors import InvalidRequest

# Far above what any client needs. A request of all fields has about a hundred values.
MAX_JSON_VALUES = 4000
MAX_JSON_DEPTH = 32
OPENING, CLOSING = b"[{", b"]}"
NOT_BRACKETS = bytes(set(range(256)) - set(OPENING + CLOSING))


def check_json_structure(body: bytes, field: str = "body") -> None:
    """Raises InvalidRequest for JSON with too many or too deeply nested values, and for text that is not in UTF-8.

    Costs a few milliseconds for the largest body, while parsing and validating its values could take minutes.
    """
    if b"\0" in body:  # JSON has no such byte in UTF-8, and many in UTF-16 and UTF-32, which Python would read as well.
        raise InvalidRequest(field, "must be valid JSON")
    max_quotes = 4 * MAX_JSON_VALUES  # Each value may have a key.
    # Without escape sequences, every quotation mark begins or ends a string.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    parts = body.split(b'"', max_quotes)
    outside_strings = b"".join(parts[::2])
    openings = sum(outside_strings.count(bracket) for bracket in (b"[", b"{"))
    if len(parts) > max_quotes or outside_strings.count(b",") + openings > MAX_JSON_VALUES:
        raise InvalidRequest(field, f"must have at most {MAX_JSON_VALUES} values")
    depth = 0
    for bracket in outside_strings.translate(None, NOT_BRACKETS)[: 2 * MAX_JSON_VALUES]:
        depth += 1 if bracket in OPENING else -1
        if depth > MAX_JSON_DEPTH:
            raise InvalidRequest(field, f"must have at most {MAX_JSON_DEPTH} levels of lists and objects")
