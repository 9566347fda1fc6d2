/** Waiting for a place while all are taken: in line, in plain words, until it starts by itself. */

import { get, remove } from "./api.js";
import { number, t } from "./i18n.js";

const QUEUE = "/api/battles/queue";
const SHORTEST_S = 2;
const JITTER = 0.4; // so that those who wait do not all ask at the same moment

export class Queue {
  #dialog;
  #place;
  #wake = () => {};

  constructor(dialog) {
    this.#dialog = dialog;
    this.#place = dialog.querySelector("[data-place]");
    dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => this.#wake()); // by the button, Escape, or ourselves
  }

  /** What `action` gives, tried again as soon as there is room; null if the voter waits no longer. */
  async through(action) {
    try {
      for (let tries = 0; ; tries += 1) {
        try {
          return await action();
        } catch (problem) {
          if (problem.slug !== "no-room") throw problem;
        }
        if (!(await this.#turn(tries > 0))) return null;
      }
    } finally {
      this.#dialog.close();
    }
  }

  /** Wait until it is our turn; false when the voter has had enough. */
  async #turn(isLate) {
    if (!isLate) {
      this.#say("");
      this.#dialog.showModal();
    }
    for (let seconds = isLate ? SHORTEST_S : 0; ; ) {
      await this.#sleep(seconds);
      if (!this.#dialog.open) {
        remove(QUEUE).catch(() => {}); // else the place is held until it is forgotten
        return false;
      }
      try {
        const { has_room: hasRoom, ahead, retry_after: again } = await get(QUEUE);
        if (hasRoom) return true;
        this.#say(ahead ? t("queue.ahead", { count: number(ahead) }) : t("queue.next"));
        seconds = again;
      } catch (problem) {
        if (!problem.retryable) throw problem;
        seconds = Math.max(SHORTEST_S, problem.retryAfter);
      }
    }
  }

  #say(text) {
    if (this.#place.textContent !== text) this.#place.textContent = text; // read out once
  }

  #sleep(seconds) {
    if (!this.#dialog.open) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000 * (1 + JITTER * Math.random()));
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }
}
