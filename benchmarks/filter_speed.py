"""Finding near duplicates among generated texts: ours (letter counts first) against comparing every pair."""

import random

from common import in_turns, recorded_texts
from rapidfuzz import fuzz, process

from synthgap.data.duplicates import close_pairs, closest, normalised

TEXTS, CUTOFF = 4000, 90.0


def texts() -> list[str]:
    """As many as asked for, of the words of the recorded texts, some of them near repeats."""
    chance = random.Random(0)
    words = [word for text, _ in recorded_texts(("ag_news",)) for word in text.split()]
    made = [" ".join(chance.choices(words, k=chance.randint(20, 40))) for _ in range(TEXTS * 9 // 10)]
    made += [text.replace("e", "a", 2) for text in made[: TEXTS - len(made)]]
    chance.shuffle(made)
    return [normalised(text) for text in made]


def ours(plain: list[str]) -> list[int]:
    kept: dict[int, str] = {}
    for place, near in enumerate(close_pairs(plain, CUTOFF)):
        if not closest(plain[place], {one: kept[one] for one in near if one in kept}, CUTOFF):
            kept[place] = plain[place]
    return list(kept)


def every_pair(plain: list[str]) -> list[int]:
    kept: dict[int, str] = {}
    for place, text in enumerate(plain):
        if not process.extractOne(text, kept, scorer=fuzz.ratio, score_cutoff=CUTOFF):
            kept[place] = text
    return list(kept)


def main() -> None:
    plain = texts()
    if ours(plain) != every_pair(plain):
        raise ValueError("the two ways do not keep the same texts")
    fast, slow = in_turns({"ours": lambda _: ours(plain), "every pair": lambda _: every_pair(plain)}).values()
    print(
        f"near duplicates among {TEXTS} texts (mean {sum(map(len, plain)) // TEXTS} letters): ours {fast:.2f} s of "
        f"processor time, every pair {slow:.2f} s, ratio {slow / fast:.1f}; both keep {len(ours(plain))} (medians of 3)"
    )


if __name__ == "__main__":
    main()
