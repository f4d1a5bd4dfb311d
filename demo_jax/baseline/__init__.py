"""The motif finder that stands beside the networks: MEME-ChIP or our own expectation maximisation."""
