/** How much of a text box's limit is used: shown near the limit, in code points as the API counts. */

import { number, t } from "./i18n.js";

const COUNT_FROM = 0.8; // of the limit

export class Count {
  #box;
  #shown;
  #limit;

  constructor(box) {
    this.#box = box;
    this.#shown = document.getElementById(box.getAttribute("aria-describedby"));
    this.#limit = Number(box.dataset.limit);
    box.addEventListener("input", () => this.update());
    this.update();
  }

  get #length() {
    return [...this.#box.value].length;
  }

  get isOver() {
    return this.#length > this.#limit;
  }

  get text() {
    const values = { count: number(this.#length), limit: number(this.#limit) };
    return t(this.isOver ? "ask.over" : "ask.count", values);
  }

  update() {
    this.#shown.hidden = this.#length < this.#limit * COUNT_FROM;
    this.#shown.classList.toggle("over", this.isOver);
    this.#shown.textContent = this.text;
    this.#box.setAttribute("aria-invalid", String(this.isOver));
  }
}
