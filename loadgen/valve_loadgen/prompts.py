"""Owns prompt text: deterministic, distinct from the first words on, about one token a word."""

import random

_TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work night point home water room
mother area money story fact month lot right study book eye job word business issue side kind head
house service friend father power hour game line end member law car city community name president
team minute idea kid body information back parent face others level office door health person art
war history party result change morning reason research girl guy moment air teacher force education
"""
WORDS = tuple(_TEXT.split())


def prompt(name: str, tokens: int) -> str:
    """About `tokens` tokens of text (common English words are one token each in every BPE vocabulary).

    The same name gives the same text; the first words depend on the name, so that no prefix is shared.
    """
    return " ".join(random.Random(name).choices(WORDS, k=max(1, tokens)))
