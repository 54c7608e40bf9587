"""Watching a server: what its home tells of rounds, members, models and certificates.

Nothing here writes into the home. What it shows, clients have released or stated: the server
has nothing else. No array is ever read.
"""
