/** Texts of the page's language, from the catalogue that the server's templates use too. */

const response = await fetch(`/static/i18n/${document.documentElement.dataset.lang}.json`);
const catalogue = await response.json();

/** Whether there is a text of this name. */
export function has(key) {
  return Object.hasOwn(catalogue, key);
}

/** The text of `key`, with `{name}` replaced by `values.name`. */
export function t(key, values = {}) {
  const text = catalogue[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** A number as the page's language writes it. */
export function number(value, options = {}) {
  return value.toLocaleString(document.documentElement.lang, options);
}
