"""HTML pieces: nothing from a file becomes markup."""

from fullrank.report.markup import Html, flat, number, table, text


def test_text_is_escaped_once() -> None:
    assert text('<b a="1">&') == "&lt;b a=&quot;1&quot;&gt;&amp;"
    assert text(text("<b>")) == "&lt;b&gt;"


def test_table_cells_headers_and_captions_are_escaped() -> None:
    html = table(["<h>", "v"], [["<script>x</script>", "<i>"]], "<c>")
    assert "<script>" not in html
    assert "<i>" not in html
    assert html.count("&lt;") == 6


def test_numbers_stand_to_the_right_and_words_do_not() -> None:
    html = table(["run", "n"], [["a", 3], ["b", "-"]])
    assert html.count('<td class="n">') == 2
    assert 'class="n"' not in table(["run", "n"], [["a", "x"], ["b", 3]])


def test_settings_keep_their_order_and_show_none() -> None:
    assert flat({"a": {"b": None, "c": {}}, "d": [1]}) == [("a.b", "-"), ("a.c", {}), ("d", "1")]


def test_numbers_never_lose_their_size() -> None:
    assert [number(x) for x in (1e-9, 0.001, 999999.0, 1e6, float("inf"))] == [
        "1.00e-09",
        "0.001",
        "999,999",
        "1.00e+06",
        "infinite",
    ]


def test_html_is_kept() -> None:
    assert text(Html("<b>x</b>")) == "<b>x</b>"
