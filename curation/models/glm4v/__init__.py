"""GLM-4.1V and GLM-4.5V: configuration, layout in tokens, model, checkpoints."""
