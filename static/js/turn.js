/** One turn on the page: the prompt and the two sides, each with its tools. */

import { Answer } from "./answer.js";
import { copyBy } from "./clipboard.js";
import { t } from "./i18n.js";
import { goTo, scrollInStep } from "./scrolling.js";

const SIDES = ["a", "b"];
const OTHER = { a: "b", b: "a" };

export class Turn {
  #root;
  #sides;

  /** `onReport(side)` is called by a side's flag. */
  constructor(template, parent, prompt, onReport) {
    this.#root = template.content.cloneNode(true).firstElementChild;
    this.#root.querySelector("[data-prompt]").textContent = prompt;
    this.#sides = Object.fromEntries(
      SIDES.map((side) => {
        const element = this.#root.querySelector(`[data-side=${side}]`);
        const body = element.querySelector("[data-body]");
        const answer = new Answer(element.querySelector("[data-answer]"));
        return [side, { element, body, answer, readTo: 0 }];
      }),
    );
    for (const side of SIDES) this.#equip(side, onReport);
    scrollInStep(this.#sides.a.body, this.#sides.b.body);
    parent.append(this.#root);
  }

  #equip(side, onReport) {
    const { element, answer } = this.#sides[side];
    const on = (tool, act) => {
      const button = element.querySelector(`[data-tool=${tool}]`);
      button.addEventListener("click", () => act(button));
    };
    on("copy", (button) => copyBy(button, answer.text));
    on("expand", (button) => this.#expand(side, button));
    on("report", () => onReport(side));
    on("jump", () => this.#jump(side, OTHER[side]));
  }

  /** One side over the whole width, and back. */
  #expand(side, button) {
    const isWide = this.#root.classList.toggle("wide-" + side);
    button.setAttribute("aria-pressed", String(isWide));
    this.#sides[OTHER[side]].element.hidden = isWide;
    this.#sides[side].element.scrollIntoView({ block: "nearest" });
  }

  /** On a narrow page the sides are stacked: go to the other, to where it was left. */
  #jump(from, to) {
    const here = this.#sides[from];
    const there = this.#sides[to];
    here.readTo = Math.max(0, -here.element.getBoundingClientRect().top);
    goTo(there.element, there.readTo);
    there.element.querySelector("[data-tool=jump]").focus({ preventScroll: true });
  }

  /** Whether both sides stand in boxes that scroll in step. */
  set boxed(isBoxed) {
    for (const side of SIDES) {
      const { body } = this.#sides[side];
      if (isBoxed) body.tabIndex = 0;
      else body.removeAttribute("tabindex");
    }
  }

  append(side, text) {
    if (text) this.#sides[side].answer.text += text;
  }

  /** Whether any text is to be seen on both sides: neither is shown to be first. */
  get hasBegun() {
    return SIDES.every((side) => this.#sides[side].answer.text !== "");
  }

  restart() {
    for (const side of SIDES) this.#sides[side].answer.text = "";
  }

  /** The end of a turn: how each side finished, and its whole text where it is known. */
  complete(data) {
    for (const side of SIDES) {
      const { element, answer } = this.#sides[side];
      const text = data[`answer_${side}`];
      if (text !== undefined && text !== answer.text) answer.text = text;
      this.#settle(element);
      const finish = data[`finish_${side}`];
      const note = element.querySelector("[data-finish]");
      note.hidden = !finish || finish === "stop";
      if (!note.hidden) note.textContent = t("finish." + finish);
    }
  }

  /** No answer comes any more, and none counts. */
  fail() {
    this.#root.classList.add("failed");
    this.#root.querySelector("[data-failed]").hidden = false;
    for (const side of SIDES) this.#settle(this.#sides[side].element);
  }

  reveal(abouts) {
    for (const side of SIDES) {
      const { element } = this.#sides[side];
      element.querySelector("[data-name]").textContent = abouts[side].name;
      const about = element.querySelector("[data-about]");
      about.replaceChildren(...describe(abouts[side]));
      about.hidden = !about.hasChildNodes();
    }
  }

  scrollIntoView() {
    goTo(this.#root);
  }

  #settle(element) {
    element.setAttribute("aria-busy", "false");
  }
}

/** "Organisation · licence · link" of a model, as nodes. */
function describe({ organization, license, link }) {
  const parts = [organization, license].filter(Boolean).map((text) => document.createTextNode(text));
  if (/^https?:\/\//.test(link)) {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.target = "_blank";
    anchor.rel = "noopener noreferrer";
    anchor.textContent = new URL(link).hostname.replace(/^www\./, "");
    parts.push(anchor);
  }
  return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
}
