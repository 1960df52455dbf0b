"""Strategies, their prices, plans, their application, the journal and undo."""
