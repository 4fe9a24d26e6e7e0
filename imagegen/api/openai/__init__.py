"""OpenAI's image API: its clients work here unchanged."""
