/** One turn on the page: the prompt and the two sides. */

import { Answer } from "./answer.js";
import { t } from "./i18n.js";

const SIDES = ["a", "b"];

export class Turn {
  #root;
  #sides;

  constructor(template, parent, prompt) {
    this.#root = template.content.cloneNode(true).firstElementChild;
    this.#root.querySelector("[data-prompt]").textContent = prompt;
    this.#sides = Object.fromEntries(
      SIDES.map((side) => {
        const element = this.#root.querySelector(`[data-side=${side}]`);
        return [side, { element, answer: new Answer(element.querySelector("[data-answer]")) }];
      }),
    );
    parent.append(this.#root);
  }

  append(side, text) {
    if (text) this.#sides[side].answer.text += text;
  }

  /** Whether any text is to be seen on both sides: neither is shown to be first. */
  get hasBegun() {
    return SIDES.every((side) => this.#sides[side].answer.text !== "");
  }

  restart() {
    for (const side of SIDES) this.#sides[side].answer.text = "";
  }

  /** The end of a turn: how each side finished, and its whole text where it is known. */
  complete(data) {
    for (const side of SIDES) {
      const { element, answer } = this.#sides[side];
      if (data[`answer_${side}`] !== undefined) answer.text = data[`answer_${side}`];
      this.#settle(element);
      const finish = data[`finish_${side}`];
      const note = element.querySelector("[data-finish]");
      note.hidden = !finish || finish === "stop";
      if (!note.hidden) note.textContent = t("finish." + finish);
    }
  }

  /** No answer comes any more, and none counts. */
  fail() {
    this.#root.classList.add("failed");
    this.#root.querySelector("[data-failed]").hidden = false;
    for (const side of SIDES) this.#settle(this.#sides[side].element);
  }

  reveal(abouts) {
    for (const side of SIDES) {
      const { element } = this.#sides[side];
      element.querySelector("[data-name]").textContent = abouts[side].name;
      const about = element.querySelector("[data-about]");
      about.replaceChildren(...describe(abouts[side]));
      about.hidden = !about.hasChildNodes();
    }
  }

  scrollIntoView() {
    this.#root.scrollIntoView({ block: "start" });
  }

  #settle(element) {
    element.setAttribute("aria-busy", "false");
  }
}

/** "Organisation · licence · link" of a model, as nodes. */
export function describe({ organization, license, link }) {
  const parts = [organization, license].filter(Boolean).map((text) => document.createTextNode(text));
  if (/^https?:\/\//.test(link)) {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.target = "_blank";
    anchor.rel = "noopener noreferrer";
    anchor.textContent = new URL(link).hostname.replace(/^www\./, "");
    parts.push(anchor);
  }
  return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
}
