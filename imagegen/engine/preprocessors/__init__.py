"""Learned preprocessors: networks that make control maps of pictures, such as depth."""
