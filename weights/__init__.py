"""Trained networks, <method>/<tag>.safetensors beside its card. Makes the folder installable."""
