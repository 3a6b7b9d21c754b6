"""One suite for every data plane: raw sockets on both sides, nothing of the proxy assumed."""
