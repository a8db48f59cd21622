"""Both languages have all texts of the page, and the page uses all of them."""

import re
from pathlib import Path
from string import Formatter

import pytest

from page.texts import LANGUAGES, TEXTS, text

pytestmark = pytest.mark.once
PAGE = Path(__file__).resolve().parent.parent / "page"


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_both_languages_say_the_same():
    for key, (english, chinese) in TEXTS.items():
        assert places(english) == places(chinese), key
        assert not re.search("[\u4e00-\u9fff]", english), key


def test_every_text_is_used_and_every_used_text_exists():
    code = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.py"))
    code = code.replace((PAGE / "texts.py").read_text(encoding="utf-8"), "")
    direct = set(re.findall(r"\bt\(\s*[\"'](\w+)[\"']", code))
    named = set(re.findall(r'"(step_\w+)"', code))
    prefixes = set(re.findall(r'\bt\(f"(\w+_)\{', code)) | {"group_", "roi_"}
    assert direct | named <= TEXTS.keys()
    indirect = {key for key in TEXTS if key.startswith(tuple(prefixes))}
    assert TEXTS.keys() == direct | named | indirect | {"previous", "next"}


def test_values_are_filled_in():
    assert text("left", LANGUAGES[0], seconds=3) == "about 3 s left"
    assert "3" in text("left", LANGUAGES[1], seconds=3)
