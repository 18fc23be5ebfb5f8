"""The words of the report, in English or in Chinese.

`say("Scores")` gives a text in the language of the page that is being made. The English text is its
own key, so a page reads in the code as it reads in a browser; `CHINESE` holds the other side.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

CHINESE = {
    # The page
    "Sections": "目录",
    "Scores": "得分",
    "Two ends growing together": "从两端向中间生长",
    "Samples": "示例",
    "Attention": "注意力",
    "Training": "训练过程",
    "How it was made": "制作信息",
    "Settings": "设置",
    "Machine": "机器",
    "Versions": "版本",
    "Written by kooler. This page holds everything it shows and loads nothing from anywhere.": (
        "由 kooler 生成。页面所需的一切都在这个文件里，不会从别处加载任何内容。"
    ),
    # Orders and baselines
    "left to right": "从左到右",
    "right to left": "从右到左",
    "from both ends": "从两端",
    "best of all orders": "各种顺序中最好的",
    "lead": "开头若干词",
    "first sentence": "首句",
    "best sentence": "最中心的句子",
    "nearest title": "最相近原文的标题",
    "oracle sentence": "神谕选的句子",
    # Scores
    "exact titles": "完全正确的标题",
    "first four tokens": "前四个词元",
    "last four tokens": "后四个词元",
    "exact": "完全正确",
    "first 4": "前四词元",
    "last 4": "后四词元",
    "exact titles, {order}": "完全正确的标题，{order}",
    "ROUGE-L, {order}": "ROUGE-L，{order}",
    "ROUGE-L, best baseline: {name}": "ROUGE-L，最好的基线：{name}",
    "titles scored": "个标题参与评分",
    "the model": "模型",
    "baselines": "基线",
    "oracle": "神谕",
    "table of scores": "得分表",
    "written by": "作者",
    "length": "长度",
    "Percentages but for BLEU and chrF; {bold}: the best of model and baselines; {below}: below a "
    "baseline. Length is tokens written for each token of the true titles.": (
        "除 BLEU 和 chrF 外均为百分数；{bold}：模型与基线中最高；{below}：低于某个基线。"
        "长度是写出的词元数与真实标题词元数之比。"
    ),
    "bold": "粗体",
    "below {name}": "低于{name}",
    " An oracle has seen the true title when it chose; it is no fair baseline.": (
        "神谕在选择时看过真实标题，不是公平的基线。"
    ),
    " In {count} of the true titles ROUGE sees no token; they count as 0.": (
        "有 {count} 个真实标题在 ROUGE 看来没有词元，按 0 计。"
    ),
    "No model or no baseline was scored, so there is nothing to compare.": (
        "没有模型或没有基线得分，无从比较。"
    ),
    "In no score is any order of the model below a baseline.": (
        "在每一项得分上，模型的任何一种顺序都不低于基线。"
    ),
    "{model} loses {against}.": "{model} {against}。",
    "against {baseline} in {scores}": "在{scores}上不如{baseline}",
    "every score": "所有得分",
    "{score} ({value} to {baseline})": "{score}（{value} 对 {baseline}）",
    ", ": "、",
    " and ": "和",
    # Samples
    "true title": "真实标题",
    "✓ exact": "✓ 完全正确",
    "empty": "空",
    "differs": "不同",
    "missing: {text}": "缺少：{text}",
    # Growth
    "At every step the model writes one token at the {left} end and one at the {right} end, both "
    "at once, until the halves meet. Below each token: how sure the model was.": (
        "每一步，模型同时在{left}端和{right}端各写一个词元，直到两半相遇。"
        "每个词元下方是模型的把握。"
    ),
    "left": "左",
    "right": "右",
    "One step back": "上一步",
    "One step on": "下一步",
    "Play": "播放",
    "Pause": "暂停",
    "Step": "步骤",
    "{now} of {all}": "第 {now} 步，共 {all} 步",
    "All steps": "全部步骤",
    "The title: ": "标题：",
    "end": "完",
    "the halves have met ({share})": "两半相遇（{share}）",
    "{side} “{token}” ({share})": "{side}端“{token}”（{share}）",
    "Step {number}: {parts}.": "第 {number} 步：{parts}。",
    "nothing": "无",
    # Attention
    "Each row is a token of the title, each column a token of the source; the stronger the colour, "
    "the more the decoder looked there when it wrote the token.": (
        "每行是标题的一个词元，每列是原文的一个词元；颜色越深，解码器写这个词元时越关注那里。"
    ),
    " Of {all} source tokens the {drawn} that are looked at most are drawn.": (
        "原文共 {all} 个词元，图中只画最受关注的 {drawn} 个。"
    ),
    "last layer, mean of its heads, {order}": "最后一层，各注意力头的平均，{order}",
    "attention matrix": "注意力矩阵",
    "The same in words": "文字说明",
    "Attention matrix. Each title token looks most: {looks}.": (
        "注意力矩阵。每个标题词元最关注：{looks}。"
    ),
    "{token} at {source}": "{token} 看 {source}",
    # One title explained
    "How a title came about": "一个标题是怎样写成的",
    "The beam, step by step": "束搜索的每一步",
    "Between the two ends": "两端之间",
    "Step {number}": "第 {number} 步",
    "dropped": "已舍弃",
    "Written {order}, and judged by {count} orders together: probability {share}.": (
        "写法：{order}；由 {count} 种顺序共同评判，概率 {share}。"
    ),
    "Written {order}, while the other direction was seen: probability {share}.": (
        "写法：{order}，书写时可见另一方向；概率 {share}。"
    ),
    "Of all candidates it is the one most like the others.": (
        "它是所有候选中与其他候选最相似的一个。"
    ),
    "Every step extends each open title by its most probable tokens and keeps the best; bold "
    "is what becomes the title, faded is what is dropped, ✓ is complete. The number is the "
    "probability of all that is written.": (
        "每一步都用最可能的词元扩展每个未完成的标题，并保留最好的几个；粗体将成为标题，"
        "淡色被舍弃，✓ 表示已写完。数字是全部已写内容的概率。"
    ),
    "Of what the left end looks at in the title, {left} is at the right end; of what the right "
    "end looks at, {right} is at the left end.": (
        "左端对标题自身的关注有 {left} 落在右端；右端的关注有 {right} 落在左端。"
    ),
    "Each row is a token of the title, each column a token of it that was written before, or a "
    "start tag; the stronger the colour, the more the decoder looked there.": (
        "每行是标题的一个词元，每列是标题中先写出的词元或起始标记；颜色越深，解码器越关注那里。"
    ),
    # Curves
    "On the dev set": "开发集",
    "While learning": "训练中",
    "nats per token": "奈特/词元",
    "Exact titles of the dev set": "开发集上完全正确的标题",
    "Learning rate": "学习率",
    "learning rate": "学习率",
    "updates": "更新次数",
    "Nothing was measured.": "没有测量值。",
    "Long curves are averaged in blocks.": "较长的曲线按段取平均。",
    "{name} from {first} to {last}": "{name} 从 {first} 到 {last}",
    "{title}, in {unit}, over {x}: {lines}.": "{title}，单位 {unit}，横轴 {x}：{lines}。",
    # How it was made
    "processor": "处理器",
    "cores": "核数",
    "system": "系统",
    "training": "训练",
    "{minutes} minutes": "{minutes} 分钟",
    "Headlines, written from both ends": "从两端写成的标题",
    "A small model, trained by `kooler demo` on news briefs that were made by rule.": (
        "`kooler demo` 用按规则生成的新闻简讯训练的一个小模型。"
    ),
}

_CHINESE_LETTER = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_KANA_OR_HANGUL = re.compile("[\u3041-\u30ff\u1100-\u11ff\uac00-\ud7a3]")

_language: ContextVar[str] = ContextVar("language of the report", default="en")


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Makes `say` speak a language for a while.

    Args:
        language: As HTML names it: "zh" and "zh-CN" are Chinese, all others English.
    """
    token = _language.set(page_language(language))
    try:
        yield
    finally:
        _language.reset(token)


def page_language(language: str) -> str:
    """In which of the languages that we speak the page for texts of a language is: "en" or "zh"."""
    return "zh" if language.lower().split("-")[0] == "zh" else "en"


def language_of(texts: Sequence[str]) -> str:
    """Guesses the language of texts, as HTML names it: "zh" if most letters are Chinese, or ""."""
    letters = [letter for letter in "".join(texts) if letter.isalpha()]
    chinese = sum(map(bool, map(_CHINESE_LETTER.match, letters)))
    other = any(map(_KANA_OR_HANGUL.match, letters))
    return "zh" if 2 * chinese > len(letters) and not other else ""


def say(text: str, /, **values: object) -> str:
    """A text of the page, in its language.

    Args:
        text: In English. One that the table does not know stays as it is.
        **values: For the `{places}` in it.
    """
    spoken = CHINESE.get(text, text) if _language.get() == "zh" else text
    return spoken.format(**values) if values else spoken
