"""A server begins: its home with keys and certificates, its invitation, the clients it knows."""
