"""The migration that turns the list of whose pictures are whose into the library, with the receipts of all results."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from imagegen.storage.search_words import build_index_text

# `deleted` is a time in seconds since 1970; the file of a deleted picture stays for a while. `task` is a name of TASKS.
TABLES = (
    "ALTER TABLE pictures RENAME TO old_pictures",
    """
    CREATE TABLE pictures (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        job TEXT NOT NULL,
        created REAL NOT NULL,
        task TEXT NOT NULL,
        model TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        favourite INTEGER NOT NULL DEFAULT 0,
        deleted REAL,
        receipt TEXT NOT NULL
    )
    """,
    "CREATE INDEX pictures_by_owner ON pictures (owner, number) WHERE deleted IS NULL",
    "CREATE INDEX pictures_by_job ON pictures (job)",
    "CREATE INDEX deleted_pictures ON pictures (deleted) WHERE deleted IS NOT NULL",
    "CREATE TABLE picture_loras (lora TEXT, picture INTEGER, PRIMARY KEY (lora, picture)) WITHOUT ROWID",
    "CREATE TABLE albums (owner TEXT, album TEXT, picture INTEGER, PRIMARY KEY (owner, album, picture)) WITHOUT ROWID",
    "CREATE INDEX albums_by_picture ON albums (picture)",
    "CREATE VIRTUAL TABLE picture_words USING fts5 (words, tokenize = 'unicode61 remove_diacritics 2')",
)
# A picture that a later job got from the output cache is that of the first job.
COPY_RECEIPTS = """
INSERT OR IGNORE INTO pictures (id, owner, job, created, task, model, width, height, size_bytes, receipt)
SELECT picture.value ->> '$.id', old_pictures.owner, jobs.id, COALESCE(jobs.finished, jobs.created),
    iif(picture.value ->> '$.receipt.init_image' IS NULL, 'text_to_image', 'image_to_image'),
    picture.value ->> '$.receipt.model_id', picture.value ->> '$.receipt.width', picture.value ->> '$.receipt.height',
    0, picture.value -> '$.receipt'
FROM jobs
JOIN events ON events.job = jobs.id
JOIN json_each(iif(json_valid(event), event, '{}'), '$.pictures') AS picture
JOIN old_pictures ON old_pictures.id = picture.value ->> '$.id'
WHERE jobs.state = 'done'
ORDER BY jobs.number, picture.key DESC
"""
# Pictures without a result that can be read come before all others, which have numbers from 1 on.
COPY_OTHERS = """
INSERT OR IGNORE INTO pictures (number, id, owner, job, created, task, model, width, height, size_bytes, receipt)
SELECT -row_number() OVER (ORDER BY id), id, owner, '', 0, 'text_to_image', '', 0, 0, 0, '{}'
FROM old_pictures WHERE id NOT IN (SELECT id FROM pictures)
"""
COPY_LORAS = """
INSERT OR IGNORE INTO picture_loras
SELECT lora.value ->> '$.lora', number FROM pictures JOIN json_each(receipt, '$.loras') AS lora
"""


def add_library(connection: sqlite3.Connection) -> None:
    """Creates the tables of the library, and fills them from the results of jobs and the files of pictures."""
    for statement in (*TABLES, COPY_RECEIPTS, COPY_OTHERS, COPY_LORAS):
        connection.execute(statement)
    prompts = connection.execute("SELECT number, COALESCE(receipt ->> '$.prompt', '') FROM pictures").fetchall()
    words = [(number, build_index_text(prompt)) for number, prompt in prompts]
    connection.executemany("INSERT INTO picture_words (rowid, words) VALUES (?, ?)", words)
    folder = find_pictures_folder(connection)
    ids = [picture_id for (picture_id,) in connection.execute("SELECT id FROM pictures")]
    sizes = [(get_size(folder / f"{picture_id}.png"), picture_id) for picture_id in ids]
    connection.executemany("UPDATE pictures SET size_bytes = ? WHERE id = ?", sizes)
    connection.execute("DROP TABLE old_pictures")


def find_pictures_folder(connection: sqlite3.Connection) -> Path:
    """Returns the folder with the pictures, which is beside the database."""
    (file,) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
    return Path(file).parent / "pictures"


def get_size(file: Path) -> int:
    """Returns the size of a file in bytes, 0 if it is not there."""
    return file.stat().st_size if file.is_file() else 0
