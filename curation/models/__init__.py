"""Models that operators measure with: how they are named, found, checked and loaded."""
