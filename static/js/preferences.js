/** Yes-or-no choices of this browser's reader, kept where storage is allowed. */

/** The remembered choice, or `usual`. */
export function preferred(name, usual) {
  try {
    return (localStorage.getItem(name) ?? String(usual)) === "true";
  } catch {
    return usual; // storage may be forbidden
  }
}

export function prefer(name, value) {
  try {
    localStorage.setItem(name, String(value));
  } catch {
    // the choice then holds for this page only
  }
}
