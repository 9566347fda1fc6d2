/**
 * Hostile markdown to a safe fragment.
 *
 * markdown-it runs with HTML off; DOMPurify then lets through the few tags and attributes that
 * it and KaTeX write. Nothing in an answer is loaded: images become links.
 */

import { cjkFriendly, DOMPurify, MarkdownIt } from "../vendor/markdown.js";
import { inVariant } from "./alphabets.js";
import { lazy, remembered } from "./lazy.js";
import "./leave.js"; // wherever an answer is shown, its links ask before they lead away
import { maths } from "./maths.js";
import { visible } from "./visible.js";

const TAGS = [
  ..."p br hr em strong s del code pre blockquote ul ol li h4 h5 h6 a".split(" "),
  ..."table thead tbody tr th td div span".split(" "),
  ..."math semantics annotation mrow mi mn mo ms mtext mspace mstyle mpadded mphantom".split(" "),
  ..."mfrac msqrt mroot msub msup msubsup munder mover munderover mmultiscripts".split(" "),
  ..."mtable mtr mtd menclose".split(" "),
];
// Of KaTeX's: no colour, because it hides text in one theme or the other; one type size.
const MATHS_LENGTHS = "width height depth lspace rspace voffset minsize maxsize linethickness".split(" ");
const MATHS_ATTRIBUTES = [
  ...MATHS_LENGTHS,
  ..."display displaystyle scriptlevel fence separator stretchy accent accentunder".split(" "),
  ..."largeop mathvariant notation columnspacing".split(" "),
];
const ATTRIBUTES = ["class", "href", "rel", "start", "tabindex", "target", ...MATHS_ATTRIBUTES];
const CLASSES =
  /^(hljs-[a-z_-]+|language-[\w+#.-]{1,20}|align-(left|right|center)|maths(-inline|-source)?|wide|plain)$/;
const PROTOCOLS = ["http:", "https:", "mailto:"];
const MAX_NESTING = 60;
const HIGHLIGHT_LIMIT = 20_000; // characters; beyond it colouring would block the page
const MAX_LENGTH = 20; // of any unit

const highlighter = lazy(() => import("../vendor/highlight.js"));

// The language is the first line of the key.
const coloured = remembered(100, (key) => {
  const end = key.indexOf("\n");
  const options = { language: key.slice(0, end), ignoreIllegals: true };
  return highlighter().default.highlight(key.slice(end + 1), options).value;
});

function highlight(code, language) {
  if (!language || code.length > HIGHLIGHT_LIMIT) return "";
  return highlighter()?.default.getLanguage(language) ? coloured(`${language}\n${code}`) : "";
}

/** The address that a link would lead to, in ASCII; null where it is none that may be shown. */
function addressOf(url) {
  const address = URL.canParse(url) ? new URL(url) : null;
  return PROTOCOLS.includes(address?.protocol) ? address.href : null;
}

/** An address as text: its host in ASCII, so that no letter passes for another, its path readable. */
function readable(url) {
  const address = addressOf(url) ?? url;
  const host = address.match(/^https?:\/\/[^/?#]*/)?.[0] ?? address;
  try {
    return host + decodeURI(address.slice(host.length));
  } catch {
    return address; // its escapes are no UTF-8
  }
}

const markdown = new MarkdownIt({ html: false, breaks: true, linkify: true, maxNesting: MAX_NESTING, highlight });
markdown.use(cjkFriendly).use(maths);
markdown.validateLink = (url) => addressOf(url) !== null;
markdown.normalizeLink = addressOf;
markdown.normalizeLinkText = readable;
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false });

// An answer's headings stand below its side's h3, and no level is left out.
markdown.core.ruler.push("headings", ({ tokens }) => {
  const open = [];
  for (const token of tokens) {
    if (token.type === "heading_open") {
      const level = Number(token.tag[1]);
      while (open.at(-1) >= level) open.pop();
      open.push(level);
    }
    if (token.type.startsWith("heading_")) token.tag = `h${Math.min(6, 3 + open.length)}`;
  }
});

// Alignment as a class: the page's policy allows no style attribute.
markdown.core.ruler.push("alignment", ({ tokens }) => {
  for (const token of tokens) {
    const style = token.attrGet("style");
    if (style) token.attrs = [["class", style.replace("text-align:", "align-")]];
  }
});

// Wide blocks scroll inside themselves, by keyboard too.
const { rules } = markdown.renderer;
rules.table_open = () => '<div class="wide" tabindex="0"><table>';
rules.table_close = () => "</table></div>";
const { fence, code_block: codeBlock } = rules;
const focusable = (rule) => (...args) => rule(...args).replace("<pre", '<pre tabindex="0"');
rules.fence = focusable(fence);
rules.code_block = focusable(codeBlock);

// An image is a link to it, unless it stands in one.
for (const type of ["link_open", "link_close"]) {
  rules[type] = (tokens, index, options, env, renderer) => {
    env.isInLink = type === "link_open";
    return renderer.renderToken(tokens, index, options);
  };
}
rules.image = (tokens, index, _options, env) => {
  const { escapeHtml } = markdown.utils;
  const url = tokens[index].attrGet("src");
  const label = escapeHtml(`▧ ${tokens[index].content || url}`);
  return env.isInLink ? label : `<a href="${escapeHtml(url)}">${label}</a>`;
};

function alignCells(table) {
  const columns = table.getAttribute("columnalign")?.split(" ") ?? [];
  for (const row of table.children) {
    const cells = Array.from(row.children).filter((cell) => !cell.classList.contains("mtr-glue"));
    columns.forEach((column, index) => cells[index]?.setAttribute("class", `align-${column}`));
  }
}

// Of KaTeX's columns and letters browsers take the alignment from style sheets only, and the
// variant from Unicode only.
DOMPurify.addHook("beforeSanitizeAttributes", (node) => {
  if (node.localName === "mtable") alignCells(node);
  if (/^m[ion]$/.test(node.localName)) {
    node.textContent = inVariant(node.textContent, node.getAttribute("mathvariant"));
  }
});
DOMPurify.addHook("uponSanitizeAttribute", (_node, data) => {
  const { attrName: name, attrValue: value } = data;
  if (name === "class") {
    data.attrValue = value.split(/\s+/).filter((one) => CLASSES.test(one)).join(" ");
    data.keepAttr = data.attrValue !== "";
  }
  if (MATHS_LENGTHS.includes(name)) {
    data.keepAttr = (value.match(/\d*\.?\d+/g) ?? []).every((number) => number <= MAX_LENGTH);
  }
});
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  if (!addressOf(node.getAttribute("href") ?? "")) node.removeAttribute("href");
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("target", "_blank");
});

function toHtml(text) {
  const env = {};
  const tokens = markdown.parse(text, env);
  // Blocks beyond the deepest level would be dropped without a word; then the text is shown as is.
  if (tokens.some((token) => token.level >= MAX_NESTING - 1)) {
    return `<p class="plain">${markdown.utils.escapeHtml(text)}</p>`;
  }
  return markdown.renderer.render(tokens, markdown.options, env);
}

/** Shows what hides, also where it was written as an entity. KaTeX needs unseen operators. */
function unmask(fragment) {
  const texts = document.createTreeWalker(fragment, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { currentNode: text } = texts;
    if (!text.parentElement?.closest("math")) text.data = visible(text.data);
  }
}

const RIGHT_TO_LEFT = /[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFC\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]/u;

/** The direction of the first letter. `dir="auto"` would be looked for anew with every block. */
export function direction(text) {
  return RIGHT_TO_LEFT.test(text.match(/\p{L}/u)?.[0]) ? "rtl" : "ltr";
}

/** A document fragment that is safe to show. */
export function render(text) {
  const fragment = DOMPurify.sanitize(toHtml(text), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
  unmask(fragment);
  return fragment;
}
