"""Sources of the database connection, the read-only snapshot, and the SQL files."""
