"""See absent.py."""

from absent import stand_in

__version__ = "0"  # older than anything that asks: nobody uses it

stand_in(__name__)
