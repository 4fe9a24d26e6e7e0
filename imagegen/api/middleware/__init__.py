"""ASGI middleware in front of the API and the Gradio page: one concern for each class."""
