/** One side's answer while it grows: plain text until the renderer is loaded, then markdown. */

const RENDER_EVERY_MS = 150;

let renderer = null;
const waiting = new Set();

/** Load the markdown renderer; answers that are shown already are rendered again. */
export async function loadRenderer() {
  if (renderer) return;
  renderer = await import("./markdown.js").catch(() => null); // plain text until the next try
  for (const answer of waiting) answer.refresh();
}

addEventListener("highlighter", () => {
  for (const answer of waiting) answer.refresh();
});

/** Keep the blocks that did not change, so that selections and scroll positions survive. */
function replaceFromFirstChange(parent, fragment) {
  let old = parent.firstChild;
  while (old && fragment.firstChild?.isEqualNode(old)) {
    fragment.firstChild.remove();
    old = old.nextSibling;
  }
  while (old) {
    const next = old.nextSibling;
    old.remove();
    old = next;
  }
  parent.append(fragment);
}

/** The page's end stays in view only for a reader who is there. */
function keepingTheEndInView(change) {
  const page = document.scrollingElement;
  const isStacked = matchMedia("(max-width: 720px)").matches;
  const atEnd = page.scrollHeight - page.scrollTop - innerHeight < 32;
  change();
  if (atEnd && !isStacked) page.scrollTop = page.scrollHeight;
}

export class Answer {
  #element;
  #text = "";
  #timer = null;
  #cost = 0;

  constructor(element) {
    this.#element = element;
    waiting.add(this);
  }

  get text() {
    return this.#text;
  }

  append(text) {
    if (!text) return;
    this.#text += text;
    this.refresh();
  }

  set(text) {
    this.#text = text;
    this.refresh();
  }

  /** Show the text soon: at most once a frame, and rarer when rendering it is dear. */
  refresh() {
    this.#timer ??= setTimeout(
      () => requestAnimationFrame(() => this.#show()),
      Math.max(RENDER_EVERY_MS, this.#cost * 4),
    );
  }

  #show() {
    this.#timer = null;
    const started = performance.now();
    keepingTheEndInView(() => {
      if (renderer) replaceFromFirstChange(this.#element, renderer.render(this.#text));
      else this.#element.textContent = this.#text;
      this.#element.classList.toggle("plain", !renderer);
    });
    this.#cost = performance.now() - started;
  }
}
