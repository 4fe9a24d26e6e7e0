"""Sign-in with a browser: pages, routes, and the OpenID client."""
