/** After the vote: who the models were, where they stand, and what the vote moved. */

import { number, t } from "./i18n.js";
import { awaitBoard, readBoard } from "./standing.js";

const SIDES = ["a", "b"];
const GRADES = ["b_much_better", "b_better", "tie", "a_better", "a_much_better"]; // −2…2

export class Reveal {
  #faces;
  #faceTemplate;
  #note;
  #leaks;

  constructor(panel, faceTemplate) {
    this.#faces = panel.querySelector("[data-faces]");
    this.#faceTemplate = faceTemplate;
    this.#note = panel.querySelector("[data-standing]");
    this.#leaks = panel.querySelector("[data-leaks]");
  }

  /** Names and grade of a voted battle. */
  show(battle) {
    const [a, b] = SIDES.map((side) => this.#face(side, battle[`about_${side}`]));
    this.#faces.replaceChildren(a, verdict(battle), b);
    this.#note.textContent = "";
    this.#leaks.hidden = !isFlagged(battle);
    this.#leaks.textContent = remark(battle.leaks);
    this.#note.hidden = isFlagged(battle); // no change of the board is waited for
  }

  /** Ratings of today, for a vote that was cast some time ago. */
  async showStanding(battle) {
    this.#rate(battle, await readBoard(battle.campaign));
  }

  /** Ratings of just `before` the vote, then with it as soon as the board was counted again. */
  async showChange(battle, before) {
    this.#rate(battle, before);
    if (isFlagged(battle)) return; // the board does not count it
    this.#note.textContent = t("reveal.counting");
    const after = await awaitBoard(battle.campaign, [battle.model_a, battle.model_b], before);
    this.#note.textContent = t(after ? "reveal.counted" : "reveal.later");
    if (after) this.#rate(battle, after, before ?? { rows: new Map() });
  }

  #face(side, about) {
    const face = this.#faceTemplate.content.cloneNode(true).firstElementChild;
    face.classList.add(`face-${side}`);
    face.querySelector(".badge").textContent = side.toUpperCase();
    face.querySelector("[data-name]").textContent = about.name;
    return face;
  }

  #rate(battle, board, before = null) {
    for (const side of SIDES) {
      const model = battle[`model_${side}`];
      const place = this.#faces.querySelector(`.face-${side} [data-rating]`);
      const row = board?.rows.get(model);
      const moved = before ? change(row, before.rows.get(model)) : [];
      place.replaceChildren(...rating(row), ...moved, ...interval(row, board?.method));
    }
  }
}

const isFlagged = (battle) => Object.keys(battle.leaks).length > 0;

/** What it means for the vote that answers gave names away, and which. */
function remark(leaks) {
  const said = SIDES.filter((side) => side in leaks).map((side) =>
    t("reveal.leak", { side: side.toUpperCase(), name: leaks[side] }),
  );
  return [t("reveal.leak.why"), ...said, t("reveal.leak.apart")].join("");
}

function verdict(battle) {
  const grade = GRADES[battle.grade + 2];
  const element = document.createElement("p");
  element.className = `verdict verdict-${{ a: "a", b: "b" }[grade[0]] ?? "t"}`;
  element.append(t("reveal.you_voted"), piece("b", t("grade." + grade)));
  if (battle.both_bad) element.append(t("vote.both_bad"));
  return element;
}

function piece(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

const whole = (value) => number(value, { maximumFractionDigits: 0, useGrouping: false });

function rating(row) {
  if (row?.rating == null) return [t("reveal.unrated")];
  return [piece("b", t("reveal.rating", { rating: whole(row.rating) }))];
}

function interval(row, method) {
  if (row?.rating == null || method === "elo") return []; // Elo has no interval
  const { rating_lower: lower, rating_upper: upper } = row;
  const isOpen = lower === null && upper === null;
  const values = {
    lower: lower === null ? "−∞" : whole(lower),
    upper: upper === null ? "∞" : whole(upper),
  };
  return [piece("span", isOpen ? t("reveal.too_few") : t("reveal.interval", values), "interval")];
}

/** "+4", of a model that was rated before and is now. */
function change(row, before) {
  if (row?.rating == null) return [];
  if (before?.rating == null) return [" ", piece("span", t("reveal.first"), "change")];
  const moved = Math.round(row.rating) - Math.round(before.rating);
  const words = number(moved, { signDisplay: "always" }).replace("+0", "±0").replace("-", "−");
  return [" ", piece("span", words, "change")];
}
