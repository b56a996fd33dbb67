"""Versioned recaption prompts; a prompt's hash goes into the fingerprint of what it produced."""
