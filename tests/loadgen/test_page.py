"""The frame of an HTML report: self-contained, escaped."""

from html.parser import HTMLParser

from valve_loadgen.page import page, paragraph, section, side_by_side, table, tiles


class Reader(HTMLParser):
    """Collects texts and everything that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_holds_its_parts_and_fetches_nothing() -> None:
    body = [
        tiles([("26", "GPUs")]),
        side_by_side(section("A & B", paragraph("one < two")), section("C", table(["h"], [["x"]], chosen=0))),
    ]
    text = page("Title <1>", "lead", body)
    reader = Reader()
    reader.feed(text)
    assert {"Title <1>", "lead", "26", "A & B", "one < two", "h", "x"} <= set(reader.texts)
    assert reader.fetched == []
    assert "url(" not in text
    assert "http" not in text
