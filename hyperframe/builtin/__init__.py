"""The components that ship, each an ordinary plugin: entry points load them, and nothing else imports this package."""
