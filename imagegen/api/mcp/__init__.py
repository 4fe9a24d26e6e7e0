"""MCP: the studio's tools for AI assistants."""
