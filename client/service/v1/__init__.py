"""`hushrec.v1`: the interface, and the stubs that `grpc_tools` made of it."""
