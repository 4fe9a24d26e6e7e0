"""The core of the studio: requests, jobs, workers, engine, storage and the APIs. Contains nothing of the page."""
