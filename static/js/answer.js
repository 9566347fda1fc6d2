/** Answers while they grow: plain text until the renderer is loaded, then markdown. */

const RENDER_EVERY_MS = 150;

let renderer = null;
let timer = null;
let cost = 0; // of the last rendering, milliseconds
const answers = new Set();
const changed = new Set();

/** Load the markdown renderer; answers that are shown already are rendered again. */
export async function loadRenderer() {
  if (renderer) return;
  renderer = await import("./markdown.js").catch(() => null); // plain text until the next try
  renderSoon(answers);
}

addEventListener("highlighter", () => renderSoon(answers));

/** Both sides are rendered in one frame, so that neither seems ahead; rarer when it is dear. */
function renderSoon(these) {
  for (const answer of these) {
    if (answer.isShown) changed.add(answer);
    else answers.delete(answer);
  }
  timer ??= setTimeout(() => requestAnimationFrame(renderChanged), Math.max(RENDER_EVERY_MS, cost * 4));
}

function renderChanged() {
  timer = null;
  const started = performance.now();
  keepingTheEndInView(() => {
    for (const answer of changed) answer.render();
  });
  changed.clear();
  cost = performance.now() - started;
}

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

  constructor(element) {
    this.#element = element;
    answers.add(this);
  }

  get isShown() {
    return this.#element.isConnected;
  }

  get text() {
    return this.#text;
  }

  set text(value) {
    this.#text = value;
    renderSoon([this]);
  }

  render() {
    if (renderer) replaceFromFirstChange(this.#element, renderer.render(this.#text));
    else this.#element.textContent = this.#text;
    this.#element.classList.toggle("plain", !renderer);
  }
}
