/**
 * Formulas in markdown: $…$, $$…$$, \(…\) and \[…\], as MathML by KaTeX.
 *
 * A formula that is too big, unknown to KaTeX or up to something is shown as its source, and so is
 * one that has not been closed: what is still being written does not jump from shape to shape.
 */

import { lazy, remembered } from "./lazy.js";
import { visible } from "./visible.js";

const MAX_SOURCE = 4_000; // characters of one formula
const MAX_LINES = 100; // of one formula
const MAX_MARKUP = 60_000; // characters of its MathML
const MAX_DEPTH = 40; // nested elements: layout costs more with every level
const MAX_FORMULAS = 400; // of one answer
const MAX_EXPANSIONS = 1_000;
const MAX_EM = 20;
const LONG_INLINE = 40; // characters; beyond them a formula may be wider than a phone

// Definitions can grow without bound; others reach outside of the formula, or write style
// attributes, which the page's policy would report.
const REFUSED =
  /\\(?:[egx]?def|let|futurelet|global|long|(?:re)?newcommand|providecommand|char|href|url|includegraphics|html[a-z]*|fcolorbox|pmb)(?![a-z])/i;

const katex = lazy(() => import("../vendor/katex.js"));

function depth(markup) {
  let now = 0;
  let deepest = 0;
  for (const [, end, empty] of markup.matchAll(/<(\/?)[a-z][^>]*?(\/?)>/g)) {
    if (empty) continue;
    now += end ? -1 : 1;
    deepest = Math.max(deepest, now);
  }
  return deepest;
}

const toMarkup = remembered(MAX_FORMULAS * 2, (key) => {
  const displayMode = key[0] === "d";
  try {
    const markup = katex().renderToString(key.slice(1), {
      displayMode,
      output: "mathml",
      strict: "ignore",
      trust: false,
      maxExpand: MAX_EXPANSIONS,
      maxSize: MAX_EM,
    });
    return markup.length > MAX_MARKUP || depth(markup) > MAX_DEPTH ? null : markup;
  } catch {
    return null; // a ParseError, or the stack's end
  }
});

/** The MathML of a formula, or null when it is to be shown as its source. */
function formula(source, isDisplay) {
  const refused = source.length > MAX_SOURCE || REFUSED.test(source) || visible(source) !== source;
  return refused || !katex() ? null : toMarkup((isDisplay ? "d" : "i") + source);
}

const OPENERS = [
  { open: "$$", close: "$$", isDisplay: true },
  { open: "\\[", close: "\\]", isDisplay: true },
  { open: "\\(", close: "\\)", isDisplay: false },
  { open: "$", close: "$", isDisplay: false },
];

function openerAt(src, pos) {
  return OPENERS.find(({ open }) => src.startsWith(open, pos));
}

/** Where `close` stands unescaped in `text` from `pos` on, or -1. */
function closing(text, close, pos) {
  let at = text.indexOf(close, pos);
  while (at > 0 && close[0] === "$" && text[at - 1] === "\\") at = text.indexOf(close, at + 1);
  return at;
}

/** Whether what stands between the marks is a formula: no price, shell variable or footnote. */
function isFormula(open, source, before, after) {
  if (!source.trim()) return false;
  if (open === "\\[") return !/^\d+$/.test(source) && after !== "(";
  if (open !== "$") return true;
  const isPrice = /[a-z\d$]/i.test(before) || /\d/.test(after) || /^[\d.,]+\s+\(?[a-z]{2,}/i.test(source);
  return !isPrice && !/^\s|\s$|`|.[/:(,]$/.test(source);
}

function addToken(state, source, whole, isDisplay) {
  const token = state.push("maths", "", 0);
  token.content = source;
  token.markup = whole;
  token.meta = { isDisplay };
  return token;
}

function inline(state, silent) {
  const { src, pos } = state;
  const opener = openerAt(src, pos);
  if (!opener) return false;
  const { open, close, isDisplay } = opener;
  const start = pos + open.length;
  const end = closing(src.slice(0, Math.min(state.posMax, start + MAX_SOURCE)), close, start);
  if (end < 0) return false;
  const source = src.slice(start, end);
  const next = end + close.length;
  if (!isFormula(open, source, src[pos - 1] ?? "", src[next] ?? "")) return false;
  if (!silent) addToken(state, source.trim(), src.slice(pos, next), isDisplay);
  state.pos = next;
  return true;
}

/** The lines of a formula that begins at `startLine`: up to its mark, or else to a blank line. */
function extent(state, { open, close }, startLine, endLine) {
  const first = state.bMarks[startLine] + state.tShift[startLine];
  const last = Math.min(endLine, startLine + MAX_LINES);
  let blank = null;
  let line = startLine;
  for (; line < last; line += 1) {
    if (state.isEmpty(line)) blank ??= line;
    else if (state.sCount[line] < state.blkIndent) break; // out of its list or quotation
    const from = line === startLine ? first + open.length : state.bMarks[line];
    const end = closing(state.src.slice(0, state.eMarks[line]), close, from);
    if (end < 0) continue;
    const rest = state.src.slice(end + close.length, state.eMarks[line]);
    return { nextLine: line + 1, source: state.src.slice(first + open.length, end), rest };
  }
  return { nextLine: blank ?? line, source: "", rest: "" };
}

/** A formula that begins its line and may span several. */
function block(state, startLine, endLine, silent) {
  if (state.sCount[startLine] - state.blkIndent >= 4) return false; // code
  const opener = openerAt(state.src, state.bMarks[startLine] + state.tShift[startLine]);
  if (!opener?.isDisplay) return false;
  const { nextLine, source, rest } = extent(state, opener, startLine, endLine);
  if (rest.trim() || (source && !isFormula(opener.open, source, "", ""))) return false; // a sentence
  if (silent) return true;
  const whole = state.getLines(startLine, nextLine, state.blkIndent, false).trim();
  const { length } = opener.open;
  const token = addToken(state, source && whole.slice(length, -length).trim(), whole, true);
  token.block = true;
  token.map = [startLine, nextLine];
  state.line = nextLine;
  return true;
}

/** The markdown-it plugin. */
export function maths(markdown) {
  const { escapeHtml } = markdown.utils;
  markdown.inline.ruler.before("escape", "maths", inline);
  const interrupts = ["paragraph", "reference", "blockquote", "list"];
  markdown.block.ruler.before("fence", "maths", block, { alt: interrupts });
  markdown.renderer.rules.maths = (tokens, index, _options, env) => {
    const { content, markup, meta, block } = tokens[index];
    env.formulas = (env.formulas ?? 0) + 1;
    const made = content && env.formulas <= MAX_FORMULAS ? formula(content, meta.isDisplay) : null;
    const tag = block ? "div" : "span";
    if (made === null) return `<${tag} class="maths-source">${escapeHtml(markup)}</${tag}>`;
    if (!meta.isDisplay && content.length <= LONG_INLINE) return made;
    const kind = meta.isDisplay ? "maths wide" : "maths-inline wide";
    return `<${tag} class="${kind}" tabindex="0">${made}</${tag}>`;
  };
}
