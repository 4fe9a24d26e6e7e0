"""Reads the settings of pictures of any tool, and answers them under the fields of a request."""
