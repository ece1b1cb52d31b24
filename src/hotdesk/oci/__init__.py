"""Images as the OCI specifications have them: the layer writer, the model, files, registries."""
