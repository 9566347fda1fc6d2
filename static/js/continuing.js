/** After the vote: going on from one side's answers, with a pair that is drawn anew. */

import { Composer } from "./composer.js";
import { t } from "./i18n.js";

export class Continuing {
  #row;
  #lead;
  #composer;
  #back;
  #from = null; // {battle, side}
  #opener = null;

  /**
   * `row` offers both sides, `panel` asks for the prompt. `onOpen(lead)` and `onClose()` change
   * between the two; `onSend(prompt, from)` starts the battle; `onRefuse(message)` is told why not.
   */
  constructor(row, panel, { onOpen, onClose, onSend, onRefuse }) {
    this.#row = row;
    this.#lead = panel.querySelector(".lead");
    this.#back = panel.querySelector("[type=button]");
    this.#composer = new Composer(panel.querySelector("form"), {
      onSend: (prompt) => onSend(prompt, this.#from),
      onRefuse,
    });
    row.addEventListener("click", ({ target }) => {
      const button = target.closest("button");
      if (!button) return;
      this.#open(button);
      onOpen(this.#lead.textContent);
      this.#composer.focus();
    });
    this.#back.addEventListener("click", () => {
      onClose();
      this.#opener.focus({ preventScroll: true });
    });
    panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#back.click();
    });
  }

  /** Offer both sides of a voted battle, if its conversation may grow. */
  offer(battle, isPossible) {
    this.#row.hidden = !isPossible;
    for (const button of this.#row.querySelectorAll("button")) {
      const { side } = button.dataset;
      const { name } = battle[`about_${side}`];
      button.querySelector("[data-name]").textContent = name;
      button.setAttribute("aria-label", t("continue.from_" + side, { name }));
      button.dataset.battle = battle.id;
    }
  }

  #open(button) {
    const { battle, side } = button.dataset;
    this.#opener = button;
    this.#from = { battle, side };
    const name = button.querySelector("[data-name]").textContent;
    this.#lead.textContent = t("continue.lead", { name });
  }

  set text(value) {
    this.#composer.text = value;
  }

  set busy(value) {
    this.#composer.busy = value;
  }
}
