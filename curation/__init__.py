"""Curates multimodal pretraining corpora: measure, decide, materialise."""
