"""Images to and from any registry that speaks the OCI distribution protocol."""
