"""The page in the browser, and the endpoints for programs that come with it."""
