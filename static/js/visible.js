/** Characters that deceive the eye, shown by their code point. */

// The tags that make a regional flag, and one variation selector, are left alone.
const FLAG = "\\u{1F3F4}[\\u{E0030}-\\u{E007A}]{2,6}\\u{E007F}";
const SELECTORS = "[\\uFE00-\\uFE0F\\u{E0100}-\\u{E01EF}]";
// Joiners shape emoji and many scripts; after these letters they only hide.
const IDLE_JOINERS = "(?<=^|[\\p{sc=Latin}\\p{sc=Cyrillic}\\p{sc=Greek}\\p{sc=Han}0-9\\s])[\\u200C\\u200D]+";
const KEPT = `[\\t\\n\\r\\u00AD\\u180B-\\u180F\\u200C\\u200D]|${SELECTORS}`;
const HIDING = `(?!${KEPT})[\\p{DI}\\p{Cc}\\p{Zl}\\p{Zp}\\uFFF9-\\uFFFB]`;
const MASK = new RegExp(`(${FLAG})|${SELECTORS}{2,}|${IDLE_JOINERS}|${HIDING}`, "gu");

const codePoint = (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;

/** `text` with controls of direction, zero-width and other unseen characters shown. */
export function visible(text) {
  return text.replace(MASK, (found, flag) => flag ?? Array.from(found, codePoint).join(""));
}
