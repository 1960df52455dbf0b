"""A throw-away PostgreSQL and recorded incidents to try the program on."""
