"""Owns `python -m listmonk_doctor`."""

from __future__ import annotations

from listmonk_doctor.cli import main

if __name__ == "__main__":
    main()
