"""Enrolment: what operator and merchants exchange, how it lies on disk, how it is started."""
