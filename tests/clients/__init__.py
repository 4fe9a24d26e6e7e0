"""Clients that use the studio, and what each API does with wrong values: the data and the text of docs/clients.md.

`python -m tests.clients` writes the page.
"""
