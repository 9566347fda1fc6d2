/** Telling the operator about an answer: a small dialog with room for a reason. */

import { post } from "./api.js";
import { Count } from "./count.js";
import { t } from "./i18n.js";
import { notify } from "./notice.js";

export class Report {
  #dialog;
  #form;
  #count;
  #thanks;
  #notice;
  #battle = "";
  #side = "";

  constructor(dialog) {
    this.#dialog = dialog;
    this.#form = dialog.querySelector("form");
    this.#count = new Count(this.#form.elements.reason);
    this.#thanks = dialog.querySelector("[data-thanks]");
    this.#notice = dialog.querySelector(".notice");
    for (const button of dialog.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => dialog.close());
    }
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** Ask what is wrong with the answer of a side, `a` or `b`. */
  open(battle, side) {
    this.#battle = battle;
    this.#side = side;
    this.#form.reset();
    this.#count.update();
    this.#show(this.#form);
    notify(this.#notice);
    this.#dialog.querySelector("h2").textContent = t("battle.report_" + side);
    this.#dialog.showModal();
  }

  async #send() {
    if (this.#count.isOver) return notify(this.#notice, this.#count.text);
    const button = this.#form.querySelector("[type=submit]");
    button.disabled = true;
    try {
      await post(`/api/battles/${this.#battle}/report`, {
        reason: this.#form.elements.reason.value.trim() || null,
        side: this.#side,
      });
      this.#show(this.#thanks);
      this.#thanks.querySelector("p").focus();
    } catch (problem) {
      notify(this.#notice, problem.message);
    } finally {
      button.disabled = false;
    }
  }

  #show(part) {
    this.#form.hidden = part !== this.#form;
    this.#thanks.hidden = part !== this.#thanks;
  }
}
