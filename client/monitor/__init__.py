"""What watches a running client: `/health` and `/metrics`, under the release rule.

`reading` looks at the client's folder, `health` and `metrics` say what was seen.
"""
