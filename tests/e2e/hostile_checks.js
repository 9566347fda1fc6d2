/**
 * What must hold on a battle page whatever the models wrote. Put into the page before its own
 * scripts; `hostile.problems()` says in words what does not hold.
 */
{
  const TAGS = new Set(
    (
      "P BR HR EM STRONG S DEL CODE PRE BLOCKQUOTE UL OL LI H4 H5 H6 A TABLE THEAD TBODY TR TH TD DIV SPAN " +
      "math semantics annotation mrow mi mn mo ms mtext mspace mstyle mpadded mphantom mfrac msqrt mroot " +
      "msub msup msubsup munder mover munderover mmultiscripts mtable mtr mtd menclose"
    ).split(" "),
  );
  const ATTRIBUTES = new Set(
    (
      "class href rel start tabindex target width height depth lspace rspace voffset minsize maxsize " +
      "linethickness display displaystyle scriptlevel fence separator stretchy accent accentunder " +
      "largeop mathvariant notation columnspacing"
    ).split(" "),
  );
  const CLASSES = /^(hljs|language|align|maths)(-|$)|^(wide|plain|code)$/;
  const FLAG = /\u{1F3F4}[\u{E0030}-\u{E007A}]{2,6}\u{E007F}/gu;
  const UNSEEN =
    /[\p{Cc}\u061C\u115F\u1160\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\u3164\uFEFF\uFFA0\u{E0000}-\u{E007F}]/u;

  const violations = [];
  addEventListener("securitypolicyviolation", (event) => {
    violations.push(`the policy stopped ${event.violatedDirective}: ${event.blockedURI}`);
  });

  function* inElement(node) {
    const name = node.nodeName;
    if (!TAGS.has(name)) yield `element ${name}`;
    for (const { name: attribute, value } of node.attributes) {
      if (!ATTRIBUTES.has(attribute)) yield `attribute ${attribute}="${value}" on ${name}`;
    }
    for (const one of node.classList) if (!CLASSES.test(one)) yield `class ${one}`;
    if (name === "A" && node.hasAttribute("href")) {
      if (!/^(https?:\/\/|mailto:)[\x21-\x7e]*$/.test(node.getAttribute("href"))) yield `address ${node.href}`;
      if (node.rel !== "noopener noreferrer nofollow" || node.target !== "_blank") yield "a link that tells";
    }
    if (node.shadowRoot) yield `shadow root on ${name}`;
  }

  function* inBox(box) {
    for (const node of box.querySelectorAll("*")) {
      if (!node.closest(".code-head")) yield* inElement(node);
    }
    const heads = box.querySelectorAll(".code-head").length;
    if (heads > box.querySelectorAll("pre").length) yield "a false head of a code block";
    const texts = document.createTreeWalker(box, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_COMMENT);
    while (texts.nextNode()) {
      const { currentNode: text } = texts;
      const hidden = !text.parentElement.closest("math") && text.data.replace(FLAG, "").replace(/[\t\n]/g, "").match(UNSEEN);
      if (hidden) yield `unseen U+${hidden[0].codePointAt(0).toString(16)}`;
      if (text.nodeType === Node.COMMENT_NODE) yield "a comment";
    }
    if (!/paint|content|strict/.test(getComputedStyle(box).contain)) yield "a box that does not contain its paint";
  }

  const holds = (rect, x, y) => rect.left <= x && x <= rect.right && rect.top <= y && y <= rect.bottom;

  /** A grid over the window: an answer is hit in its own box only, the dock and header always. */
  function* inWindow() {
    const guarded = ["[data-side=a]", "[data-side=b]", ".dock", "header.site"].map((selector) => {
      const element = document.querySelector(selector);
      return { selector, element, rect: element.getBoundingClientRect() };
    });
    for (let x = 4; x < innerWidth; x += innerWidth / 14) {
      for (let y = 4; y < innerHeight; y += innerHeight / 20) {
        const hit = document.elementFromPoint(x, y);
        for (const { selector, element, rect } of guarded.slice(2)) {
          if (holds(rect, x, y) && !element.contains(hit)) yield `${hit.nodeName} over ${selector}`;
        }
        const box = hit?.closest("[data-answer]");
        if (box && !holds(box.getBoundingClientRect(), x, y)) yield `${hit.nodeName} outside of its box`;
      }
    }
    const [{ rect: one }, { rect: other }] = guarded;
    if (one.right > other.left && one.bottom > other.top) yield "the sides overlap";
    if (document.scrollingElement.scrollWidth > innerWidth) yield "the page is wider than its window";
    for (const id of ["vote", "scale", "confirm", "battle", "turns"]) {
      if (document.querySelectorAll(`[id=${id}]`).length !== 1) yield `the id ${id} is not alone`;
    }
  }

  function problems() {
    const found = [...violations, ...inWindow()];
    for (const box of document.querySelectorAll("[data-answer]")) found.push(...inBox(box));
    if (window.__pwned) found.push("a script ran");
    return [...new Set(found)];
  }

  /** Show each text alone, and as it grows; returns what did not hold, by text. */
  async function alone(texts) {
    const { render } = await import("/static/js/markdown.js");
    const found = {};
    for (const [index, text] of texts.entries()) {
      const box = document.querySelectorAll("[data-answer]")[index % 2];
      for (const share of [0.25, 0.5, 0.75]) box.replaceChildren(render(text.slice(0, text.length * share)));
      box.replaceChildren(render(text));
      const here = problems();
      if (here.length) found[text.slice(0, 200)] = here;
      box.replaceChildren();
    }
    return found;
  }

  window.hostile = { problems, alone };
}
