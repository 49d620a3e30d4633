"""The likeliest encoding of text that is not Unicode. A guess: it is shown to the user, who can change it."""

from __future__ import annotations

import codecs
import re

import charset_normalizer

__all__ = ["guess_encoding"]

_WESTERN = (
    "äöüß",
    "àâæçèéêëîïôœùûü",
    "áéíñóúü",
    "áâãàçéêíóôõúü",
    "àèéìòù",
    "åäöé",
    "åæøéóèòô",
    "áðéíóúýþæö",
    "áéèëïíóöúü",
    "àçèéíïòóúü",
    # names from everywhere in one file
    "äöüßáàâãåæçéèêëíïñóôõøú",
)
_CENTRAL = ("ąćęłńóśźż", "áäčďéěíĺľňóôŕřšťúůýž", "áéíóöőúüű", "čćđšž", "ăâîşţ")

#: for each encoding of Latin letters, the likelier first, the letters beyond ASCII of each language written in it
_ALPHABETS = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "cp1254": ("çğıiöşüâîû",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äöõüšž"),
    "iso8859-2": _CENTRAL,
    "mac-roman": _WESTERN,
    "cp850": _WESTERN,
}
_SYMBOLS = frozenset("€£§©®°±²³µ·º¹ª¼½¾¿¡×÷–—‘’“”„…•™«» ¢¥")

#: left to the library: scripts whose letters stand together. A free choice among all codecs guesses worse.
_OTHER_SCRIPTS = [
    "cp1251",
    "cp1253",
    "cp1255",
    "cp1256",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
    "koi8_r",
    "cp866",
    "iso8859_5",
    "iso8859_7",
    "iso8859_8",
    "cp874",
]

_HIGH = re.compile(rb"[\x80-\xff]+")


def guess_encoding(sample: bytes) -> str:
    """The likeliest codec of lines that are neither ASCII nor Unicode.

    Letters beyond ASCII that stand alone among others speak for a Latin script: of those encodings, the one in which
    a single language has most of the letters, Windows-1252 where several do. Any other is charset-normalizer's guess.
    """
    runs = _HIGH.findall(sample)
    alone = sum(map(len, runs)) < 1.5 * len(runs)
    scores = {codec: _fit(sample, codec) for codec in _ALPHABETS}
    best = max(scores, key=lambda codec: scores[codec])
    if alone and scores[best] > 0.5:
        return best
    match = charset_normalizer.from_bytes(sample, cp_isolation=_OTHER_SCRIPTS).best()
    return best if match is None else codecs.lookup(match.encoding).name


def _fit(sample: bytes, codec: str) -> float:
    """The share of the characters beyond ASCII that the best fitting language of an encoding explains."""
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError:
        return 0
    beyond = [character.lower()[:1] for character in text if not character.isascii()]
    return max(
        sum(character in alphabet or character in _SYMBOLS for character in beyond) / max(1, len(beyond))
        for alphabet in _ALPHABETS[codec]
    )
