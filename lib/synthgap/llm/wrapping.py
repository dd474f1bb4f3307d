"""What stands around an LLM's list of texts: reasoning, template tokens, turns that nobody asked for, code fences."""

import re

LONGEST_ANSWER = 500_000  # letters of an answer that are searched for texts; what is beyond is left over

TAGS = "think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|seed:think"
INVISIBLE = (
    r"\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # zero-width spaces, marks of direction, word joiners
)
LINE_BEGINS = re.compile(rf"^[ \t{INVISIBLE}]+", re.MULTILINE)
REASONING = re.compile(
    rf"(?P<opens>^[ \t]{{0,20}}(?:<(?:{TAGS})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<unused94>)|"
    r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<\n]{0,80}<\|message\|>)|"
    rf"</(?:{TAGS})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<unused95>|"
    r"(?:<\|start\|>assistant)?<\|channel\|>final[^<\n]{0,80}<\|message\|>",
    re.IGNORECASE | re.MULTILINE,
)
# the beginning of a turn and tokens of chat templates, where no text goes on around them
TURN = re.compile(
    r"(?:^|(?<=[>\]]))[ \t]{0,9}(?:"
    r"(?:<\|(?:im_start|start_header_id|header_start|start_of_role|start)\|>|<start_of_turn>)(?:assistant|model|user)?|"
    r"<[|｜](?:user|assistant|system)[|｜]>|\[INST\])",
    re.IGNORECASE | re.MULTILINE,
)
TOKENS = (
    r"<[|｜][^<>|｜\s]{1,40}[|｜]>|</?(?:answer|output|response|solution|eos|bos|pad|end_of_turn|end_of_utterance)>|"
    r"\[/INST\]|<unused\d{1,3}>"
)
AFTER = r"(?=[ \t]{0,9}(?:\n|<|\[|\Z))"
TOKEN = re.compile(rf"(?:(?<![^\n>])(?:{TOKENS})|(?:{TOKENS}){AFTER})", re.IGNORECASE)
END_OF_SEQUENCE = re.compile(rf"</s>{AFTER}")
FENCE = re.compile(r"(?:`{3,}|~{3,})\s*[\w.+-]*")


def unwrapped(response: str) -> tuple[list[str], str, list[str]]:
    """The blocks of reasoning in an answer, what the LLM says in its own turn, and pieces beyond that.

    Line ends are \\n. A line separator, a form feed and their like stay within their line. Invisible marks at the
    beginning of lines go.
    """
    text = response.replace("\r\n", "\n").replace("\r", "\n")
    text = LINE_BEGINS.sub(lambda begin: re.sub(f"[{INVISIBLE}]", "", begin[0]), text)
    end = text.rfind("\n", 0, LONGEST_ANSWER) if len(text) > LONGEST_ANSWER else len(text)
    reasoning, said = _without_reasoning(text[: max(end, 0)])
    first, *others = [turn for turn in map(_without_tokens, TURN.split(said)) if turn.strip()] or [""]
    beyond = [*(line for turn in others for line in turn.split("\n")), text[max(end, 0) :]]
    return reasoning, first, [piece.strip() for piece in beyond if piece.strip()]


def _without_reasoning(text: str) -> tuple[list[str], str]:
    """The blocks of reasoning, and the rest; a block whose end is missing goes on to the end.

    All before an end without a beginning is reasoning too: the LLM's template has begun it in the prompt.
    """
    if text.startswith("analysis") and "assistantfinal" in text:  # OpenAI's harmony format, its tokens removed
        text = f"<think>{text.replace('assistantfinal', '</think>', 1)}"
    thought: list[str] = []
    said: list[str] = []
    place, thinking = 0, False
    for tag in REASONING.finditer(text):
        around = text[max(tag.start() - 1, 0) : tag.start()], text[tag.end() : tag.end() + 1]
        if not thinking and not tag["opens"] and {*around}.isdisjoint({"", "\n"}):
            continue  # within a text that speaks of it
        (thought if thinking else said).append(text[place : tag.start()])
        if not thinking and not tag["opens"]:
            thought += said
            said.clear()
        place, thinking = tag.end(), bool(tag["opens"])
    (thought if thinking else said).append(text[place:])
    blocks = [_without_tokens(block).strip() for block in thought]
    return [block for block in blocks if block], "\n".join(said)


def _without_tokens(text: str) -> str:
    """Without the tokens of chat templates; <s> and </s> are such too, but for a pair, which strikes words through."""
    text = TOKEN.sub("", text).lstrip("\n").removeprefix("<s>")
    return text if "<s>" in text else END_OF_SEQUENCE.sub("", text)


def without_fences(lines: list[str]) -> list[tuple[str, bool]]:
    """The lines but for those that begin or end a block of code, and whether each stands in such a block.

    The marks of quoted lines go.
    """
    kept, within = [], False
    for line in lines:
        if FENCE.fullmatch(line.strip()):
            within = not within
        else:
            kept.append((line.removeprefix("> "), within))
    return kept
