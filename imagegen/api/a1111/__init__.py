"""The API of AUTOMATIC1111's web UI, as far as other programs use it."""
