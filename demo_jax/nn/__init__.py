"""The pure operations and the models made of them."""
