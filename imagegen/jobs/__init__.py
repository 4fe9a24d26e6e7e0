"""The queue, the dispatcher, and the events of jobs."""
