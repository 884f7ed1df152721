"""The webhook notifier: a child process that makes the requests and knows nothing else.

    server ── batches of deliveries ──▶ stdin │ child │ stdout ── batches of outcomes ──▶ server

It has no database handle, writes no log and decides nothing: what a delivery's outcome means is decided, and stored,
by the server. It is what lets the second core work, and it keeps slow receivers away from everything else.

`child` is the server's side (imports no HTTP client), `__main__` the other; both speak `pipe`.
"""
