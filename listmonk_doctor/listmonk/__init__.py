"""What is known about listmonk: versions, audience rules, settings, its live scanner."""
