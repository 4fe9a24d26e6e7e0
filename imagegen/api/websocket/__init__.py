"""The WebSocket at /v1/ws: requests in, events out.

In: `{"prompt": "a red circle", "previews": true, …}` starts a job, with the fields of REST; `{"type": "cancel"}`
cancels all jobs of this socket, and with a `job_id` one job. Out: each event of each job, with its `job_id`. When the
socket closes, its jobs are cancelled. A client without credentials in the handshake's headers sends
`{"type": "auth", "token": "hf_…"}` first.
"""
