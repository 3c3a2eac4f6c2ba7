"""cogumi: an open 8B model turned into a small, complete, adaptable system. Import the stage you need."""

__version__ = "0.1.0"
