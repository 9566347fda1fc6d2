/**
 * Brings the board to life. Whatever is asked for stands in the URL and is rendered by the server:
 * here its page is fetched, and the parts of it that differ take the place of the old ones.
 */

import { fetchPage } from "./page.js";

const REFRESH_EVERY_MS = 2000;
const STALE_MS = 300; // how long the server may go on with the board before
const ANNOUNCE_EVERY_MS = 20_000;
const TYPING_MS = 150;
const MOVE_MS = 600;
const TINT_MS = 900;

const announcement = document.getElementById("announcement");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const board = () => document.getElementById("board");
const filter = () => document.getElementById("filter");
let live = "";
let pending = null; // aborts the page that is being fetched
let refreshTimer = null;
let lastRefreshed = -Infinity;
let lastAnnounced = -Infinity;
let published = 0; // the log position of the newest board that we were told of

/** The page of an address; what was asked for last is what counts. */
function fetchLatest(url) {
  pending?.abort();
  const own = (pending = new AbortController());
  return fetchPage(url, own.signal).finally(() => {
    if (pending === own) pending = null;
  });
}

function rows() {
  return new Map([...document.querySelectorAll("[data-model]")].map((row) => [row.dataset.model, row]));
}

function places() {
  const place = (row) => ({ version: row.dataset.version, top: row.getBoundingClientRect().top });
  return new Map([...rows()].map(([model, row]) => [model, place(row)]));
}

const isInView = (top) => top > -100 && top < innerHeight + 100;

/** Rows slide from where they were; with `tint`, those that changed are tinted for a moment. */
function showMoves(before, tint) {
  for (const [model, row] of rows()) {
    const old = before.get(model);
    if (tint && old?.version !== row.dataset.version) {
      row.classList.add("changed");
      setTimeout(() => row.classList.remove("changed"), TINT_MS);
    }
    const top = row.getBoundingClientRect().top;
    if (old && old.top !== top && !calm.matches && (isInView(top) || isInView(old.top))) {
      row.animate([{ transform: `translateY(${old.top - top}px)` }, { transform: "none" }], {
        duration: MOVE_MS,
        easing: "ease-in-out",
      });
    }
  }
}

/** Take over the parts of a fetched page; what is focused or open stays so. */
function adopt(page) {
  const focused = document.activeElement;
  const { id, dataset } = focused;
  const open = [...document.querySelectorAll("details[open]")].map((one) => one.dataset.key);
  for (const fresh of page.querySelectorAll("[data-part]")) {
    const old = document.getElementById(fresh.id);
    if (old && !old.isEqualNode(fresh)) old.replaceWith(fresh);
  }
  board().dataset.live = live;
  for (const key of open) find(key)?.setAttribute("open", "");
  const again = id ? document.getElementById(id) : find(dataset.key);
  if (again !== focused) again?.focus({ preventScroll: true });
  document.title = page.title;
  showChosen();
}

/** On a phone the campaigns and the categories are strips that scroll sideways. */
function showChosen() {
  for (const chosen of document.querySelectorAll("#head nav [aria-current]")) {
    const strip = chosen.parentElement;
    strip.scrollLeft = chosen.offsetLeft - (strip.clientWidth - chosen.offsetWidth) / 2;
  }
}

const find = (key) => (key ? document.querySelector(`[data-key="${CSS.escape(key)}"]`) : null);

/** Show the board of a URL without leaving the page; where that fails, the browser goes there. */
async function visit(url) {
  let page;
  try {
    page = await fetchLatest(url);
  } catch (refused) {
    if (refused.status) location.assign(url); // a page that tells why
    else board().dataset.live = "off";
    return;
  }
  const leavesPast = "past" in page.getElementById("board").dataset !== isPast();
  if (leavesPast || !page.getElementById("filter") !== !filter()) return location.assign(url);
  const before = places();
  adopt(page);
  published = 0;
  showMoves(before, false);
  announcement.textContent = board().dataset.shown ?? "";
}

async function refresh() {
  refreshTimer = null;
  if (document.hidden || pending) return refreshSoon();
  lastRefreshed = performance.now();
  // where it fails, the next snapshot brings another try
  const page = await fetchLatest(location.href).catch(() => null);
  if (!page) return;
  const before = places();
  adopt(page);
  if (board().dataset.position < published) refreshTimer ??= setTimeout(refresh, STALE_MS);
  showMoves(before, true);
  if (performance.now() - lastAnnounced > ANNOUNCE_EVERY_MS) {
    lastAnnounced = performance.now();
    announcement.textContent = board().dataset.updated ?? "";
  }
}

/** At once after a quiet time, else at most every two seconds. */
function refreshSoon() {
  const wait = Math.max(lastRefreshed + REFRESH_EVERY_MS - performance.now(), 0);
  refreshTimer ??= setTimeout(refresh, pending || document.hidden ? REFRESH_EVERY_MS : wait);
}

// --- what the reader asks for ----------------------------------------------------------------

/** The page's URL with the form's fields in it; empty ones are left out. */
function filtered() {
  const url = new URL(location.href);
  for (const [name, value] of new FormData(filter())) {
    if (["campaign", "category", "method"].includes(name)) continue; // the URL knows better
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  return url;
}

function go(url) {
  history.pushState(null, "", url);
  return visit(url);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-key]");
  const elsewhere = event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
  if (!link || elsewhere || link.pathname !== location.pathname) return;
  event.preventDefault();
  go(link.href).then(syncForm);
});

let typing = null;
filter()?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    history.replaceState(null, "", filtered());
    visit(location.href);
  }, TYPING_MS);
});
filter()?.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  go(filtered().href);
});

/** The search field is never exchanged, for somebody may be typing in it. */
function syncForm() {
  const field = filter()?.elements.q;
  if (field) field.value = new URL(location.href).searchParams.get("q") ?? "";
}

addEventListener("popstate", () => visit(location.href).then(syncForm));

// --- what others do --------------------------------------------------------------------------

function connected(state) {
  if (live === "on" && state === "off") {
    announcement.textContent = board().querySelector(".paused")?.textContent ?? "";
  }
  live = state;
  board().dataset.live = state;
}

function follow() {
  const events = new EventSource("/api/board/events");
  events.addEventListener("open", () => {
    connected("on");
    refreshSoon(); // what was published before the connection stood was announced to nobody here
  });
  events.addEventListener("error", () => connected("off"));
  events.addEventListener("snapshot", adoptNews);
}

function adoptNews(event) {
  const news = JSON.parse(event.data);
  const { campaign, category, method } = board().dataset;
  const ours = method === "auto" ? news.official : news.method === method;
  if (!ours || news.campaign !== campaign || news.category !== category) return;
  published = news.log_position;
  refreshSoon();
}

const isPast = () => "past" in board().dataset;

showChosen();
if (!isPast()) follow();
