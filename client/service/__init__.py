"""What a client serves to its own shop: recommendations over gRPC, on this machine's disk alone."""
