/** The battle page: one controller that moves the page from state to state. */

import { loadRenderer } from "./answer.js";
import { get, post, postOnce } from "./api.js";
import { Ballot } from "./ballot.js";
import { Composer } from "./composer.js";
import { t } from "./i18n.js";
import { follow } from "./stream.js";
import { describe, Turn } from "./turn.js";

const RESYNC_MS = 3000;

const $ = (id) => document.getElementById(id);
const root = $("battle");

let battle = null; // the last projection the server sent
let turns = []; // its turns on the page
let stopFollowing = () => {};
let resync = null;

// --- what is shown ---------------------------------------------------------------------------

/** Show the panel of a state. `announce` is read out, once. */
function enter(state, { hint = "", announce = hint } = {}) {
  root.dataset.state = state;
  const isAsking = state === "ask";
  for (const panel of root.querySelectorAll("[data-panel]")) {
    panel.hidden = (panel.dataset.panel === "ask") !== isAsking;
  }
  const ends = ["voted", "void", "skipped", "lost"];
  showDock(ends.includes(state) ? state : "vote");
  const isRunning = ["loading", "waiting", "streaming"].includes(state);
  $("stop").hidden = !isRunning;
  $("open-followup").hidden = isRunning;
  if (hint) $("vote-hint").textContent = hint;
  $("status").textContent = announce;
  if (state === "ready") ballot.open();
  else ballot.close();
  root.classList.remove("offline");
}

function showDock(name) {
  for (const panel of root.querySelectorAll("[data-dock]")) panel.hidden = panel.dataset.dock !== name;
}

function notify(message = "", element = $("notice")) {
  element.textContent = message;
  element.hidden = message === "";
}

function focusTitle(name) {
  root.querySelector(`[data-dock=${name}] h2`).focus({ preventScroll: true });
}

/** Runs a button's action once at a time; a refusal is shown beside it. */
async function attempt(action, { button = null, notice = $("notice") } = {}) {
  notify("", notice);
  if (button) button.disabled = true;
  try {
    await action();
  } catch (problem) {
    if (problem.status === undefined) throw problem; // a mistake of ours, not a refusal
    notify(problem.message, notice);
  } finally {
    if (button) button.disabled = false;
  }
}

// --- battles ---------------------------------------------------------------------------------

/** Ask for a battle. The prompt box keeps its text until the server has taken it. */
async function start(prompt, { campaign, redrawOf } = {}) {
  const projection = await post("/api/battles", {
    prompt,
    ...(campaign && { campaign }),
    ...(redrawOf && { redraw_of: redrawOf }),
  });
  history.replaceState(null, "", `/battles/${projection.id}`);
  ballot.clear();
  followupBox.text = "";
  show(projection);
}

/** Build the page from a projection, whatever its state. */
function show(projection) {
  stopFollowing();
  clearTimeout(resync);
  battle = projection;
  notify();
  loadRenderer();
  $("turns").replaceChildren();
  turns = battle.turns.map(({ prompt }) => new Turn($("turn-template"), $("turns"), prompt));
  for (const [index, data] of battle.turns.entries()) {
    if (data.state === "ready") turns[index].complete(data);
    if (data.state === "void") turns[index].fail();
  }
  for (const link of root.querySelectorAll("[data-new-battle]")) {
    link.href = `/?campaign=${encodeURIComponent(battle.campaign)}`;
  }
  const shows = { voted: showReveal, void: showVoid, skipped: showSkipped, ready: showReady };
  (shows[battle.state] ?? listen)();
}

function listen() {
  const turn = turns.at(-1);
  const number = battle.turns.at(-1).turn;
  enter("waiting", { hint: t("vote.waiting") });
  turn.restart(); // the stream brings all of it
  stopFollowing = follow(battle.events, number, {
    delta(side, text) {
      turn.append(side, text);
      if (root.dataset.state === "waiting" && turn.hasBegun) {
        enter("streaming", { hint: t("vote.streaming"), announce: "" });
      }
    },
    restart: () => turn.restart(),
    connection(isUp) {
      root.classList.toggle("offline", !isUp);
      const key = root.dataset.state === "waiting" ? "vote.waiting" : "vote.streaming";
      $("vote-hint").textContent = isUp ? t(key) : t("vote.reconnecting");
    },
    ready(data) {
      battle.state = battle.turns.at(-1).state = "ready";
      turn.complete(data);
      showReady();
    },
    void({ reason }) {
      if (reason === "skipped") return reload(); // left in another tab
      // A failed follow-up leaves the turns before it to vote on.
      turn.fail();
      battle.turns.at(-1).state = "void";
      battle.state = number > 1 ? "ready" : "void";
      (number > 1 ? showReady : showVoid)();
    },
    lost() {
      root.classList.add("offline");
      $("vote-hint").textContent = t("vote.reconnecting");
      resync = setTimeout(reload, RESYNC_MS);
    },
  });
  if (number > 1) turn.scrollIntoView();
}

/** Ask the server where the battle stands, for as long as it cannot be reached. */
async function reload() {
  try {
    show(await get(`/api/battles/${battle.id}`));
  } catch (problem) {
    if (problem.retryable || problem.status === 429) resync = setTimeout(reload, RESYNC_MS);
    else showLost(problem);
  }
}

function showReady() {
  const last = battle.turns.at(-1);
  enter("ready", {
    hint: t(last.state === "void" ? "vote.question_last" : "vote.question"),
    announce: t("vote.complete"),
  });
}

function showVoid() {
  enter("void", { announce: t("void.title") });
  root.querySelector("[data-again=redraw]").focus({ preventScroll: true });
}

function showSkipped() {
  enter("skipped", { announce: t("skipped.title") });
}

function showLost(problem) {
  enter("lost", { announce: t("lost.title") });
  $("lost-detail").textContent = problem.message;
}

function showReveal() {
  const abouts = { a: battle.about_a, b: battle.about_b };
  const name = gradeName(battle.grade);
  for (const turn of turns) turn.reveal(abouts);
  const verdict = document.createElement("p");
  verdict.className = `verdict verdict-${{ a: "a", b: "b" }[name[0]] ?? "t"}`;
  const word = document.createElement("b");
  word.textContent = t("grade." + name);
  verdict.append(t("reveal.you_voted"), word);
  if (battle.both_bad) verdict.append(t("vote.both_bad"));
  $("faces").replaceChildren(face("a", abouts.a), verdict, face("b", abouts.b));
  $("receipt").textContent = battle.receipt.slice(0, 12) + "…";
  $("receipt").title = battle.receipt;
  root.querySelector("[data-board]").href = `/board?campaign=${encodeURIComponent(battle.campaign)}`;
  enter("voted", { announce: t("reveal.announce", { a: abouts.a.name, b: abouts.b.name }) });
}

function face(side, about) {
  const copy = $("face-template").content.cloneNode(true).firstElementChild;
  copy.classList.add(`face-${side}`);
  copy.querySelector(".badge").textContent = side.toUpperCase();
  copy.querySelector("[data-name]").textContent = about.name;
  copy.querySelector("[data-about]").append(...describe(about));
  return copy;
}

/** The API gives a grade as −2…2 or by name. */
function gradeName(grade) {
  const names = ["b_much_better", "b_better", "tie", "a_better", "a_much_better"];
  return names[grade + 2] ?? grade;
}

// --- what the voter does -----------------------------------------------------------------------

const ballot = new Ballot($("vote"), (vote) => {
  const key = crypto.randomUUID();
  attempt(async () => {
    ballot.close();
    $("vote-hint").textContent = t("vote.sending");
    try {
      const reveal = await postOnce(`/api/battles/${battle.id}/vote`, vote, key);
      battle = { ...battle, ...reveal, state: "voted" };
      showReveal();
      focusTitle("voted");
    } catch (problem) {
      if (problem.status === 409) {
        await reload(); // voted elsewhere, or not ready: show what is true now
      } else {
        showReady();
      }
      throw problem;
    }
  });
});

const followupBox = new Composer($("followup"), (prompt) =>
  attempt(async () => {
    followupBox.busy = true;
    try {
      const projection = await post(`/api/battles/${battle.id}/turns`, { prompt });
      followupBox.text = "";
      ballot.clear();
      show(projection);
    } finally {
      followupBox.busy = false;
    }
  }),
);

$("open-followup").addEventListener("click", () => {
  ballot.close();
  showDock("followup");
  followupBox.focus();
});
$("close-followup").addEventListener("click", () => {
  showReady();
  $("open-followup").focus();
});
$("followup").addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("close-followup").click();
});

$("stop").addEventListener("click", ({ currentTarget }) =>
  attempt(() => post(`/api/battles/${battle.id}/stop`), { button: currentTarget }),
);
$("skip").addEventListener("click", ({ currentTarget }) =>
  attempt(
    async () => {
      await post(`/api/battles/${battle.id}/skip`);
      stopFollowing();
      battle.state = "skipped";
      showSkipped();
      focusTitle("skipped");
    },
    { button: currentTarget },
  ),
);
for (const button of root.querySelectorAll("[data-again]")) {
  button.addEventListener("click", () => {
    const redrawOf = button.dataset.again === "redraw" ? battle.id : undefined;
    const { prompt } = battle.turns[0];
    attempt(() => start(prompt, { campaign: battle.campaign, redrawOf }), { button });
  });
}
$("reload").addEventListener("click", () => location.reload());
$("copy-receipt").addEventListener("click", async ({ currentTarget }) => {
  await navigator.clipboard.writeText(battle.receipt);
  currentTarget.textContent = t("reveal.copied");
});

// --- the first prompt --------------------------------------------------------------------------

function prepareAsking() {
  const notice = $("ask-notice");
  const box = new Composer($("ask"), (prompt) =>
    attempt(
      async () => {
        box.busy = true;
        try {
          await start(prompt, { campaign: box.campaign });
          $("main").focus({ preventScroll: true }); // so that the keys 1 to 5 act
        } finally {
          box.busy = false;
        }
      },
      { notice },
    ),
  );
  for (const chip of root.querySelectorAll("[data-example]")) {
    chip.addEventListener("click", () => {
      box.text = chip.dataset.example;
      box.focus();
    });
  }
  $("ask").elements.campaign.addEventListener("change", ({ currentTarget }) => {
    $("consent").textContent = currentTarget.selectedOptions[0].dataset.consent;
  });
  $("ask").addEventListener("input", () => loadRenderer(), { once: true });
  return box;
}

const askBox = $("ask") && prepareAsking();

if (root.dataset.battle) {
  battle = { id: root.dataset.battle };
  enter("loading", { hint: t("vote.loading") });
  await reload();
} else {
  enter("ask");
  askBox?.focus();
}
