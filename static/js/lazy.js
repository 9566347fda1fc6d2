/**
 * A heavy part of the renderer, loaded when an answer first needs it.
 *
 * Returns a function that gives the module, or null until it is there; then `partloaded` tells
 * the page to render again what it shows. A load that failed is tried again at the next need.
 */
export function lazy(load) {
  let part = null;
  let loading = null;

  async function fetchPart() {
    try {
      part = await load();
      dispatchEvent(new Event("partloaded"));
    } catch {
      loading = null;
    }
  }

  return () => {
    loading ??= fetchPart();
    return part;
  };
}

/** `make(key)`, remembered for the last keys: a growing answer is rendered many times. */
export function remembered(limit, make) {
  const made = new Map();
  return (key) => {
    if (!made.has(key)) {
      if (made.size >= limit) made.delete(made.keys().next().value);
      made.set(key, make(key));
    }
    return made.get(key);
  };
}
