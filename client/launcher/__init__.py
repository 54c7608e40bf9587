"""The launcher: a client's node that runs the installed `client.app`, never a bundle's.

It stands in the place of Flower's SuperNode and ClientApp processes. `node` takes messages
from the SuperLink, `bundle` compares the run's bundle with the policy, `child` starts a fresh
process for each message, `task` is that process. None of them unpacks a bundle or loads from
one; the process that answers is never given it.
"""
