"""Redis and servers that speak its protocol, such as Valkey: a single server, Sentinel and Cluster."""
