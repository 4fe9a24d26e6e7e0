"""Authentication and authorization: tokens, keys, sessions and who may use the studio. Imports nothing of HTTP."""
