"""What a person at the keyboard may do wrong."""


class Mistake(Exception):
    """Told to the person in one line, without a traceback."""
