"""Explanations of a trained model: attributions, temporal scores, class optimisation, activations."""
