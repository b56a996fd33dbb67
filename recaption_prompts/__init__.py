"""Versioned recaption prompts; a prompt's hash goes into the fingerprint of what it produced."""

from recaption_prompts.prompt import ASKING, SHIPPED, VARIABLES, Prompt, Template, inert, restored

__all__ = ["ASKING", "SHIPPED", "VARIABLES", "Prompt", "Template", "inert", "restored"]
