"""Owns prompt text: deterministic, distinct from the first words on, about one token a word."""

import random
from dataclasses import dataclass

_TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work night point home water room
mother area money story fact month lot right study book eye job word business issue side kind head
house service friend father power hour game line end member law car city community name president
team minute idea kid body information back parent face others level office door health person art
war history party result change morning reason research girl guy moment air teacher force education
"""
WORDS = tuple(_TEXT.split())


@dataclass(frozen=True)
class Vocabulary:
    """`words`, each `per_word` tokens to the engine, which adds `overhead` tokens to every prompt."""

    words: tuple[str, ...] = WORDS
    per_word: float = 1.0
    overhead: float = 0.0
    source: str = "an assumption: a word is a token"
    """How this is known."""

    def text(self, name: str, tokens: int) -> str:
        """A prompt that the engine counts as `tokens`; the same name begins with the same words."""
        count = max(1, round((tokens - self.overhead) / self.per_word))
        return " ".join(random.Random(name).choices(self.words, k=count))


def prompt(name: str, tokens: int) -> str:
    """About `tokens` tokens of text (common English words are one token each in every BPE vocabulary).

    The same name gives the same text; the first words depend on the name, so that no prefix is shared.
    """
    return Vocabulary().text(name, tokens)
