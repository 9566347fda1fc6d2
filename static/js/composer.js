/** A prompt box: grows, Enter sends, Shift+Enter breaks the line, counts near the limit. */

import { number, t } from "./i18n.js";

const COUNT_FROM = 0.8; // of the limit

export class Composer {
  #form;
  #box;
  #count;
  #button;
  #limit;
  #busy = false;

  constructor(form, onSend) {
    this.#form = form;
    this.#box = form.querySelector("textarea");
    this.#count = form.querySelector(".count");
    this.#button = form.querySelector("[type=submit]");
    this.#limit = Number(this.#box.dataset.limit);
    this.#box.addEventListener("input", () => this.#update());
    this.#box.addEventListener("keydown", (event) => {
      // keyCode 229: Safari ends a composition before the Enter that chose the characters
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#canSend()) onSend(this.#box.value);
    });
    this.#update();
  }

  get campaign() {
    return this.#form.elements.campaign?.value;
  }

  set text(value) {
    this.#box.value = value;
    this.#update();
  }

  set busy(value) {
    this.#busy = value;
    this.#update();
  }

  focus() {
    this.#box.focus();
  }

  #length() {
    return [...this.#box.value].length;
  }

  #canSend() {
    return !this.#busy && this.#box.value.trim() !== "" && this.#length() <= this.#limit;
  }

  #update() {
    this.#box.rows = 1;
    const line = parseFloat(getComputedStyle(this.#box).lineHeight);
    if (line) this.#box.rows = Math.min(12, Math.max(1, Math.round(this.#box.scrollHeight / line)));
    const length = this.#length();
    const isOver = length > this.#limit;
    this.#count.hidden = length < this.#limit * COUNT_FROM;
    this.#count.classList.toggle("over", isOver);
    this.#count.textContent = t(isOver ? "ask.over" : "ask.count", {
      count: number(length),
      limit: number(this.#limit),
    });
    this.#box.setAttribute("aria-invalid", String(isOver));
    this.#button.disabled = !this.#canSend();
  }
}
