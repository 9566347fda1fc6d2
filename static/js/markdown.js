/**
 * Hostile markdown to a safe fragment.
 *
 * markdown-it runs with HTML off; DOMPurify then lets through the few tags and attributes that
 * it writes. Nothing in an answer is loaded: images become links.
 */

import { DOMPurify, MarkdownIt } from "../vendor/markdown.js";

const TAGS = [
  ..."p br hr em strong s del code pre blockquote ul ol li h4 h5 h6 a".split(" "),
  ..."table thead tbody tr th td div span".split(" "),
];
const ATTRIBUTES = ["class", "href", "rel", "start", "tabindex", "target"];
const LINK = /^(https?:\/\/|mailto:)/i;
const MAX_NESTING = 60;
const HIGHLIGHT_LIMIT = 20_000; // characters; beyond it colouring would block the page

// Controls that reorder or hide text; the tags that make a regional flag are left alone.
const FLAG = "\\u{1F3F4}[\\u{E0030}-\\u{E007A}]{2,6}\\u{E007F}";
const INVISIBLE = "[\\u061C\\u200B\\u200E\\u200F\\u202A-\\u202E\\u2060-\\u2069\\uFEFF\\u{E0000}-\\u{E007F}]";
const FLAG_OR_INVISIBLE = new RegExp(`(${FLAG})|${INVISIBLE}`, "gu");

/** `text` with direction and zero-width controls shown by their code point: they deceive nobody. */
function visible(text) {
  return text.replace(
    FLAG_OR_INVISIBLE,
    (c, flag) => flag ?? `⟨U+${c.codePointAt(0).toString(16).toUpperCase()}⟩`,
  );
}

let highlighter = null;
let loading = null;
const coloured = new Map(); // the last blocks, because a growing answer is rendered many times

function highlight(code, language) {
  if (!language || code.length > HIGHLIGHT_LIMIT) return "";
  if (!highlighter) {
    loading ??= import("../vendor/highlight.js").then((module) => {
      highlighter = module.default;
      dispatchEvent(new Event("highlighter"));
    });
    return "";
  }
  if (!highlighter.getLanguage(language)) return "";
  const key = `${language}\n${code}`;
  if (!coloured.has(key)) {
    if (coloured.size > 50) coloured.clear();
    coloured.set(key, highlighter.highlight(code, { language, ignoreIllegals: true }).value);
  }
  return coloured.get(key);
}

const markdown = new MarkdownIt({ html: false, breaks: true, linkify: true, maxNesting: MAX_NESTING, highlight });
markdown.validateLink = (url) => LINK.test(url);
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

function insideLink(tokens, index) {
  const before = tokens.slice(0, index);
  const count = (type) => before.filter((token) => token.type === type).length;
  return count("link_open") > count("link_close");
}

rules.image = (tokens, index) => {
  const { escapeHtml } = markdown.utils;
  const url = tokens[index].attrGet("src");
  const label = escapeHtml(`▧ ${tokens[index].content || url}`);
  return insideLink(tokens, index) ? label : `<a href="${escapeHtml(url)}">${label}</a>`;
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  if (!LINK.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
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

/** A document fragment that is safe to show. */
export function render(text) {
  return DOMPurify.sanitize(toHtml(visible(text)), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}
