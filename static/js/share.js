/** The battle's address, and whether others may read there. */

import { post, remove } from "./api.js";
import { copyBy } from "./clipboard.js";
import { t } from "./i18n.js";

export class Share {
  #panel;
  #toggle;
  #path = "";
  #isShared = false;

  /** `attempt(action, {button})` runs what may be refused. */
  constructor(panel, attempt) {
    this.#panel = panel;
    this.#toggle = panel.querySelector("[data-share]");
    this.#toggle.addEventListener("click", () =>
      attempt(
        async () => {
          await (this.#isShared ? remove : post)(`/api${this.#path}/share`);
          this.#show(!this.#isShared);
        },
        { button: this.#toggle },
      ),
    );
    const copy = panel.querySelector("[data-copy-link]");
    copy.addEventListener("click", () => copyBy(copy, location.origin + this.#path));
  }

  of(battle) {
    this.#path = `/battles/${battle.id}`;
    const { private: unshared } = this.#panel.dataset; // a private campaign's battles stay there
    this.#toggle.hidden = unshared.split(" ").includes(battle.campaign);
    this.#show(Boolean(battle.shared));
  }

  #show(isShared) {
    this.#isShared = isShared;
    this.#panel.querySelector("[data-reach]").textContent = t(isShared ? "reveal.shared" : "reveal.own");
    this.#toggle.textContent = t(isShared ? "reveal.unshare" : "reveal.share");
  }
}
