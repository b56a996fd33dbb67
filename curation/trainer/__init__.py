"""Pretraining from exports: plan, loader and loop."""
