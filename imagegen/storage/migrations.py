"""The list of migrations of jobs.sqlite, which Database runs. Add to the end; never change what is there."""

from __future__ import annotations

from imagegen.storage.database import Migration
from imagegen.storage.library_migration import add_library

# Files from before versions have version 0, and these tables already.
FIRST_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    created REAL NOT NULL,
    started REAL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, owner, number);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, started);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id),
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (id TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (id TEXT, owner TEXT, PRIMARY KEY (id, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS choices (owner TEXT PRIMARY KEY, model TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
    owner TEXT, key TEXT, request TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    owner TEXT, digest TEXT, job TEXT NOT NULL, PRIMARY KEY (owner, digest)
) WITHOUT ROWID;
"""

# The model and adapter files of a job, as JSON; NULL for jobs of older versions.
JOB_SOURCES = "ALTER TABLE jobs ADD COLUMN sources TEXT;"

MIGRATIONS: list[Migration] = [(1, FIRST_TABLES), (2, JOB_SOURCES), (3, add_library)]
