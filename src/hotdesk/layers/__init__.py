"""Locked packages as entries: the one description that feeds the sandbox's tree and the image's layers."""
