"""Which encodings are named where a file is in none that is read, and what a line reads in them."""

import pytest

from synthgap.core.errors import SynthgapError
from synthgap.data.text_files import read_text

TEXTS = {
    "cp1252": "Das Öl läuft über die Straße\nEin schöner Tag für alle Mädchen",
    "cp1250": "Ten film bardzo mi się podobał i był świetny\nPrzesyłka przyszła za późno",
    "cp932": "この映画はとても面白かったです。\n配送が遅くて残念でした。",
    "gb18030": "这部电影非常好看，我很喜欢。\n质量太差了，不推荐购买。",
    "big5": "這部電影非常好看，我很喜歡。\n品質太差了，不推薦購買。",
    "cp949": "이 영화는 정말 재미있었어요.\n배송이 너무 느립니다.",
    "koi8-r": "Этот фильм мне очень понравился\nДоставка была слишком медленной",
    "cp1251": "Этот фильм мне очень понравился\nДоставка была слишком медленной",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_right_encoding_is_among_those_whose_reading_is_shown(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(f"text\n{TEXTS[encoding]}\n".encode(encoding))
    with pytest.raises(SynthgapError, match="no UTF-8 text") as refused:
        read_text(path)
    said = str(refused.value)
    assert TEXTS[encoding].splitlines()[0][11:19] in said
    assert encoding in said
    assert f"iconv -f {encoding.upper()}" in said or f"' in {encoding}" in said


@pytest.mark.parametrize("encoding", ["koi8-r", "cp1251", "cp949"])
def test_an_encoding_that_alone_is_likely_is_named_alone(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(f"text\n{TEXTS[encoding]}\n".encode(encoding))
    with pytest.raises(SynthgapError, match=f"but {encoding} perhaps .*iconv -f {encoding.upper()} "):
        read_text(path)
