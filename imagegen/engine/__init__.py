"""A request in, events and pictures out. The only code that imports torch and diffusers."""
