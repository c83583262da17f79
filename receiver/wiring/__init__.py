"""The two kinds of process: builds what they need, opens it, closes it in reverse order.

serve    the server: hooks, API and pages; no credential, no runner
work     a worker: the plan role has no runner, the execute role asks no source; it loads nothing of the web
"""
