"""Whether an answer, or one text of it, is an LLM's refusal: in English and the languages that LLMs answer in most.

A whole answer without a text is judged by little: people's "I can't" is enough. A text of a list has to say that it
will not be made ("I cannot create content ..."), or in a whole sentence that it cannot be helped with ("I can't help
with that."), first of all or with regret: people write "Sorry, I can't come" and "I can't help with that tonight".
"""

import re

ANSWER_START, TEXT_START = 2000, 200  # letters that are looked at
SAYS_NO = re.compile(
    r"i(?: a|'?)m sorry|sorry, but|i can(?:no|')t|i can not|i(?: a|'?)m (?:not able|unable)|i won'?t|as an ai\b|"
    r"i (?:must|have to) decline|unable to (?:help|assist|comply)",
    re.IGNORECASE,
)
GAP = r"[^.!?。\n]{0,60}?"
NO = r"\bi (?:cannot|can not|can't|won't|will not|am unable to|am not able to)(?: \w+)?"
DECLINE = r"\bi (?:must|have to|need to|will have to)(?: \w+ly)? decline"
END = r"(?= ?(?:[.!;:\n]|$|[,–—-]? ?(?:but|as|because|since|however)\b))"  # of what is said; people go on otherwise
KINDS = r"(?:message|text|example|tweet|review|headline|post|statement|joke|response)s?"
HARM = (
    r"(?:hate|harm|deceptive|misleading|fraud|phish|scam|spam|offensive|abusive|illegal|unethical|inappropriate|explicit|"
    r"sexual|racis|sexis|discriminat|derogat)"
)
WRITE = "write|create|generate|produce|provide|compose|draft|craft"
WRITING = r"(?:writing|creating|generating|producing|providing|composing|drafting|crafting)"
HELPS = (
    rf"{NO} (?:(?:help|assist)(?: you)? with|write|create|generate|produce|provide) (?:that|this|it|such)"
    rf"(?: (?:kinds?|types?|sorts?) of)?(?: (?:{KINDS}|content|material|things?|stuff|topics?))?{END}"
)
# for each language: regret, what only an LLM declines, what people decline too
LANGUAGES = (
    (
        r"sorry|apolog|unfortunately",
        rf"as an? (?:ai(?=,| i\b| (?:language )?(?:model|assistant|system)\b)|(?:large )?language model\b)|"
        rf"{NO} (?:{WRITE}|fulfil|fulfill|comply|engage|continue)(?: [\w-]+){{0,4}} (?:content|material|request)\b|"
        rf"{NO} (?:{WRITE})(?: [\w-]+){{0,2}} {KINDS}"
        rf"(?: (?:promot|contain|encourag|directly|as (?:described|requested))|(?: (?:to|like) (?:that|this))?{END})|"
        rf"{NO} (?:{WRITE})(?: [\w-]+){{0,3}} (?:that|which) (?:promot|encourag|incit|spread|glorif|demean|deceiv)|"
        rf"{NO} (?:{WRITE}|make)(?: an?| any| such)? {HARM}|"
        rf"{NO} (?:help|assist)(?: you)? with (?:{WRITING}|(?:that|this|your|the) (?:request|task|kind|type|content))|"
        rf"{NO} assist(?: you)? with (?:that|this|it){END}|^\W*{HELPS}|^\W*{DECLINE}{END}|"
        rf"{DECLINE} (?:to (?:write|create|generate|provide|produce)|(?:this|that|your|the) request)\b|"
        rf"\bi am not comfortable {WRITING}(?: an?| any)? (?:that|this|it|these|those|such|content|material|{HARM})|"
        r"\bagainst my (?:guidelines|programming)\b",
        rf"{HELPS}|\bit (?:seems|appears|looks)\b{GAP} your (?:request|question|prompt|instructions?|message)\b",
    ),
    (
        r"tut mir leid|entschuldig|leider|bedau",
        rf"\b(?:kann|darf|werde)\b{GAP}\b(?:nicht|keine\w*)\b{GAP}\b(?:erstellen|generieren|verfassen|bereitstellen|nachkommen)",
        rf"\bkann\b{GAP}\b(?:nicht|keine\w*)\b{GAP}\b(?:helfen|schreiben|unterstützen|behilflich)",
    ),
    (
        r"désolé|regrette|malheureusement",
        rf"\bne (?:peux|suis|pourrai)\b{GAP}\b(?:générer|créer|rédiger|fournir|produire|répondre à (?:cette|votre))",
        rf"\bne (?:peux|suis|pourrai)\b{GAP}\b(?:aider|écrire)",
    ),
    (
        r"lo siento|disculp|lamento",
        rf"\bno (?:puedo|podré)\b{GAP}\b(?:generar|crear|redactar|proporcionar|producir|cumplir)",
        rf"\bno (?:puedo|podré)\b{GAP}\b(?:ayudar|escribir|asistir)",
    ),
    (
        r"desculp|sinto muito|lamento|infelizmente",
        rf"\bnão (?:posso|consigo)\b{GAP}\b(?:gerar|criar|redigir|fornecer|produzir|atender)",
        rf"\bnão (?:posso|consigo)\b{GAP}\b(?:ajudar|escrever)",
    ),
    (
        r"mi dispiace|\bscus|purtroppo",
        rf"\bnon (?:posso|sono in grado)\b{GAP}\b(?:generare|creare|redigere|fornire|produrre|soddisfare)",
        rf"\bnon (?:posso|sono in grado)\b{GAP}\b(?:aiutar|scrivere|assister)",
    ),
    (
        r"spijt|sorry|helaas",
        rf"\bkan\b{GAP}\b(?:niet|geen)\b{GAP}\b(?:genereren|opstellen|produceren|voldoen)",
        rf"\bkan\b{GAP}\b(?:niet|geen)\b{GAP}\b(?:helpen|schrijven|maken)",
    ),
    (
        r"przepraszam|przykro|niestety",
        rf"\bnie (?:mogę|jestem w stanie)\b{GAP}\b(?:stworzyć|tworzyć|wygenerować|generować|spełnić)",
        rf"\bnie mogę\b{GAP}\b(?:pomóc|napisać|pisać)",
    ),
    (
        r"извин|прост|сожалени",
        rf"\bне (?:могу|буду)\b{GAP}\b(?:созда(?:ть|вать)|с?генерировать|предоставить|выполнить)",
        rf"\bне могу\b{GAP}\b(?:помочь|написать|писать)",
    ),
    (r"üzgünüm|maalesef", r"oluşturamam|üretemem|sağlayamam", r"yardımcı olamam|yardım edemem|yazamam"),
    (r"xin lỗi|rất tiếc", rf"không thể{GAP}(?:tạo|cung cấp|đáp ứng)", rf"không thể{GAP}(?:giúp|viết|hỗ trợ)"),
    (
        r"maaf",
        rf"tidak (?:bisa|dapat){GAP}(?:menghasilkan|menyediakan|memenuhi)",
        rf"tidak (?:bisa|dapat){GAP}(?:bantu|tulis)",
    ),
    (
        r"抱歉|对不起|對不起|很遗憾",
        r"我(?:不能|无法|無法|不会|不會).{0,20}(?:生成|创作|創作|撰写|撰寫|提供|满足|滿足)",
        r"(?:不能|无法|無法).{0,20}(?:帮|幫|协助|協助|写|寫|回答)",
    ),
    (
        r"申し訳|すみません|残念",
        r"(?:作成|生成|提供|お応え).{0,20}(?:できません|できかねます|[い致]たしかねます)",
        r"(?:お手伝い|対応|回答|書く).{0,20}(?:できません|できかねます)",
    ),
    (
        r"죄송|미안",
        r"(?:생성|작성|제공).{0,20}(?:수 없습니다|어렵습니다)",
        r"(?:도와|도움|지원|답변).{0,20}(?:수 없|어렵)",
    ),
    (r"آسف|عذر", r"لا (?:أستطيع|يمكنني).{0,30}(?:إنشاء|توليد|تقديم)", r"لا (?:أستطيع|يمكنني).{0,30}(?:مساعد|كتاب)"),
    (r"क्षमा|माफ़|खेद", r"(?:उत्पन्न|प्रदान|तैयार).{0,20}नहीं", r"(?:मदद|सहायता|लिख).{0,20}नहीं"),
)
REGRETS, MAKES_NOT, HELPS_NOT = (re.compile("|".join(column), re.IGNORECASE) for column in zip(*LANGUAGES, strict=True))


def declines(answer: str) -> bool:
    """Whether an answer in which no text was found says that there will be none."""
    start = _plain(answer[:ANSWER_START])
    return any(pattern.search(start) for pattern in (SAYS_NO, MAKES_NOT, HELPS_NOT))


def is_refusal(text: str) -> bool:
    """Whether a text of a list is a refusal to write it."""
    start = _plain(text[:TEXT_START])
    return bool(MAKES_NOT.search(start) or (HELPS_NOT.search(start) and REGRETS.search(start)))


def _plain(text: str) -> str:
    """With straight apostrophes, and "I am" in place of "I'm"."""
    return re.sub(r"\bi'm\b", "i am", text.replace("’", "'"), flags=re.IGNORECASE)
