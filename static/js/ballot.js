/** The five-step scale: choose with a click, 1 to 5 or the arrows; Enter or the button confirms. */

import { Count } from "./count.js";
import { dropVote, keepVote, keptVote } from "./draft.js";
import { prefer, preferred } from "./preferences.js";

const NOTHING = { grade: "", both_bad: false, reasons: [], comment: "" };
const KEYS = ["1", "2", "3", "4", "5"];
const narrow = matchMedia("(max-width: 720px)"); // there the keys are not shown, so they do nothing

export class Ballot {
  #form;
  #scale;
  #confirm;
  #radios;
  #bothBad;
  #why;
  #comment;
  #keys;
  #battle = null;

  constructor(form, onVote) {
    this.#form = form;
    this.#scale = form.querySelector("fieldset");
    this.#confirm = form.querySelector("[type=submit]");
    this.#radios = [...form.elements.grade];
    this.#bothBad = form.elements.both_bad;
    this.#why = form.querySelector("details");
    this.#comment = new Count(form.elements.comment);
    this.#keys = document.getElementById("keys");
    this.#keys.checked = preferred("keys", true);
    this.#keys.addEventListener("change", () => this.#useKeys());
    this.#useKeys();
    for (const event of ["change", "input"]) {
      form.addEventListener(event, () => {
        this.#update();
        this.#keep();
      });
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#canConfirm()) onVote(this.#vote);
    });
    document.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get #grade() {
    return this.#form.elements.grade.value;
  }

  get #vote() {
    const data = new FormData(this.#form);
    return {
      grade: this.#grade,
      both_bad: this.#isBothBad(),
      reasons: data.getAll("reasons"),
      comment: data.get("comment").trim() || null,
    };
  }

  get #isOpen() {
    return !this.#scale.disabled && this.#form.checkVisibility();
  }

  /** The ballot of this battle, as it was left in this tab. */
  of(battle) {
    this.#battle = battle;
    this.#fill(keptVote(battle) ?? NOTHING);
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
    dropVote(this.#battle);
    this.#fill(NOTHING);
    this.close();
  }

  #fill({ grade, both_bad: bothBad, reasons, comment }) {
    for (const radio of this.#radios) radio.checked = radio.value === grade;
    this.#bothBad.checked = bothBad;
    for (const box of this.#form.elements.reasons) box.checked = reasons.includes(box.value);
    this.#form.elements.comment.value = comment ?? "";
    this.#comment.update();
    this.#why.open = reasons.length > 0 || Boolean(comment);
  }

  #keep() {
    if (this.#isOpen && this.#grade !== "") keepVote(this.#battle, this.#vote);
  }

  #isBothBad() {
    return this.#grade === "tie" && this.#bothBad.checked;
  }

  #canConfirm() {
    return this.#isOpen && this.#grade !== "" && !this.#comment.isOver;
  }

  /** Single keys can be switched off: speech input and stray fingers press them too. */
  #useKeys() {
    const isOn = this.#keys.checked;
    prefer("keys", isOn);
    this.#form.classList.toggle("without-keys", !isOn);
    this.#radios.forEach((radio, index) => {
      if (isOn) radio.setAttribute("aria-keyshortcuts", KEYS[index]);
      else radio.removeAttribute("aria-keyshortcuts");
    });
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target.closest("textarea, select, dialog, [contenteditable], input:not([type=radio])")) return;
    if (!this.#isOpen) return;
    const index = this.#keys.checked && !narrow.matches ? KEYS.indexOf(event.key) : -1;
    if (index >= 0) {
      event.preventDefault();
      this.#radios[index].checked = true;
      this.#radios[index].focus({ preventScroll: true });
      this.#update();
      this.#keep();
    } else if (event.key === "Enter" && !event.target.closest("a, button, summary")) {
      event.preventDefault();
      if (this.#canConfirm()) this.#form.requestSubmit();
    }
  }

  #update() {
    const isTie = this.#grade === "tie";
    this.#bothBad.closest("label").hidden = !isTie;
    if (!isTie) this.#bothBad.checked = false;
    this.#why.hidden = !this.#isOpen || this.#grade === "";
    this.#confirm.disabled = !this.#canConfirm();
  }
}
