"""The REST methods: each takes a checked call and gives an answer. Knows nothing of sockets."""
