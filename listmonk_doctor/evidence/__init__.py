"""Kinds of files that can prove who was mailed. Empty so far."""
