/** A receipt's check as it is shown: one line, an alarm where it fails, and all the details. */

import { copyBy } from "./clipboard.js";
import { number, t } from "./i18n.js";
import { checkHead, checkReceipt, checkVote, forgetHead } from "./verdict.js";

const PATIENCE_MS = [0, 500, 500, 1000, 1000, 2000, 2000, 3000, 5000, 8000]; // sealing takes seconds
const ANNOUNCED = ["verified", "later", "unreachable"]; // an alarm announces itself

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 0); // the download has begun
}

/** That a vote is in the log does not say that a board counts it. */
function uncounted({ leaks = {}, excluded_reason: reason }) {
  if (reason) return t("receipt.and_excluded", { reason });
  return Object.keys(leaks).length > 0 ? t("receipt.and_leaked") : "";
}

/** The sentence for a state of a check of a "vote", a "receipt" or the log's "head". */
function sentence(what, state, { seq = 0, seen = 0, fault, outcomes } = {}) {
  if (state === "failed") return t("receipt.fault." + fault);
  if (state === "unreachable" && outcomes) return t("receipt.unasked");
  if (what === "head") {
    if (state === "verified") return t("log.seen." + outcomes.history, { size: number(seen) });
    return t("receipt.head." + state);
  }
  const values = { seq: number(seq) };
  const said = what === "vote" ? t("receipt.vote." + state, values) : t("receipt.receipt." + state, values);
  return outcomes?.history === "unkept" ? said + t("receipt.and_unkept") : said;
}

export class ReceiptPanel {
  #root;
  #what = "";
  #remark = "";
  #check = null;
  #run = 0;
  #verdict = null;
  #note = "";

  /** `root` holds the parts that `_receipt.html` makes. */
  constructor(root) {
    this.#root = root;
    const on = (name, act) => {
      for (const button of root.querySelectorAll(`[data-do=${name}]`)) {
        button.addEventListener("click", () => act(button));
      }
    };
    const again = () => {
      root.focus(); // the button goes
      this.#watch();
    };
    on("again", again);
    on("copy", (button) => copyBy(button, this.#note));
    on("save", () => save("arena-receipt.txt", this.#note));
    on("evidence", () => save("arena-evidence.json", JSON.stringify(this.#verdict.evidence, null, 2)));
    on("forget", () => {
      forgetHead();
      again();
    });
    on("open", () => this.#part("dialog").showModal());
    on("close", () => this.#part("dialog").close());
    addEventListener("online", () => {
      if (root.dataset.state === "unreachable") this.#watch();
    });
  }

  /** Check a vote as the page shows it: see `checkVote`. */
  ofVote(vote) {
    this.#begin("vote", vote.signed_receipt, () => checkVote(vote), uncounted(vote));
  }

  /** Check the text of a receipt. */
  ofReceipt(note) {
    this.#begin("receipt", note, () => checkReceipt(note));
  }

  /** Check the newest head of the log. */
  ofHead() {
    this.#begin("head", "", checkHead);
  }

  #begin(what, note, check, remark = "") {
    this.#what = what;
    this.#remark = remark;
    this.#check = check;
    this.#keep(note);
    this.#watch();
  }

  /** Check until the record has its place or patience ends. */
  async #watch() {
    const run = (this.#run += 1);
    const isOver = () => run !== this.#run; // another check has begun
    this.#verdict = null;
    this.#part("checks").replaceChildren();
    this.#enter("checking");
    try {
      for (const pause of PATIENCE_MS) {
        await sleep(pause);
        if (isOver()) return;
        const verdict = await this.#check();
        if (isOver()) return;
        this.#show(verdict);
        if (verdict.state !== "waiting") return;
      }
      this.#enter("later");
    } catch (problem) {
      if (!isOver()) this.#enter("unreachable", problem.message);
    }
  }

  #part(name) {
    return this.#root.querySelector(`[data-part=${name}]`);
  }

  #keep(note) {
    this.#note = note;
    const place = this.#part("note"); // a page where it was pasted does not repeat it
    if (place) place.textContent = note;
  }

  #show(verdict) {
    this.#verdict = verdict;
    this.#keep(verdict.note);
    this.#part("checks").replaceChildren(...Object.entries(verdict.outcomes).map(([name, found]) => this.#row(name, found)));
    this.#enter(verdict.state);
  }

  #row(name, found) {
    const { seq = 0, size = 0 } = this.#verdict;
    const row = document.createElement("li");
    row.dataset.outcome = found;
    const [title, words] = [document.createElement("b"), document.createElement("span")];
    title.textContent = t("receipt.check." + name);
    words.textContent = t("receipt.check." + name + "." + found, { seq: number(seq), size: number(size) });
    row.append(title, words);
    return row;
  }

  #enter(state, reason = "") {
    this.#root.dataset.state = state;
    const hasFailed = state === "failed";
    const remark = state === "verified" ? this.#remark : "";
    const said = [sentence(this.#what, state, this.#verdict ?? {}) + remark, reason].filter(Boolean).join(" ");
    this.#part("line").textContent = hasFailed ? "" : said;
    this.#part("fault").textContent = hasFailed ? said : "";
    this.#part("said").textContent = ANNOUNCED.includes(state) ? said : "";
    this.#part("forget").hidden = !/^(key|history)\./.test(this.#verdict?.fault ?? "");
    for (const element of this.#root.querySelectorAll("[data-on]")) {
      element.hidden = !element.dataset.on.split(" ").includes(state);
    }
  }
}
