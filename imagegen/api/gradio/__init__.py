"""The Gradio page and its endpoints."""
