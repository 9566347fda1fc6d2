/** Answers while they grow: plain text until the renderer is loaded, then markdown. */

import { copyBy } from "./clipboard.js";
import { t } from "./i18n.js";
import { keepingPlace } from "./scrolling.js";
import { visible } from "./visible.js";

const RENDER_EVERY_MS = 150;
const LANGUAGE = /\blanguage-([\w+#.-]{1,20})(?:\s|$)/;

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

addEventListener("partloaded", () => renderSoon(answers));

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
  const boxes = [...changed].map((answer) => answer.box);
  keepingPlace(() => {
    for (const answer of changed) answer.render();
  }, boxes);
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

/** A head over each code block with its language and a button, after the text was made safe. */
function addCodeHeads(fragment) {
  for (const pre of fragment.querySelectorAll("pre")) {
    const head = document.createElement("div");
    head.className = "code-head";
    const language = document.createElement("span");
    language.textContent = pre.firstElementChild?.className.match(LANGUAGE)?.[1] ?? "";
    const button = document.createElement("button");
    button.type = "button";
    button.className = "link";
    button.dataset.copyCode = "";
    button.textContent = t("battle.copy_code");
    head.append(language, button);
    const block = document.createElement("div");
    block.className = "code";
    pre.replaceWith(block);
    block.append(head, pre);
  }
  return fragment;
}

export class Answer {
  #element;
  #text = "";

  constructor(element) {
    this.#element = element;
    element.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-copy-code]");
      if (button) copyBy(button, button.closest(".code").querySelector("pre").textContent);
    });
    answers.add(this);
  }

  get isShown() {
    return this.#element.isConnected;
  }

  /** What scrolls when the answers stand in boxes. */
  get box() {
    return this.#element.parentElement;
  }

  get text() {
    return this.#text;
  }

  set text(value) {
    this.#text = value;
    renderSoon([this]);
  }

  render() {
    if (renderer) {
      this.#element.dir = renderer.direction(this.#text);
      replaceFromFirstChange(this.#element, addCodeHeads(renderer.render(this.#text)));
    } else this.#element.textContent = visible(this.#text);
    this.#element.classList.toggle("plain", !renderer);
  }
}
