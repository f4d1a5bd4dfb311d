"""In-silico experiments: what models answer when they are asked about sequences made for the question."""
