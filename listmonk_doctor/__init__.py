"""listmonk-doctor: finds, explains, prices and mends campaigns that listmonk cut short."""

__version__ = "0.1.0"
