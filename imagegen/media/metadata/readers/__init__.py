"""Readers of the settings that other tools write into picture files, one file for each tool."""
