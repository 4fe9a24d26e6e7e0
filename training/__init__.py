"""How the embedded model is made: drawings, captions, training, scoring. See README.md in this folder."""
