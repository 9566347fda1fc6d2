/** The five-step scale: choose with a click, 1 to 5 or the arrows; Enter or the button confirms. */

const KEYS = ["1", "2", "3", "4", "5"];

export class Ballot {
  #form;
  #scale;
  #confirm;
  #radios;
  #bothBad;

  constructor(form, onVote) {
    this.#form = form;
    this.#scale = form.querySelector("fieldset");
    this.#confirm = form.querySelector("[type=submit]");
    this.#radios = [...form.elements.grade];
    this.#bothBad = form.elements.both_bad;
    form.addEventListener("change", () => this.#update());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#canConfirm()) onVote({ grade: this.#grade, both_bad: this.#isBothBad() });
    });
    document.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get #grade() {
    return this.#form.elements.grade.value;
  }

  get #isOpen() {
    return !this.#scale.disabled && this.#form.checkVisibility();
  }

  open() {
    this.#scale.disabled = false;
    this.#update();
  }

  close() {
    this.#scale.disabled = true;
    this.#update();
  }

  clear() {
    this.#form.reset();
    this.close();
  }

  #isBothBad() {
    return this.#grade === "tie" && this.#bothBad.checked;
  }

  #canConfirm() {
    return this.#isOpen && this.#grade !== "";
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target.closest("textarea, select, [contenteditable], input:not([type=radio])")) return;
    if (!this.#isOpen) return;
    const index = KEYS.indexOf(event.key);
    if (index >= 0) {
      event.preventDefault();
      this.#radios[index].checked = true;
      this.#radios[index].focus({ preventScroll: true });
      this.#update();
    } else if (event.key === "Enter" && !event.target.closest("a, button, summary")) {
      event.preventDefault();
      if (this.#canConfirm()) this.#form.requestSubmit();
    }
  }

  #update() {
    const isTie = this.#grade === "tie";
    this.#bothBad.closest("label").hidden = !isTie;
    if (!isTie) this.#bothBad.checked = false;
    this.#confirm.disabled = !this.#canConfirm();
  }
}
