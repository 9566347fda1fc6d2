/** The conversation that a battle goes on with: shown once, above both sides. */

import { Answer } from "./answer.js";

const SHORT = 400; // characters that are shown unfolded

export class Earlier {
  #root;
  #place;
  #templates;

  /** `templates` are of a message by its role, each with one element for the text. */
  constructor(root, templates) {
    this.#root = root;
    this.#place = root.querySelector("[data-messages]");
    this.#templates = templates;
  }

  /** Show the messages; nothing at all when there are none. */
  show(messages) {
    this.#place.replaceChildren();
    this.#root.hidden = messages.length === 0;
    this.#root.open = messages.reduce((sum, { text }) => sum + text.length, 0) < SHORT;
    for (const { role, text } of messages) {
      const element = this.#templates[role].content.cloneNode(true).firstElementChild;
      this.#place.append(element);
      if (role === "user") element.querySelector("p").textContent = text;
      else new Answer(element.firstElementChild).text = text;
    }
  }
}
