"""Using trained models: models of a run, the published ones, scores of sequences and variants."""
