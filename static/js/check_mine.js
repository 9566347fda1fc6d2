/** Every vote on the page is looked up in the log, one after the other, when its voter asks. */

import { number, t } from "./i18n.js";

const button = document.getElementById("check");
const summary = document.getElementById("checked");
const places = [...document.querySelectorAll("[data-vote]")];

/** The outcome beside one vote; nothing where the arena could not be asked. */
async function look(place, checkVote) {
  const verdict = await checkVote(JSON.parse(place.dataset.vote)).catch(() => ({ state: "unreachable" }));
  place.dataset.state = verdict.state;
  place.hidden = verdict.state === "unreachable";
  if (verdict.state === "failed") {
    const link = document.createElement("a");
    link.href = place.closest("li").querySelector(".prompt").href;
    link.textContent = t("receipt.mine.failed");
    place.replaceChildren(link);
  } else if (!place.hidden) {
    place.textContent = t("receipt.mine." + verdict.state, { seq: number(verdict.seq ?? 0) });
  }
  return verdict.state;
}

/** What is said of all of them together. */
function conclusion(states) {
  const amount = (wanted) => states.filter((state) => state === wanted).length;
  const [faults, found, count] = [amount("failed"), amount("verified"), states.length].map((one) => number(one));
  if (states.includes("failed")) return t("receipt.mine.fault", { faults, count });
  return t("receipt.mine.found", { found, count }) + (found === count ? "" : t("receipt.mine.others"));
}

async function checkAll() {
  const { checkVote } = await import("./verdict.js");
  const states = [];
  for (const place of places) {
    summary.textContent = t("receipt.mine.checking", { done: number(states.length), count: number(places.length) });
    states.push(await look(place, checkVote));
  }
  return states;
}

button.hidden = false;
button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    const states = await checkAll();
    summary.textContent = document.getElementById("status").textContent = conclusion(states);
    summary.classList.toggle("bad", states.includes("failed"));
  } catch {
    summary.textContent = document.getElementById("status").textContent = t("error.offline");
  }
  button.disabled = false;
});
