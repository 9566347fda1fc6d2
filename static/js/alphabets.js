/** Letters of formulas in bold, script and the like: MathML left them to Unicode's characters. */

// For each variant, where its A, a, 0 and α stand.
const STARTS = {
  bold: { A: 0x1d400, a: 0x1d41a, 0: 0x1d7ce, α: 0x1d6c2 },
  "bold-italic": { A: 0x1d468, a: 0x1d482, 0: 0x1d7ce, α: 0x1d736 },
  script: { A: 0x1d49c, a: 0x1d4b6 },
  fraktur: { A: 0x1d504, a: 0x1d51e },
  "double-struck": { A: 0x1d538, a: 0x1d552, 0: 0x1d7d8 },
  "sans-serif": { A: 0x1d5a0, a: 0x1d5ba, 0: 0x1d7e2 },
  monospace: { A: 0x1d670, a: 0x1d68a, 0: 0x1d7f6 },
};
// Those that Unicode had before it made the alphabets.
const ELDER = {
  script: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ", e: "ℯ", g: "ℊ", o: "ℴ" },
  fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};
const FIRSTS = { A: /[A-Z]/, a: /[a-z]/, 0: /[0-9]/, α: /[α-ω]/ };

/** `text` in the letters of a MathML `mathvariant`; what has no such letter stays. */
export function inVariant(text, variant) {
  const starts = Object.entries(STARTS[variant] ?? {});
  return Array.from(text, (c) => {
    const [first, start] = starts.find(([name]) => FIRSTS[name].test(c)) ?? [c, c.codePointAt(0)];
    const offset = c.codePointAt(0) - first.codePointAt(0);
    return ELDER[variant]?.[c] ?? String.fromCodePoint(start + offset);
  }).join("");
}
