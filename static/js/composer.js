/** A prompt box: grows, Enter sends, Shift+Enter breaks the line, counts near the limit. */

import { Count } from "./count.js";

const MAX_ROWS = 12;

export class Composer {
  #form;
  #box;
  #count;
  #button;
  #busy = false;

  /** `onSend(prompt)` sends; `onRefuse(message)` is told why Enter did not. */
  constructor(form, { onSend, onRefuse }) {
    this.#form = form;
    this.#box = form.querySelector("textarea");
    this.#count = new Count(this.#box);
    this.#button = form.querySelector("[type=submit]");
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
      else if (this.#count.isOver) onRefuse(this.#count.text);
    });
    this.#update();
  }

  get campaign() {
    return this.#form.elements.campaign?.value;
  }

  get text() {
    return this.#box.value;
  }

  set text(value) {
    this.#box.value = value;
    this.#count.update();
    this.#update();
  }

  set busy(value) {
    this.#busy = value;
    this.#update();
  }

  focus() {
    this.#box.focus();
  }

  #canSend() {
    return !this.#busy && this.#box.value.trim() !== "" && !this.#count.isOver;
  }

  #update() {
    this.#box.rows = 1;
    const line = parseFloat(getComputedStyle(this.#box).lineHeight);
    const rows = Math.round(this.#box.scrollHeight / line);
    if (line) this.#box.rows = Math.min(MAX_ROWS, Math.max(1, rows));
    this.#button.disabled = !this.#canSend();
  }
}
