"""The model families: what the engine does differently for each, one file per family."""
