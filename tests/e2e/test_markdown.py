"""What the renderer makes of an answer: typography, formulas, code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import visitor
from tests.services import ArenaProcess, wait_until
from tests.upstream import Stage

pytestmark = pytest.mark.browser

Render = Callable[[str], str]
LINK = 'rel="noopener noreferrer nofollow" target="_blank"'

RENDER = """async (text) => {
    const { render } = await import("/static/js/markdown.js");
    const box = document.createElement("div");
    box.append(render(text));
    for (const source of box.querySelectorAll("annotation")) source.remove();
    return box.innerHTML.replace(/<\\/?semantics>|\\n/g, "");
}"""


@pytest.fixture(scope="module")
def render(browser: Browser, theatre: ArenaProcess) -> Iterator[Render]:
    """The page's own renderer, with its parts loaded."""
    with visitor(browser, theatre.url) as page:
        page.goto("/about")

        def render(text: str) -> str:
            html: str = page.evaluate(RENDER, text)
            return html

        wait_until(lambda: "hljs" in render("```js\nlet x;\n```"), what="the highlighter")
        wait_until(lambda: "<math" in render("$x$"), what="KaTeX")
        yield render


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\nb", "<p>a<br>b</p>"),
        ("# One\n\n### Two", "<h4>One</h4><h5>Two</h5>"),
        ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
        ("7. a", '<ol start="7"><li>a</li></ol>'),
        ("> a\n>> b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
        ("~~a~~ *b* `c`", "<p><s>a</s> <em>b</em> <code>c</code></p>"),
        ("---", "<hr>"),
        (
            "|a|b|\n|-|-:|\n|1|2|",
            '<div class="wide" tabindex="0"><table><thead><tr><th>a</th>'
            '<th class="align-right">b</th></tr></thead><tbody><tr><td>1</td>'
            '<td class="align-right">2</td></tr></tbody></table></div>',
        ),
        (
            "```js\nlet x;\n```",
            '<pre tabindex="0"><code class="language-js"><span class="hljs-keyword">let</span> x;'
            "</code></pre>",
        ),
        (
            "```nosuch\na < b\n```",
            '<pre tabindex="0"><code class="language-nosuch">a &lt; b</code></pre>',
        ),
        ("    a", '<pre tabindex="0"><code>a</code></pre>'),
        ("<b>a</b> &amp; &lt;", "<p>&lt;b&gt;a&lt;/b&gt; &amp; &lt;</p>"),
        ("> " * 70 + "a", f'<p class="plain">{"&gt; " * 70}a</p>'),
    ],
)
def test_markdown_becomes_these_elements(render: Render, text: str, html: str) -> None:
    assert render(text) == html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**中文**，然后", "<p><strong>中文</strong>，然后</p>"),
        ("**注意：**请看", "<p><strong>注意：</strong>请看</p>"),
        ("他说**“你好”**了", "<p>他说<strong>“你好”</strong>了</p>"),
        ("*（一）*二", "<p><em>（一）</em>二</p>"),
        ("**이것은**입니다", "<p><strong>이것은</strong>입니다</p>"),
        ("a * b * c", "<p>a * b * c</p>"),
    ],
)
def test_emphasis_needs_no_spaces_in_chinese(render: Render, text: str, html: str) -> None:
    assert render(text) == html


X = "<span><math><mrow><mi>x</mi></mrow></math></span>"
DISPLAYED = X.replace("<math>", '<math display="block">')
BLOCK = f'<div class="maths wide" tabindex="0">{DISPLAYED}</div>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a $x$ b", f"<p>a {X} b</p>"),
        (r"a \(x\) b", f"<p>a {X} b</p>"),
        ("为$x$的", f"<p>为{X}的</p>"),
        ("the $x$th", f"<p>the {X}th</p>"),
        ("**$x$**", f"<p><strong>{X}</strong></p>"),
        ("$$x$$", BLOCK),
        ("$$\nx\n$$", BLOCK),
        ("\\[\nx\n\\]", BLOCK),
        ("a\n$$\nx\n$$\nb", f"<p>a</p>{BLOCK}<p>b</p>"),
        ("a $$x$$ b", f'<p>a <span class="maths wide" tabindex="0">{DISPLAYED}</span> b</p>'),
        ("- a\n  $$\n  x\n  $$\n- b", f"<ul><li>a{BLOCK}</li><li>b</li></ul>"),
        ("> $$\n> x\n> $$", f"<blockquote>{BLOCK}</blockquote>"),
    ],
)
def test_a_formula_becomes_mathml(render: Render, text: str, html: str) -> None:
    assert render(text) == html


@pytest.mark.parametrize(
    "text",
    [
        *("It is $5 and $6.", "US$5, CA$6", "$5-$10", "$5 million (~$6 million)", "5$ or 6$"),
        *("$HOME/bin:$PATH", "$ x $", "a $ b", "$", "$$", "$$$", "$5 (or 5$)"),
    ],
)
def test_prices_and_variables_are_no_formulas(render: Render, text: str) -> None:
    shown = render(text)
    assert "<math" not in shown
    assert "".join(text.split()) in "".join(shown.split())


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("`$x$`", "<p><code>$x$</code></p>"),
        ("```\n$$x$$\n```", '<pre tabindex="0"><code>$$x$$</code></pre>'),
        ("    $$x$$", '<pre tabindex="0"><code>$$x$$</code></pre>'),
        (r"\$x\$", "<p>$x$</p>"),
        (r"\[1\] Smith", "<p>[1] Smith</p>"),
        (r"\[a\](https://b.example)", f'<p>[a](<a href="https://b.example/" {LINK}>'),
    ],
)
def test_code_and_escapes_are_no_formulas(render: Render, text: str, html: str) -> None:
    assert render(text).startswith(html)
    assert "<math" not in render(text)


@pytest.mark.parametrize(
    "source",
    [
        *(r"\frac{", r"\nosuch", "}", r"x^^2", r"\def\a{\a\a}\a", r"\newcommand{\a}{x}\a"),
        *(r"\href{https://a.example}{x}", r"\htmlClass{dock}{x}", r"\includegraphics{a.png}"),
        *(r"\fcolorbox{red}{blue}{x}", r"\pmb{x}", r"\sqrt{" * 60 + "x" + "}" * 60, r'\char"202E'),
    ],
)
def test_a_formula_that_is_not_understood_is_shown_as_it_was_written(
    render: Render, source: str
) -> None:
    assert render(f"a ${source}$") == f'<p>a <span class="maths-source">${source}$</span></p>'


@pytest.mark.parametrize(
    ("source", "letters"),
    [
        (r"\mathbb{RQ1}", "ℝℚ𝟙"),
        (r"\mathcal{LA}", "ℒ𝒜"),
        (r"\mathbf{v0}", "𝐯𝟎"),
        (r"\mathfrak{gC}", "𝔤ℭ"),
        (r"\boldsymbol{\beta}", "𝜷"),
    ],
)
def test_letters_of_formulas_have_their_variant(render: Render, source: str, letters: str) -> None:
    shown = render(f"${source}$")
    assert "".join(c for c in shown if ord(c) > 127) == letters


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        (r"\rule{900em}{1em}", "900"),
        (r"\kern{-900em}x", "900"),
        (r"\color{white}x", "white"),
        (r"\Huge{x}", "mathsize"),
        (r"\colorbox{blue}{x}", "blue"),
    ],
)
def test_no_formula_paints_or_reaches_far(render: Render, source: str, lost: str) -> None:
    shown = render(f"${source}$")
    assert "<math" in shown
    assert lost not in shown


def test_an_answer_has_so_many_formulas_at_most(render: Render) -> None:
    assert render("$x$ " * 1000).count("<math") == 400


def test_an_unfinished_formula_stays_the_same_element_while_it_grows(render: Render) -> None:
    whole = "$$\nx\n= \\frac{a}{b}\n- c\n"
    for end in range(2, len(whole)):
        shown = render(whole[:end])
        assert shown.startswith('<div class="maths-source">') or end < 3
        assert shown.count("<div") <= 1 and "<h" not in shown and "<ul" not in shown
    assert render(whole + "$$").startswith('<div class="maths wide"')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("&#x202e;abc", "⟨U+202E⟩abc"),
        ("`a\u2066b`", "<code>a⟨U+2066⟩b</code>"),
        ("mo\u200cdel 模\u200d型", "mo⟨U+200C⟩del 模⟨U+200D⟩型"),
        ("می\u200cخواهم 👩\u200d⚕️ ❤️", "می\u200cخواهم 👩\u200d⚕️ ❤️"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("😀\U000e0101\U000e0102", "😀⟨U+E0101⟩⟨U+E0102⟩"),
        ("a\u2028b\u3164", "a⟨U+2028⟩b⟨U+3164⟩"),
        ("co\u00adoperate", "co\u00adoperate"),
    ],
)
def test_what_hides_is_shown(render: Render, text: str, shown: str) -> None:
    assert render(text).replace("&nbsp;", "\u00a0") == f"<p>{shown}</p>"


@pytest.mark.parametrize(
    ("text", "href", "label"),
    [
        ("https://аpple.com/a", "https://xn--pple-43d.com/a", "https://xn--pple-43d.com/a"),
        ("https://a.example/中", "https://a.example/%E4%B8%AD", "https://a.example/中"),
        (
            "https://a.example/%E2%80%AE",
            "https://a.example/%E2%80%AE",
            "https://a.example/⟨U+202E⟩",
        ),
        ("![b](https://a.example/x.png)", "https://a.example/x.png", "▧ b"),
        ("<mailto:a@b.example>", "mailto:a@b.example", "mailto:a@b.example"),
    ],
)
def test_an_address_is_shown_as_it_is(render: Render, text: str, href: str, label: str) -> None:
    assert render(text) == f'<p><a href="{href}" {LINK}>{label}</a></p>'


def test_an_answer_reads_in_the_direction_of_its_first_letter(
    browser: Browser, theatre: ArenaProcess, stage: Stage
) -> None:
    stage.says("123 שלום", pieces=1)
    with visitor(browser, theatre.url) as page:
        battle = page.request.post("/api/battles", data={"prompt": "Hello."})
        page.goto(battle.headers["location"].replace("/api", ""))
        expect(page.locator("[data-answer][dir=rtl]")).to_have_count(2, timeout=20_000)
