/** The battle page: one controller that moves the page from state to state. */

import { loadRenderer } from "./answer.js";
import { get, newKey, post, postOnce } from "./api.js";
import { Ballot } from "./ballot.js";
import { Composer } from "./composer.js";
import { Continuing } from "./continuing.js";
import { Earlier } from "./earlier.js";
import { offerExamples } from "./examples.js";
import { t } from "./i18n.js";
import { notify, notifyUntil } from "./notice.js";
import { prefer, preferred } from "./preferences.js";
import { Queue } from "./queue.js";
import { Report } from "./report.js";
import { Reveal } from "./reveal.js";
import { Share } from "./share.js";
import { readBoard } from "./standing.js";
import { follow } from "./stream.js";
import { Turn } from "./turn.js";

const RESYNC_MS = 3000;
const LONG_SILENCE_MS = 8000;
const RUNNING = ["loading", "waiting", "streaming"];
const ENDS = ["voted", "void", "skipped", "lost"];

const $ = (id) => document.getElementById(id);
const root = $("battle");
const rated = root.dataset.rated.split(" "); // campaigns that have a board
const openCampaigns = root.dataset.open.split(" "); // those that take new battles

let battle = null; // the last projection the server sent
let turns = []; // its turns on the page
let stopFollowing = () => {};
let resync = null;
let receiptPanel = null;

// --- what is shown ---------------------------------------------------------------------------

/** Show the panel of a state. `announce` is read out, once. */
function enter(state, { hint = "", announce = hint } = {}) {
  root.dataset.state = state;
  const isAsking = state === "ask";
  for (const panel of root.querySelectorAll("[data-panel]")) {
    panel.hidden = (panel.dataset.panel === "ask") !== isAsking;
  }
  showDock(ENDS.includes(state) ? state : "vote");
  const isRunning = RUNNING.includes(state);
  $("stop").hidden = !isRunning;
  $("open-followup").hidden = isRunning;
  for (const button of [$("skip"), $("open-followup")]) button.disabled = state === "sending";
  if (hint) $("vote-hint").textContent = hint;
  announceOnce(announce);
  if (state === "ready") ballot.open();
  else if (["voted", "void", "skipped"].includes(state)) ballot.clear();
  else ballot.close();
  root.classList.remove("offline");
}

function announceOnce(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function showDock(name) {
  for (const panel of root.querySelectorAll("[data-dock]")) panel.hidden = panel.dataset.dock !== name;
}

function focusTitle(name) {
  root.querySelector(`[data-dock=${name}] h2`).focus({ preventScroll: true });
}

/** Runs a button's action once at a time; a refusal is shown beside it, with the time to wait. */
async function attempt(action, { button = null, notice = $("notice"), wait = () => {} } = {}) {
  notify(notice);
  if (button) button.disabled = true;
  const problem = await action().then(
    () => null,
    (reason) => reason,
  );
  if (button) button.disabled = false;
  if (!problem) return;
  if (problem.status === undefined) throw problem; // a mistake of ours, not a refusal
  if (problem.retryAfter) {
    wait(true);
    notifyUntil(notice, problem.message, problem.retryAfter, () => wait(false));
  } else {
    notify(notice, problem.message);
  }
}

// --- battles ---------------------------------------------------------------------------------

/** Ask for a battle. The prompt box keeps its text until the server has taken it. */
async function start(prompt, { campaign, redrawOf, continueFrom } = {}) {
  const wish = {
    prompt,
    ...(campaign && { campaign }),
    ...(redrawOf && { redraw_of: redrawOf }),
    ...(continueFrom && { continue_from: continueFrom }),
  };
  const projection = await queue.through(() => post("/api/battles", wish));
  if (!projection) return;
  history.replaceState(null, "", `/battles/${projection.id}`);
  followupBox.text = "";
  continuing.text = "";
  scrollTo(0, 0);
  show(projection);
  $("main").focus({ preventScroll: true }); // so that the keys 1 to 5 act
}

/** Bring the page to a projection, whatever its state. Turns that are shown already stay. */
function show(projection) {
  stopFollowing();
  clearTimeout(resync);
  if (battle?.id !== projection.id || turns.length === 0) {
    $("turns").replaceChildren();
    turns = [];
    earlier.show(projection.opening);
    ballot.of(projection.id);
  }
  battle = projection;
  for (const button of root.querySelectorAll("[data-again=same]")) {
    button.hidden = battle.opening.length > 0; // without what it goes on with, it is another prompt
  }
  notify($("notice"));
  loadRenderer();
  for (const { prompt } of battle.turns.slice(turns.length)) {
    turns.push(new Turn($("turn-template"), $("turns"), prompt, (side) => report.open(battle.id, side)));
  }
  box($("boxed").checked);
  for (const [index, data] of battle.turns.entries()) {
    if (data.state === "ready") turns[index].complete(data);
    if (data.state === "void") turns[index].fail();
  }
  for (const link of root.querySelectorAll("[data-new-battle]")) {
    link.href = `/?campaign=${encodeURIComponent(battle.campaign)}`;
  }
  const shows = {
    created: listen,
    running: listen,
    ready: showReady,
    voted: showOldVote,
    void: showVoid,
    skipped: showSkipped,
  };
  (shows[battle.state] ?? showLost)();
}

function listen() {
  const turn = turns.at(-1);
  const number = battle.turns.at(-1).turn;
  let silence = null;
  let isUp = true;

  const hint = () => {
    const [now, later] = turn.hasBegun
      ? ["vote.streaming", "vote.streaming_long"]
      : ["vote.waiting", "vote.waiting_long"];
    const say = (key) => ($("vote-hint").textContent = t(isUp ? key : "vote.reconnecting"));
    say(now);
    clearTimeout(silence);
    silence = setTimeout(() => say(later), LONG_SILENCE_MS);
  };
  const setConnection = (value) => {
    isUp = value;
    root.classList.toggle("offline", !isUp);
    hint();
    if (!isUp) announceOnce(t("vote.reconnecting"));
  };

  enter("waiting", { announce: t("vote.waiting") });
  hint();
  turn.restart(); // the stream brings all of it
  const close = follow(battle.events, number, {
    delta(side, text) {
      turn.append(side, text);
      if (!text) return;
      if (root.dataset.state === "waiting" && turn.hasBegun) enter("streaming", { announce: "" });
      hint();
    },
    restart: () => turn.restart(),
    connection: setConnection,
    ready(data) {
      stopFollowing();
      battle.state = battle.turns.at(-1).state = "ready";
      turn.complete(data);
      showReady();
    },
    void({ reason }) {
      stopFollowing();
      if (reason === "skipped") return reload(); // left in another tab
      // A failed follow-up leaves the turns before it to vote on.
      turn.fail();
      battle.turns.at(-1).state = "void";
      battle.state = number > 1 ? "ready" : "void";
      (number > 1 ? showReady : showVoid)();
    },
    lost() {
      setConnection(false);
      resync = setTimeout(reload, RESYNC_MS);
    },
  });
  stopFollowing = () => {
    clearTimeout(silence);
    close();
  };
  if (number > 1 || battle.opening.length > 0) turn.scrollIntoView();
}

/** Ask the server where the battle stands, for as long as it cannot be reached. */
async function reload() {
  try {
    show(await get(`/api/battles/${battle.id}`));
  } catch (problem) {
    if (problem.retryable) resync = setTimeout(reload, Math.max(RESYNC_MS, problem.retryAfter * 1000));
    else showLost(problem.status === 404 ? t("lost.not_yours") : problem.message);
  }
}

function showReady() {
  const last = battle.turns.at(-1);
  const hasFailed = last.state === "void";
  if (hasFailed) followupBox.text ||= last.prompt; // to be sent again with one click
  enter("ready", {
    hint: t(hasFailed ? "vote.question_last" : "vote.question"),
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

function showLost(detail = "") {
  enter("lost", { announce: t("lost.title") });
  $("lost-detail").textContent = detail;
}

function showReveal() {
  const abouts = { a: battle.about_a, b: battle.about_b };
  for (const turn of turns) turn.reveal(abouts);
  reveal.show(battle);
  share.of(battle);
  continuing.offer(battle, mayContinue());
  checkReceipt(battle);
  root.querySelector("[data-board]").href = `/board?campaign=${encodeURIComponent(battle.campaign)}`;
  enter("voted", { announce: t("reveal.announce", { a: abouts.a.name, b: abouts.b.name }) });
}

/** Is the vote in the log? What it takes to tell is loaded when there is a vote. */
async function checkReceipt(voted) {
  try {
    const { ReceiptPanel } = await import("./receipt.js");
    receiptPanel ??= new ReceiptPanel($("proof"));
  } catch {
    $("proof").querySelector("[data-part=line]").textContent = t("error.offline");
    return;
  }
  if (battle === voted) receiptPanel.ofVote(voted);
}

/** Whether the conversation may have another prompt. */
function mayContinue() {
  const earlierPrompts = battle.opening.filter(({ role }) => role === "user").length;
  const prompts = battle.turns.filter(({ state }) => state === "ready").length + earlierPrompts;
  return openCampaigns.includes(battle.campaign) && prompts < Number(root.dataset.maxTurns);
}

function showOldVote() {
  showReveal();
  if (rated.includes(battle.campaign)) reveal.showStanding(battle);
}

// --- what the voter does -----------------------------------------------------------------------

const reveal = new Reveal(root.querySelector("[data-dock=voted]"), $("face-template"));
const share = new Share($("share"), attempt);
const report = new Report($("report"));
const queue = new Queue($("queue"));
const earlier = new Earlier($("earlier"), { user: $("earlier-prompt"), assistant: $("earlier-answer") });
const continuing = new Continuing($("go-on"), root.querySelector("[data-dock=continue]"), {
  onOpen(lead) {
    showDock("continue");
    announceOnce(lead);
  },
  onClose() {
    notify($("notice"));
    showDock("voted");
  },
  onSend: (prompt, continueFrom) =>
    attempt(() => goOn(prompt, continueFrom), { wait: (isWaiting) => (continuing.busy = isWaiting) }),
  onRefuse: (message) => notify($("notice"), message),
});

async function goOn(prompt, continueFrom) {
  continuing.busy = true;
  try {
    await start(prompt, { continueFrom });
  } finally {
    continuing.busy = false;
  }
}

const ballot = new Ballot($("vote"), (vote) => attempt(() => send(vote)));

/** Send a vote until it is answered, then show what it reveals. */
async function send(vote) {
  enter("sending", { hint: t("vote.sending") });
  const before = rated.includes(battle.campaign) ? readBoard(battle.campaign) : null;
  const onWait = (problem) => {
    root.classList.add("offline");
    $("vote-hint").textContent = t(problem.status === 0 ? "vote.kept_offline" : "vote.kept_busy");
    announceOnce($("vote-hint").textContent);
  };
  try {
    const names = await postOnce(`/api/battles/${battle.id}/vote`, vote, newKey(), onWait);
    battle = { ...battle, ...names, state: "voted" };
    showReveal();
    focusTitle("voted");
  } catch (problem) {
    if (problem.status === 404) return showLost(t("lost.not_stored"));
    if (problem.status === 409) await reload(); // voted elsewhere, or not ready: show what is true now
    else showReady();
    throw problem;
  }
  reveal.showChange(battle, await before);
}

const followupBox = new Composer($("followup"), {
  onSend: (prompt) => attempt(() => askAgain(prompt), { wait: (isWaiting) => (followupBox.busy = isWaiting) }),
  onRefuse: (message) => notify($("notice"), message),
});

async function askAgain(prompt) {
  followupBox.busy = true;
  try {
    const projection = await queue.through(() => post(`/api/battles/${battle.id}/turns`, { prompt }));
    if (!projection) return;
    followupBox.text = "";
    ballot.clear();
    show(projection);
    $("main").focus({ preventScroll: true });
  } finally {
    followupBox.busy = false;
  }
}

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
  attempt(
    async () => {
      await post(`/api/battles/${battle.id}/stop`);
      if (root.dataset.state === "waiting") announceOnce(t("vote.stopping"));
    },
    { button: currentTarget },
  ),
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
    const wait = (isWaiting) => (button.disabled = isWaiting);
    attempt(() => start(prompt, { campaign: battle.campaign, redrawOf }), { button, wait });
  });
}
$("reload").addEventListener("click", () => location.reload());

/** Answers in boxes that scroll in step, or over the page's length. */
function box(isBoxed) {
  $("turns").classList.toggle("boxed", isBoxed);
  for (const turn of turns) turn.boxed = isBoxed;
}

$("boxed").checked = preferred("boxed", false);
$("boxed").addEventListener("change", ({ currentTarget }) => {
  prefer("boxed", currentTarget.checked);
  box(currentTarget.checked);
});

// What has the focus is never under the dock, and boxes end above it.
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--dock", `${target.offsetHeight}px`);
}).observe($("dock"));

// Back from another tab, where the vote may have been cast: look again.
document.addEventListener("visibilitychange", async () => {
  if (document.hidden || root.dataset.state !== "ready") return;
  const fresh = await get(`/api/battles/${battle.id}`).catch(() => null);
  if (fresh && root.dataset.state === "ready" && fresh.state !== battle.state) show(fresh);
});

// --- the first prompt --------------------------------------------------------------------------

function prepareAsking() {
  const notice = $("ask-notice");
  const form = $("ask");
  const ask = async (prompt) => {
    composer.busy = true;
    try {
      await start(prompt, { campaign: composer.campaign });
    } finally {
      composer.busy = false;
    }
  };
  const composer = new Composer(form, {
    onSend: (prompt) =>
      attempt(() => ask(prompt), { notice, wait: (isWaiting) => (composer.busy = isWaiting) }),
    onRefuse: (message) => notify(notice, message),
  });
  offerExamples($("examples"), (prompt) => {
    composer.text = prompt;
    composer.focus();
  });
  form.elements.campaign.addEventListener("change", ({ currentTarget }) => {
    $("consent").textContent = currentTarget.selectedOptions[0].dataset.consent;
  });
  form.addEventListener("input", () => loadRenderer(), { once: true });
  return composer;
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
