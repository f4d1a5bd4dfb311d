"""Devices, worker processes and other machines."""
