"""The sentences and the headline of a news brief, in English and in Chinese.

A sentence is drawn from several of the same meaning; the headline is a function of the facts.
`briefs.py` draws the facts and puts the sentences in order.
"""

import random
from typing import Protocol

from kooler.seq2seq.brief_facts import CAUSES, EVENTS, PLACES, Facts


class Language(Protocol):
    """The sentences of a brief in one language."""

    between: str  # what stands between two sentences

    def company(self, draw: random.Random) -> str:
        """An invented name."""

    def city(self, draw: random.Random) -> str:
        """An invented name."""

    def headline(self, facts: Facts) -> str:
        """The one headline of these facts."""

    def event(self, facts: Facts, home: str, draw: random.Random) -> str:
        """The sentence that tells what happens, and names the city where the company sits."""

    def price(self, number: int, draw: random.Random) -> str:
        """The sentence that tells the number of crowns."""

    def cause(self, name: str, draw: random.Random) -> str:
        """The sentence that tells why."""

    def asides(self, home: str, site: str, rival: str, place: str, year: int) -> list[str]:
        """Sentences that do not matter."""


class English:
    """The sentences in English."""

    between = " "
    _syllables = (
        *(consonant + vowel for consonant in "bklmnrstvz" for vowel in "aio"),
        *("dan", "mel", "tor", "vin", "kor"),
    )
    _endings = ("berg", "ford", "wick", "dale")
    _days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    _kinds = ("a family firm", "a state agency", "a start-up", "a charity", "a regional group")

    def company(self, draw: random.Random) -> str:
        """Two or three different syllables."""
        return "".join(draw.sample(self._syllables, k=draw.choice((2, 2, 3)))).capitalize()

    def city(self, draw: random.Random) -> str:
        """One or two different syllables and an ending."""
        syllables = draw.sample(self._syllables, k=draw.choice((1, 2)))
        return "".join([*syllables, draw.choice(self._endings)]).capitalize()

    def headline(self, facts: Facts) -> str:
        """`COMPANY to DO [N jobs at] SITE PLACE [for N] [amid CAUSE]`."""
        event = EVENTS[facts.event]
        headline = f"{facts.company} to {event.english.short} "
        if event.unit == "jobs":
            headline += f"{facts.number} jobs at "
        headline += f"{facts.site} {facts.place}"
        if event.unit == "crowns" and facts.number:
            headline += f" for {self._short(facts.number)}"
        return headline + (f" amid {CAUSES[facts.cause].english.short}" if facts.cause else "")

    def event(self, facts: Facts, home: str, draw: random.Random) -> str:
        """Who is to do what, in one of three forms."""
        deed = draw.choice(EVENTS[facts.event].english.told)
        if EVENTS[facts.event].unit == "jobs":
            deed += f" {facts.number} people at"
        deed += f" the {facts.place} in {facts.site}"
        who, day = f"{facts.company}, {draw.choice(self._kinds)}", draw.choice(self._days)
        return draw.choice(
            (
                f"{who} based in {home}, said on {day} that it would {deed}.",
                f"On {day} {who} from {home}, announced that it would {deed}.",
                f"{who} with its seat in {home}, plans to {deed}.",
            )
        )

    def price(self, number: int, draw: random.Random) -> str:
        """The number in full, with commas."""
        forms = ("It put the sum at {:,} crowns.", "The sum is {:,} crowns.")
        return draw.choice(forms).format(number)

    def cause(self, name: str, draw: random.Random) -> str:
        """The cause in one of its long forms."""
        cause = draw.choice(CAUSES[name].english.told)
        return draw.choice((f"It pointed to {cause}.", f"The move follows {cause}."))

    def asides(self, home: str, site: str, rival: str, place: str, year: int) -> list[str]:
        """Some with names, a place or a number that do not belong in the headline."""
        return [
            "Shares were little changed.",
            "A spokesman declined to comment.",
            f"The weather in {home} was mild.",
            f"Residents of {site} held a meeting.",
            f"{rival}, a rival, announced nothing new.",
            f"{rival} has a {place} in {home}.",
            f"The firm was founded in {year}.",
        ]

    def _short(self, number: int) -> str:
        return f"{number / 1e6:g}m" if number >= 1e6 else f"{number // 1000}k"


class Chinese:
    """The sentences in Chinese."""

    between = ""
    _characters = (
        "安博成达东丰福广海恒宏华汇嘉江金京凯康科立联龙美"
        "明宁鹏启泉荣瑞盛泰天通万旺祥兴雅阳宜永远云泽正中"
    )
    _days = "一二三四五"
    _kinds = ("家族企业", "政府机构", "初创公司", "慈善机构", "区域集团")

    def company(self, draw: random.Random) -> str:
        """Two or three different characters."""
        return "".join(draw.sample(self._characters, k=draw.choice((2, 3))))

    def city(self, draw: random.Random) -> str:
        """Two different characters and 市."""
        return "".join(draw.sample(self._characters, k=2)) + "市"

    def headline(self, facts: Facts) -> str:
        """`[受 CAUSE 影响，] COMPANY [N元] DO SITE PLACE [N个岗位]`."""
        event = EVENTS[facts.event]
        headline = f"受{CAUSES[facts.cause].chinese.short}影响，" if facts.cause else ""
        headline += facts.company
        if event.unit == "crowns" and facts.number:
            headline += self._short(facts.number)
        headline += f"{event.chinese.short}{facts.site}{PLACES[facts.place]}"
        return headline + (f"{facts.number}个岗位" if event.unit == "jobs" else "")

    def event(self, facts: Facts, home: str, draw: random.Random) -> str:
        """Who is to do what, in one of three forms."""
        deed = draw.choice(EVENTS[facts.event].chinese.told)
        deed += f"位于{facts.site}的{PLACES[facts.place]}"
        if EVENTS[facts.event].unit == "jobs":
            deed += f"的{facts.number}个岗位"
        kind, day = draw.choice(self._kinds), draw.choice(self._days)
        return draw.choice(
            (
                f"总部位于{home}的{kind}{facts.company}周{day}表示，将{deed}。",
                f"周{day}，来自{home}的{kind}{facts.company}宣布{deed}。",
                f"{home}的{kind}{facts.company}计划{deed}。",
            )
        )

    def price(self, number: int, draw: random.Random) -> str:
        """The number in full, with commas."""
        return draw.choice((f"交易金额为{number:,}元。", f"所需资金共{number:,}元。"))

    def cause(self, name: str, draw: random.Random) -> str:
        """The cause in one of its long forms."""
        cause = draw.choice(CAUSES[name].chinese.told)
        return draw.choice((f"该公司称原因是{cause}。", f"此前出现了{cause}的情况。"))

    def asides(self, home: str, site: str, rival: str, place: str, year: int) -> list[str]:
        """Some with names, a place or a number that do not belong in the headline."""
        return [
            "股价变动不大。",
            "发言人拒绝置评。",
            f"{home}当日天气温和。",
            f"{site}居民举行了会议。",
            f"竞争对手{rival}没有新的消息。",
            f"{rival}在{home}有一家{PLACES[place]}。",
            f"该公司成立于{year}年。",
        ]

    def _short(self, number: int) -> str:
        return f"{number / 1e8:g}亿元" if number >= 1e8 else f"{number // 10**4}万元"
