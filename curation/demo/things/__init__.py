"""Everything that a scene can hold: its name, its drawing, its usual colours."""

from curation.demo.things.catalogue import POPULARITY, THINGS, Thing, popularity

__all__ = ["POPULARITY", "THINGS", "Thing", "popularity"]
