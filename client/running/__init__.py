"""A client's one start: its node, its service and its monitor, each kept alive by itself.

`command` is what is called, `supervisor` starts everything and ends it, `keeper` starts a
child again, `leash` ties a child to the supervisor, `state` says how each part is.
"""
