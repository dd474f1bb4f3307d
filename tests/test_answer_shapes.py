"""Answers as LLMs and the servers before them are reported to give: each kind, its texts, and what is left over.

Every row names whose answers look like it. All of them mean the same two texts, unless they say otherwise.
"""

import hashlib
import json
import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from synthgap.core.paths import bundled
from synthgap.llm.parsing import parse
from synthgap.llm.refusals import is_refusal
from synthgap.llm.wrapping import LONGEST_ANSWER

TWO = ["one text", "two texts"]
LIST = "1. one text\n2. two texts"
PLAN = "1. plan the tone\n2. vary the length"
END, START = "<|end|><|start|>assistant", "<|start|>assistant"

REASONING = [  # source, answer, texts, reasoning
    (
        "DeepSeek-R1, QwQ; vLLM and llama.cpp without a reasoning parser",
        f"<think>\n{PLAN}\n</think>\n\n{LIST}",
        TWO,
        [PLAN],
    ),
    ("DeepSeek-R1: its template begins the block in the prompt", f"{PLAN}\n</think>\n\n{LIST}", TWO, [PLAN]),
    ("Qwen3 with thinking switched off", f"<think>\n\n</think>\n\n{LIST}", TWO, []),
    ("any of them, cut off by max_tokens while it thinks", f"<think>\n{PLAN}", [], [PLAN]),
    ("prompts after Anthropic's cookbook", f"<thinking>{PLAN}</thinking>\n{LIST}", TWO, [PLAN]),
    ("Reflection, Ollama", f"<Reflection>\n{PLAN}\n</Reflection>\n{LIST}", TWO, [PLAN]),
    ("Magistral", f"[THINK]{PLAN}[/THINK]{LIST}", TWO, [PLAN]),
    ("Kimi-VL Thinking", f"◁think▷{PLAN}◁/think▷{LIST}", TWO, [PLAN]),
    ("Seed-OSS", f"<seed:think>{PLAN}</seed:think>{LIST}", TWO, [PLAN]),
    ("MedGemma", f"<unused94>thought\n{PLAN}<unused95>{LIST}", TWO, [f"thought\n{PLAN}"]),
    ("Sky-T1", f"<|begin_of_thought|>\n{PLAN}\n<|end_of_thought|>\n{LIST}", TWO, [PLAN]),
    (
        "merged models that think within thoughts",
        f"<think>\na\n<think>\n{PLAN}\n</think>\nb\n</think>\n{LIST}",
        TWO,
        ["a", PLAN, "b"],
    ),
    ("interleaved thinking", "<think>a</think>\n1. one text\n<think>1. b</think>\n2. two texts", TWO, ["a", "1. b"]),
    (
        "gpt-oss through a server that keeps harmony tokens",
        f"<|channel|>analysis<|message|>{PLAN}{END}<|channel|>final<|message|>{LIST}<|return|>",
        TWO,
        [PLAN],
    ),
    (
        "gpt-oss, with a commentary",
        f"<|channel|>analysis<|message|>a{END}<|channel|>commentary<|message|>1. b{END}"
        f"<|channel|>final<|message|>{LIST}",
        TWO,
        ["a", "1. b"],
    ),
    ("gpt-oss, the final channel alone", f"{START}<|channel|>final<|message|>{LIST}<|return|>", TWO, []),
    ("gpt-oss, cut off", f"<|channel|>analysis<|message|>{PLAN}", [], [PLAN]),
    (
        "gpt-oss in transformers, special tokens skipped",
        f"analysisWe need two. {PLAN}assistantfinal{LIST}",
        TWO,
        [f"analysisWe need two. {PLAN}"],
    ),
    ("a text that speaks of such a tag", "1. one <think> text\n2. two texts", ["one <think> text", "two texts"], []),
]

ANSWERS = [  # source, answer, texts, leftovers
    # template tokens
    (
        "Qwen, Yi, Hermes (ChatML) in llama.cpp with the wrong template",
        f"<|im_start|>assistant\n{LIST}<|im_end|>",
        TWO,
        [],
    ),
    ("Llama 3 in Ollama, TGI", f"<|start_header_id|>assistant<|end_header_id|>\n\n{LIST}<|eot_id|>", TWO, []),
    ("Llama 2, Mistral", f"<s> {LIST}</s>", TWO, []),
    ("Gemma", f"<start_of_turn>model\n{LIST}<end_of_turn>\n<eos>", TWO, []),
    ("Phi", f"<|assistant|>\n{LIST}<|end|>", TWO, []),
    ("DeepSeek", f"{LIST}<｜end▁of▁sentence｜>", TWO, []),
    ("Command R", f"{LIST}<|END_OF_TURN_TOKEN|>", TWO, []),
    ("GPT-2 and its like, Falcon", f"{LIST}<|endoftext|>", TWO, []),
    (
        "an LLM that plays the user too (a stop token is missing)",
        f"{LIST}<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n1. three",
        TWO,
        ["And now?", "1. three"],
    ),
    ("Llama 2, the same", f"{LIST}</s>[INST] And now? [/INST]", TWO, ["And now?"]),
    ("answers in a tag, as R1-like prompts ask for", f"<answer>\n{LIST}\n</answer>", TWO, []),
    ("a text with HTML", "1. one <s>text</s>\n2. two texts", ["one <s>text</s>", "two texts"], []),
    # numbers
    ("small models: no space", "1.one text\n2.two texts", TWO, []),
    ("Qwen, GLM, Yi in Chinese", "1、one text\n2、two texts", TWO, []),
    ("the same, full width", "（１）one text\n（２）two texts", TWO, []),
    ("the same, a word before", "文本1：one text\n文本2：two texts", TWO, []),
    ("Japanese models", "①one text\n② two texts", TWO, []),
    ("GPT-4o with emoji", "1️⃣ one text\n2️⃣ two texts", TWO, []),
    ("Mistral", "(1) one text\n(2) two texts", TWO, []),
    ("French and Spanish answers", "1- one text\n2- two texts", TWO, []),
    ("Gemma: bold numbers", "**1.** one text\n**2.** two texts", TWO, []),
    ("Gemma: bold items", "**1. one text**\n**2. two texts**", TWO, []),
    (
        "Llama 3: titles",
        "**1. At work:** one text\n**2. At home:** two texts",
        ["**At work:** one text", "**At home:** two texts"],
        [],
    ),
    ("GPT-4: a word before", "**Tweet 1:** one text\n\n**Tweet 2:** two texts", TWO, []),
    ("GPT-4: the colon outside", "**Tweet 1**: one text\n\n**Tweet 2**: two texts", TWO, []),
    (
        "Gemma: headings",
        "### Review 1\none text\n\n### Review 2\ntwo texts\n\nHope this helps!",
        TWO,
        ["Hope this helps!"],
    ),
    ("Llama 3: bold headings", "**Review 1**\n\none text\n\n**Review 2**\n\ntwo texts", TWO, []),
    ("threads of tweets", "1/ one text\n2/ two texts", TWO, []),
    ("a word before and a full stop", "No. 1: one text\nNo. 2: two texts", TWO, []),
    ("numbers in bullets", "- 1. one text\n- 2. two texts", TWO, []),
    ("all on one line, where newlines are stripped", "1. one text 2. two texts", TWO, []),
    ("several on each line", "1. one text 2. two texts\n3. a 4. b", [*TWO, "a", "b"], []),
    ("all but the first on one line", "1. one text\n2. two texts 3. a 4. b", [*TWO, "a", "b"], []),
    (
        "a sentence that ends in the following number",
        f"{LIST}. I rate it a 3. No more",
        [TWO[0], f"{TWO[1]}. I rate it a 3. No more"],
        [],
    ),
    ("the same, the only text", "2. I rate it a 3. No more", ["I rate it a 3. No more"], []),
    ("the same, other texts follow", "1. Chapter 2. The end\n2. two texts", ["Chapter 2. The end", "two texts"], []),
    (
        "lines indented, but for the first, which a server has stripped",
        "1. one text\n   2. two texts\n   3. a",
        [*TWO, "a"],
        [],
    ),
    ("numbers that end below each other", " 9. one text\n10. two texts", TWO, []),
    ("right-to-left marks (Arabic, Hebrew)", "\u200f1. one text\n\u200f2. two texts", TWO, []),
    ("left-to-right and other invisible marks", "\u200e1. one text\n \u2060\u200b 2. two texts", TWO, []),
    ("a byte order mark before bullets and JSON", '\ufeff\ufeff["one text", "two texts"]', TWO, []),
    ("zero-width spaces before bullets", "\u200b- one text\n\u200b- two texts", TWO, []),
    ("a dash apart", "1 - one text\n2 - two texts", TWO, []),
    ("the same, a long one", "1 – one text\n\n2 – two texts", TWO, []),
    ("a hash", "#1 one text\n#2 two texts", TWO, []),
    ("a letter before", "Q1. one text\nQ2. two texts", TWO, []),
    ("a word before, bold", "Here:\n\n**Text1:** one text\n\n**Text2:** two texts", TWO, ["Here:"]),
    ("letters", "a) one text\nb) two texts", TWO, []),
    ("letters in brackets, and paragraphs", "(A) one\ntext\n(B) two\ntexts\n\nDone.", TWO, ["Done."]),
    (
        "scores are no numbers",
        "2 - 1 was the score\n3 - 0 would be fair",
        [],
        ["2 - 1 was the score", "3 - 0 would be fair"],
    ),
    ("initials and choices are no letters", "A. Smith won\nB. Jones lost", [], ["A. Smith won", "B. Jones lost"]),
    ("a single one is no list", "#1 in the charts", [], ["#1 in the charts"]),
    (
        "quarters within a text",
        "1. one:\nQ1: up\nQ2: down\nQ3: up\n2. two texts",
        ["one: Q1: up Q2: down Q3: up", "two texts"],
        [],
    ),
    ("the same in Chinese", "1、one text 2、two texts", TWO, []),
    ("quotation marks in bold type", '1. **"one text"**\n2. **"two texts"**', TWO, []),
    # bullets
    ("Claude, GPT-4: bullets instead of numbers", "- one text\n- two texts", TWO, []),
    ("the same with +", "+ one text\n+ two texts", TWO, []),
    ("bullets without a space", "•one text\n•two texts", TWO, []),
    (
        "numbered groups of bullets",
        "1. At work\n- one text\n- two texts\n2. At home\n- three",
        [*TWO, "three"],
        ["1. At work", "2. At home"],
    ),
    (
        "the same, indented below headings that end in a colon",
        "1. **At work:**\n   - one text\n   - two texts\n2. **At home:**\n   - three",
        [*TWO, "three"],
        ["1. **At work:**", "2. **At home:**"],
    ),
    ("the same below one heading", "- Here you are\n  1. one text\n  2. two texts", TWO, ["- Here you are"]),
    (
        "points below texts",
        "1. One:\n   - a\n   - b\n2. Two\n   * c\n\n   * d\n\nDone.",
        ["One: - a - b", "Two * c * d"],
        ["Done."],
    ),
    (
        "numbers below texts",
        "1. One\n\t1. a\n\t2. b\n\t3. c\n2. Two\n\t1. c\n\t2. d\n\t3. e\n\t4. f",
        ["One 1. a 2. b 3. c", "Two 1. c 2. d 3. e 4. f"],
        [],
    ),
    (
        "numbers below bullets",
        "- one\n  1. text\n  2. b\n  3. c\n- two texts",
        ["one 1. text 2. b 3. c", "two texts"],
        [],
    ),
    (
        "remarks in points below texts",
        "1. one text\n   - Label: spam\n   - Why: so\n2. two texts\n   - Label: spam",
        TWO,
        ["- Label: spam", "- Why: so", "- Label: spam"],
    ),
    # tags
    ("HTML", "<ul>\n  <li>one text</li>\n  <li>two\n  texts</li>\n</ul>\nDone.", TWO, ["Done."]),
    ("HTML on one line", '<ol class="a"><li id="b"><b>one text</b></li><li><b>two texts</b></li></ol>', TWO, []),
    ("HTML that is not closed, with an escape", "<li>one text\n<li>two &amp; texts", ["one text", "two & texts"], []),
    (
        "the same with other tags",
        "<li><b>one</b> text\n<li><b>two</b> texts\nDone.",
        ["<b>one</b> text", "<b>two</b> texts"],
        ["Done."],
    ),
    ("Claude after prompts with XML", "<text>one text</text>\n<text>\ntwo texts\n</text>", TWO, []),
    (
        "the same with labels",
        "<row>\n<text>one text</text>\n<label>spam</label>\n</row>\n<row>\n<text>two texts</text>\n</row>",
        TWO,
        ["<row>", "<label>spam</label>", "</row>", "<row>", "</row>"],
    ),
    # words
    (
        "prompts that speak of texts and labels",
        "Text: one text\nLabel: spam\n\nText: two texts\nLabel: spam",
        TWO,
        ["Label: spam", "Label: spam"],
    ),
    (
        "the same in a list",
        "1. **Text:** one text\n   **Label:** spam\n2. **Text:** two texts",
        TWO,
        ["**Label:** spam"],
    ),
    ("quoted lines", "**Tweet 1**\n> one text\n\n**Tweet 2**\n> two texts", TWO, []),
    # tables
    (
        "GPT-4 and Gemini: a table",
        "Here:\n\n| Text | Label |\n|:---|:-:|\n| one text | spam |\n| two texts | spam |\n\nDone.",
        TWO,
        ['[{"Label": "spam"}, {"Label": "spam"}]', "Here:", "Done."],
    ),
    ("a table with numbers", "| # | Tweet |\n|---|---|\n| 1 | one text |\n| 2 | two texts |", TWO, []),
    ("a table without outer bars", "Nr | Tweet\n--- | ---\n1 | one text\n2 | two texts", TWO, []),
    (
        "bars and line breaks in cells",
        "| Tweet | n |\n|---|--|\n| one \\| text | 1 |\n| two<br>texts | 2 |",
        ["one | text", "two texts"],
        [],
    ),
    (
        "a bar that is not escaped",
        "| Tweet | n |\n|---|--|\n| one | text | 1 |\n| two texts | 2 |",
        ["two texts"],
        ["| one | text | 1 |"],
    ),
    # JSON
    ("structured output", '{"texts": ["one text", "two texts"]}', TWO, []),
    (
        "structured output with more",
        '{"label": "spam", "texts": ["one text", "two texts"]}',
        TWO,
        ['{"label": "spam"}'],
    ),
    (
        "JSON mode with a greeting",
        '{"message": "Here they are", "texts": ["one text", "two texts"]}',
        TWO,
        ['{"message": "Here they are"}'],
    ),
    ("JSON mode, wrapped once more", '{"data": {"texts": ["one text", "two texts"]}}', TWO, []),
    ("JSON mode: numbered keys", '{"1": "one text", "2": "two texts"}', TWO, []),
    ("JSON mode: numbered strings", '{"texts": ["1. one text", "2. two texts"]}', TWO, []),
    ("JSON mode: keys with numbers", '{"text_1": "one text", "text_2": "two texts"}', TWO, []),
    ("objects", '[{"id": 1, "text": "one text"}, {"id": 2, "text": "two texts"}]', TWO, []),
    (
        "objects with labels",
        '[{"text": "one text", "label": "spam"}, {"text": "two texts", "label": "spam"}]',
        TWO,
        ['[{"label": "spam"}, {"label": "spam"}]'],
    ),
    (
        "objects with explanations longer than the texts",
        '[{"tweet": "one text", "why": "it means what it is"}, {"tweet": "two texts", "why": "it means what it is"}]',
        TWO,
        ['[{"why": "it means what it is"}, {"why": "it means what it is"}]'],
    ),
    (
        "objects of other keys",
        '[{"kind": "a", "quip": "one text"}, {"kind": "b", "quip": "two texts"}]',
        TWO,
        ['[{"kind": "a"}, {"kind": "b"}]'],
    ),
    ("objects of a key each", '[{"tweet1": "one text"}, {"tweet2": "two texts"}]', TWO, []),
    ("objects without brackets", '{"text": "one text"}, {"text": "two texts"}', TWO, []),
    ("JSON Lines", '{"text": "one text"}\n{"text": "two texts"}', TWO, []),
    (
        "JSON Lines with lists",
        '{"text": "one text", "tags": ["a"]}\n{"text": "two texts", "tags": ["b"]}',
        TWO,
        ['[{"tags": ["a"]}, {"tags": ["b"]}]'],
    ),
    (
        "JSON Lines, a line broken",
        '{"text": "one text"}\n{"text": "a "b" c"}\n{"text": "two texts"}',
        TWO,
        ['{"text": "a "b" c"}'],
    ),
    ("JSON Lines, numbered", '1. {"text": "one text"}\n2. {"text": "two texts"}', TWO, []),
    ("lines of strings", '"one text",\n"two texts"', TWO, []),
    ("several blocks of code", '```json\n["one text"]\n```\nand\n```json\n["two texts"]\n```', TWO, ["and"]),
    ("a comma too many", '["one text", "two texts",]', TWO, []),
    (
        "quotation marks that are not escaped",
        '[\n"one text",\n"a "b" c",\n"two texts"\n]',
        TWO,
        ["[", '"a "b" c",', "]"],
    ),
    ("the same on one line: half of a text is none", '["one text", "a "b" c"]', ["one text"], ['"a "b" c"]']),
    ("objects cut off", '[{"text": "one text"}, {"text": "two texts"}, {"text": "thr', TWO, ['{"text": "thr']),
    (
        "half an emoji escaped",
        '["one text \\ud83d", "two texts \\ud83d\\ude00"]',
        ["one text \ufffd", "two texts 😀"],
        [],
    ),
    ("lists in a list", '[["one text"], ["two texts", "three"]]', [*TWO, "three"], []),
    ("lists in an object's list", '{"texts": [["one text"], ["two texts"]]}', TWO, []),
    ("rows of numbers and texts", '[[1, "one text"], [2, "two texts"]]', TWO, ["1", "2"]),
    (
        "rows of texts and labels",
        '[["one text", "spam"], ["two texts", "spam"]]',
        TWO,
        ['[{"1": "spam"}, {"1": "spam"}]'],
    ),
    (
        "brackets before them",
        'Here are [2] of {humour}:\n["one text", "two texts"]',
        TWO,
        ["Here are [2] of {humour}:"],
    ),
    ("a list of Python", """['one "text"', 'it\\'s', "isn't"]""", ['one "text"', "it's", "isn't"], []),
    ("Python objects", "[{'text': 'one text'}, {'text': 'two texts'}]", TWO, []),
    ("Python in code", "```python\ntexts = [\n    'one text',\n    'two texts',\n]\n```", TWO, ["texts ="]),
    ("quotation marks in Python that are not escaped", "['it's one', 'two']", [], ["['it's one', 'two']"]),
    ("JSON within a text", '1. one {"a": "b"} text\n2. two texts', ['one {"a": "b"} text', "two texts"], []),
    # several lines
    (
        "long reviews: paragraphs",
        "1. One.\n\nText.\n\n2. Two.\n\nTexts.\n\nHope this helps!",
        ["One. Text.", "Two. Texts."],
        ["Hope this helps!"],
    ),
    (
        "long reviews: indented paragraphs",
        "1. One.\n\n   Text.\n\n2. Two.\n\n   Texts.",
        ["One. Text.", "Two. Texts."],
        [],
    ),
    (
        "bullets of paragraphs",
        "- One.\n\n  Text.\n- Two.\n  Texts.\n\nHope this helps!",
        ["One. Text.", "Two. Texts."],
        ["Hope this helps!"],
    ),
    ("a closing line", f"{LIST}\nHope this helps!", TWO, ["Hope this helps!"]),
    (
        "remarks between texts",
        "1. one text\n(it is late)\n2. two texts\nExplanation: it is",
        TWO,
        ["(it is late)", "Explanation: it is"],
    ),
    (
        "headings between texts",
        "**At work**\n1. one text\n\n## At home\n2. two texts",
        TWO,
        ["**At work**", "## At home"],
    ),
    ("two lists", "1. one text\n\nAnd more\n\n1. two texts", TWO, ["And more"]),
    ("code fences around each text", "1.\n```\none text\n```\n2.\n```\ntwo texts\n```", TWO, []),
    (
        "code within texts",
        '1. one:\n```json\n{"a": "b"}\n```\ntext\n2. two texts\n3. a',
        ['one: {"a": "b"} text', "two texts", "a"],
        [],
    ),
    ("a plan before the code", f"{PLAN}\n```\n{LIST}\n```", TWO, PLAN.split("\n")),
    ("separators from scraped training data", "1. one\u2028text\n2. two\x85te\x0bxts", ["one text", "two te xts"], []),
    ("the same in JSON", '["one\u2028text", "two\\u0085texts"]', TWO, []),
    ("line ends of Windows", "1. one text\r\n2. two texts\r\n", TWO, []),
    ("line ends of old Macs", "1. one text\r2. two texts", TWO, []),
    ("a lone surrogate", "1. one text \ud83d\n2. two texts", ["one text \ufffd", "two texts"], []),
]


@pytest.mark.parametrize(("answer", "texts", "reasoning"), [pytest.param(*row, id=name) for name, *row in REASONING])
def test_reasoning_is_kept_and_gives_no_text(answer, texts, reasoning):
    found = parse(answer)
    assert found.texts == texts
    assert found.reasoning == reasoning
    assert found.leftovers == []


@pytest.mark.parametrize(("answer", "texts", "leftovers"), [pytest.param(*row, id=name) for name, *row in ANSWERS])
def test_texts_are_what_the_llm_meant_as_texts(answer, texts, leftovers):
    found = parse(answer)
    assert found.texts == texts
    assert found.leftovers == leftovers
    assert found.reasoning == []


# ---------------------------------------------------------------------------------------------------------- refusals

REFUSALS = {
    "English": "I'm sorry, but I can't help with that.",
    "English, of content": "I cannot create content that promotes fraud.",
    "English, of a request": "I’m unable to fulfill this request.",
    "English, of kinds of content": "I won't produce sexually explicit content",
    "English, without regret": "I can't assist with that.",
    "English, with a reason": "I can't help with this, as it could do harm.",
    "English, in a word": "I must decline.",
    "English, declining politely": "I must respectfully decline this request.",
    "English, of what does harm": "I won't write hateful tweets.",
    "English, of spam": "I cannot write spam messages",
    "English, of creating": "I can’t help with creating phishing messages.",
    "English, of what it promotes": "I cannot write tweets that promote violence.",
    "English, not comfortable": "I'm not comfortable writing that.",
    "English, of a type of content": "I'm unable to continue with this type of content.",
    "English, of assistance": "I'm sorry, but I can't provide assistance on this request.",
    "English, of guidelines": "I can't provide that, as it goes against my guidelines.",
    "English, of a response": "Sorry, but I can't generate a response to that.",
    "English, of a prompt": "I'm sorry, but it seems that your question is incomplete.",
    "English, of a kind": "Sorry, I can't write that kind of review.",
    "an LLM on itself": "As an AI language model, I do not have opinions.",
    "an LLM on itself, shorter": "As an AI, I can't write insults.",
    "German": "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "German, of content": "Ich kann keine Spam-Nachrichten erstellen.",
    "French": "Je suis désolé, mais je ne peux pas vous aider.",
    "Spanish": "Lo siento, pero no puedo ayudar con eso.",
    "Portuguese": "Desculpe, mas não posso ajudar com isso.",
    "Italian": "Mi dispiace, ma non posso aiutarti.",
    "Dutch": "Het spijt me, maar daar kan ik niet mee helpen.",
    "Polish": "Przepraszam, ale nie mogę w tym pomóc.",
    "Russian": "Извините, но я не могу помочь с этим.",
    "Turkish": "Üzgünüm, bu konuda yardımcı olamam.",
    "Vietnamese": "Xin lỗi, tôi không thể giúp bạn.",
    "Indonesian": "Maaf, saya tidak dapat membantu permintaan ini.",
    "Chinese": "抱歉，我无法提供这样的内容。",
    "Japanese": "申し訳ありませんが、その内容は作成できません。",
    "Korean": "죄송하지만 도와드릴 수 없습니다.",
    "Arabic": "آسف، لا أستطيع المساعدة في ذلك.",
    "Hindi": "क्षमा करें, मैं इसमें मदद नहीं कर सकता।",
}
TEXTS = [
    "I'm sorry I missed your call",
    "Sorry, I can't make it tonight, can you help dad with the car?",
    "Unfortunately I can't do that day, how about Friday?",
    "I can't provide that much food for this party",
    "I can't believe this movie was ever made",
    "I won't write a review longer than the film",
    "As an AI researcher, I loved this film",
    "I won't provide spoilers in this review",
    "I can't produce a single nice statement about it",
    "I cannot engage with this movie's message",
    "Tut mir leid, ich kann heute nicht kommen",
    "No puedo ir mañana, lo siento",
    "抱歉，我今天不能来",
    "Unfortunately the company cannot provide figures",
    "Sorry I couldn't help with that, my phone died",
    "Sorry, I can't help with that tonight",
    "Sorry, I can't help you on this.",
    "Sorry, only saw your message now",
    "It seems your message sparked a discussion",
    "I can't write a review of this film without crying",
    "I can't help with that, I am in Leeds until Monday",
    "I can't provide a good example of worse acting",
    "I can't write a review that does it justice",
    "Unfortunately I can't write that review without spoilers",
    "Thanks for the invitation, but I must decline.",
    "I'm not comfortable writing a review after one viewing",
    "I can't help but find it offensive",
    "I can't help with the move on Sunday, sorry",
    "I won't make it to the spam talk",
    "I cannot support a film that glorifies war",
]


@pytest.mark.parametrize("text", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_alone_and_in_a_list(text):
    assert parse(text).refused
    assert is_refusal(text)
    assert is_refusal(f"{text} Let me know if I can do anything else.")
    assert not parse(f"1. {text}\n2. a text").refused


@pytest.mark.parametrize("text", TEXTS)
def test_people_who_are_sorry_do_not_refuse(text):
    assert not is_refusal(text)


# --------------------------------------------------------------------------------------------------------- recordings


def test_the_recordings_have_the_texts_that_they_always_had():
    total, texts = hashlib.sha256(), 0
    for path in sorted(bundled("recordings", "claude").glob("*_shot/*.jsonl")):
        for line in path.read_text(encoding="utf-8").split("\n"):
            found = parse(json.loads(line)["response"]) if line else parse("")
            assert not found.leftovers
            assert not found.reasoning
            assert not any(map(is_refusal, found.texts))
            for text in found.texts:
                total.update(f"{text}\n".encode())
            texts += len(found.texts)
    assert texts == 10880
    assert total.hexdigest() == "5c7de68afdfa4b7c770def70c622eddf83df3f74a15dc4b815ac45f02ba25bf4"


# ---------------------------------------------------------------------------------------------- written and read again

WORD = st.text(alphabet="abcdefghijäß漢字😀'", min_size=1, max_size=6)
MANY = st.lists(st.lists(WORD, min_size=1, max_size=5).map(" ".join), min_size=2, max_size=8, unique=True)
SHAPES = {
    "numbers": lambda texts: "\n".join(f"{n}. {text}" for n, text in enumerate(texts, 1)),
    "tight numbers": lambda texts: "\n".join(f"{n}、{text}" for n, text in enumerate(texts, 1)),
    "bold numbers": lambda texts: "\n\n".join(f"**{n}.** {text}" for n, text in enumerate(texts, 1)),
    "bullets": lambda texts: "\n".join(f"- {text}" for text in texts),
    "JSON": lambda texts: json.dumps(texts),
    "objects": lambda texts: json.dumps([{"id": n, "text": text} for n, text in enumerate(texts)], indent=2),
    "JSON Lines": lambda texts: "\n".join(json.dumps({"text": text}) for text in texts),
    "table": lambda texts: "| # | Text |\n|---|---|\n" + "\n".join(f"| {n} | {text} |" for n, text in enumerate(texts)),
}
AROUND = {
    "nothing": "{}",
    "a fence": "Here you are:\n```\n{}\n```\nDone.",
    "words": "Here you are:\n\n{}\n\nDone.",
    "reasoning": f"<think>\n{PLAN}\n</think>\n{{}}<|im_end|>",
}


@given(texts=MANY, shape=st.sampled_from([*SHAPES]), around=st.sampled_from([*AROUND]))
def test_what_was_written_as_a_list_is_read_again(texts, shape, around):
    quoted = all(text.startswith("'") and text.endswith("'") for text in texts)
    found = parse(AROUND[around].format(SHAPES[shape](texts)))
    if not quoted:
        assert found.texts == texts
    assert found.leftovers == (["Here you are:", "Done."] if around in {"a fence", "words"} else [])


FRAGMENTS = (
    *(
        "\n1. ",
        "\n2. ",
        "\n- ",
        "\n",
        "\n\n",
        "\n   ",
        "\n   - ",
        "\n<li>",
        "</li>",
        "['",
        "\n\u200b",
        "\n# ",
        "\n(",
        "\r",
        "\u2028",
        ": ",
        "。",
        "（",
        "）",
        "'",
        "**",
        "\\",
    ),
    *("[", "]", '"', ", ", "|", "\n|", "\n```\n", "\n<think>\n", "</think>", "<|im_start|>", "<|im_end|>", "</s>"),
)


@given(st.lists(st.sampled_from(["word", " word", *FRAGMENTS]), max_size=14))
def test_every_word_is_in_one_piece_and_in_no_other(parts):
    words = [f"qw{letter}z" for letter in "abcdefghijklmn"]
    answer = "".join(part.replace("word", word) for part, word in zip(parts, words, strict=False))
    found = parse(answer)
    pieces = " ".join([*found.texts, *found.leftovers, *found.reasoning])
    assert [pieces.count(word) for word in words] == [answer.count(word) for word in words]


# ------------------------------------------------------------------------------------------------ bounded time, memory

UNITS = (
    *(
        " ",
        "\n",
        "1. ",
        "1.a\n",
        "- a\n",
        "a\n\n",
        "1. a 2. b ",
        "1. a\n\nb\n\n",
        "**1.** ",
        "# ",
        "\u2028",
        "\ud83d",
        "“",
    ),
    *(
        "[",
        "{",
        '["',
        '["a",',
        '"a"\n',
        '{"a":',
        '{"text": "a"},',
        '{"text": "a"}\n',
        "\\",
        "|",
        "|a|b|\n",
        "|-|-|\n|a|b|\n",
    ),
    *("['", "['a',", "'a", '"\\"', "\\'", ",'", ", ", '[["a"],', "   - a\n", "1. a\n   - b\n", "1. a\n  2. b\n"),
    *("\u200b", "\n\u200f ", "#1 ", "#1 a\n", "Q1. a\n", "a) ", "1 - a\n", "1 -", " 2. a 3. b", "aA1. "),
    *("<li>", "<li>a\n", "</li>", "<li ", "> ", "<text>a</text>", "&#39;", "&amp;"),
    *("```", "```\n", "<think>\n", "</think>", "<|channel|>final<|message|>", "<|", "<|a|>", "<s>", "</s>", "[INST]"),
    *("i can't ", "leider kann ich nicht ", "我不能"),
)
OPENED = ("```", "1.", "[", "{", "-", "#", "**", "<think>", "word 1", '{"a"', "|")  # and then nothing but spaces
HOSTILE = """
import sys
from synthgap.llm.parsing import parse
from test_answer_shapes import OPENED, UNITS
size = int(sys.argv[1])
for answer in (*(unit * (size // len(unit)) for unit in UNITS), *(one + " " * size + "x" for one in OPENED)):
    found = parse(answer)
    assert sum(map(len, [*found.texts, *found.leftovers, *found.reasoning])) <= 3 * len(answer)
"""


def parse_hostile(size: int) -> None:
    """Parse answers of so many letters that were made to take long, in a process that is ended if they do."""
    path = [str(ROOT / "lib"), str(ROOT / "tests")]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{HOSTILE}", str(size)]
    done = subprocess.run(command, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_answer_hangs_the_parser():
    parse_hostile(30_000)


@pytest.mark.slow
def test_no_answer_of_the_greatest_length_hangs_the_parser():
    """Most of them would take hours if time grew with the square of their length."""
    parse_hostile(LONGEST_ANSWER)


def test_of_a_huge_answer_the_beginning_is_read_and_the_rest_is_kept():
    answer = f"{LIST}\n" + "3. more of the same\n" * 500_000
    found = parse(answer)
    assert found.texts[:2] == TWO
    assert sum(map(len, found.texts)) < LONGEST_ANSWER
    assert len(found.leftovers[-1]) > len(answer) - 2 * LONGEST_ANSWER
    assert parse("x" * 10_000_000).leftovers == ["x" * 10_000_000]
