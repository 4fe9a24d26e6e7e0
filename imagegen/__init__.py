"""The studio without its presentation: requests, jobs, workers, pictures."""
