"""Every component that ships, each an ordinary plugin; nothing imports this package, entry points load it."""
