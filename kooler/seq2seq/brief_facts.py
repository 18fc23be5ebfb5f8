"""What a news brief can tell, and the words for it: long ones in the body, one in the headline.

`Facts` are what one brief tells.  Each table pairs the ways in which a thing may be told with its
short form, in English and in Chinese.
"""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Facts:
    """What a brief tells; its headline depends on nothing else.

    Args:
        company: Who acts, an invented name.
        event: What it does, a key of `EVENTS`.
        place: To what, a key of `PLACES`.
        site: Where that is, an invented name.
        number: Crowns or jobs, for the events that have a number.
        cause: Why, a key of `CAUSES`, where the brief says so.
    """

    company: str
    event: str
    place: str
    site: str
    number: int | None = None
    cause: str | None = None


class Wording(NamedTuple):
    """How a thing may be told in the body, and its one short form in the headline."""

    told: tuple[str, ...]
    short: str


class Event(NamedTuple):
    """A kind of event: what its number counts, whether it is good news, how it is worded."""

    unit: str | None
    is_good: bool
    english: Wording
    chinese: Wording


class Cause(NamedTuple):
    """A reason for good news or for bad, and how it is worded."""

    is_good: bool
    english: Wording
    chinese: Wording


EVENTS = {
    "buy": Event(
        *("crowns", True),
        Wording(("acquire", "take over", "purchase"), "buy"),
        Wording(("买下", "接手", "并购"), "收购"),
    ),
    "sell": Event(
        *("crowns", False),
        Wording(("dispose of", "part with", "divest"), "sell"),
        Wording(("卖掉", "转让", "脱手"), "出售"),
    ),
    "expand": Event(
        *("crowns", True),
        Wording(("enlarge", "extend", "add a wing to"), "expand"),
        Wording(("扩大", "扩充", "增建"), "扩建"),
    ),
    "revamp": Event(
        *("crowns", True),
        Wording(("modernise", "overhaul", "refit"), "revamp"),
        Wording(("翻新", "更新", "整修"), "改造"),
    ),
    "open": Event(
        *(None, True),
        Wording(("inaugurate", "launch", "start up"), "open"),
        Wording(("开设", "新开", "投用"), "启用"),
    ),
    "close": Event(
        *(None, False),
        Wording(("shut down", "wind up", "give up"), "close"),
        Wording(("停掉", "关停", "撤销"), "关闭"),
    ),
    "cut": Event(
        *("jobs", False),
        Wording(("lay off", "dismiss", "let go of"), "cut"),
        Wording(("裁掉", "削减", "取消"), "裁减"),
    ),
    "add": Event(
        *("jobs", True),
        Wording(("hire", "recruit", "take on"), "add"),
        Wording(("招聘", "招募", "增设"), "新增"),
    ),
}

PLACES = {
    "bakery": "面包厂",
    "harbour": "港口",
    "railway depot": "车辆段",
    "solar farm": "光伏电站",
    "museum": "博物馆",
    "data centre": "数据中心",
    "shipyard": "船厂",
    "hospital": "医院",
    "vineyard": "葡萄园",
    "printing plant": "印刷厂",
    "brewery": "啤酒厂",
    "paper mill": "造纸厂",
}

CAUSES = {
    "energy": Cause(
        False,
        Wording(("rising energy prices", "the soaring price of gas"), "energy costs"),
        Wording(("能源价格上涨", "天然气大幅涨价"), "能源成本"),
    ),
    "slump": Cause(
        False,
        Wording(("a sharp fall in demand", "a slump in orders"), "weak demand"),
        Wording(("需求大幅下滑", "订单骤减"), "需求疲软"),
    ),
    "rain": Cause(
        False,
        Wording(("months of heavy rain", "a flooded river"), "floods"),
        Wording(("连月暴雨", "河水泛滥"), "洪灾"),
    ),
    "unions": Cause(
        False,
        Wording(("a dispute with its unions", "a long strike"), "labour dispute"),
        Wording(("与工会的纠纷", "长期罢工"), "劳资纠纷"),
    ),
    "orders": Cause(
        True,
        Wording(("a surge in orders", "growing demand"), "strong demand"),
        Wording(("订单激增", "需求不断增长"), "需求旺盛"),
    ),
    "grant": Cause(
        True,
        Wording(("a grant from the state", "a public subsidy"), "state aid"),
        Wording(("政府拨款", "公共补贴"), "政府资助"),
    ),
    "tax": Cause(
        True,
        Wording(("a cut in taxes", "new rules on tax"), "tax relief"),
        Wording(("税率下调", "新的税收规定"), "减税"),
    ),
    "railway": Cause(
        True,
        Wording(("the arrival of the railway", "a new railway line"), "rail link"),
        Wording(("铁路通车", "新建铁路线"), "铁路开通"),
    ),
}
