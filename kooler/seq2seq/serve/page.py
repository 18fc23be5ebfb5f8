"""The page for people: one file, with its style, its script and its words in two languages inside.

`page.html` asks the network for nothing but this server; its security policy, which names the
script by its hash, forbids the rest.
"""

import base64
import hashlib
import json
import re
from importlib.resources import files

from kooler.seq2seq.serve.query import Offer


def page_html(offer: Offer) -> tuple[str, dict[str, str]]:
    """The page, and the header with its security policy.

    Args:
        offer: What can be chosen on it.
    """
    template = files("kooler.seq2seq.serve").joinpath("page.html").read_text("utf-8")
    facts = {
        "orders": offer.orders,
        "beam_sizes": offer.limits.beam_sizes,
        "characters": offer.limits.characters,
    }
    script = template.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    # `<` would end the element that the facts stand in
    shown = json.dumps(facts).replace("<", "\\u003c")
    page = re.sub(r"\{\{facts\}\}", lambda match: shown, template)
    return page, {"Content-Security-Policy": policy}
