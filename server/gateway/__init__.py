"""The gateway: Flower's SuperLink behind two doors, of which the outside has Fleet alone.

`superlink` makes Flower's app, `routes` the exact list of calls that the outside has, `outside`
the door that knows nothing else, `connections` bounds what a connection may take, `access_log`
writes down who came. `operator` asks for the operator's token inside, `folder` keeps the
secrets, `superexec` is the process that starts ServerApps, `serve` runs all of it as one.
"""
