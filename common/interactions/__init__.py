"""Event tables: reading, checking, and dealing users out to clients."""
