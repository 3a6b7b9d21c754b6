"""See absent.py."""

from absent import stand_in

stand_in(__name__)
