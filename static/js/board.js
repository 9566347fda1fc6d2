/** Keeps the board live: on a new snapshot the server's own table is fetched and swapped in. */

import { t } from "./i18n.js";

const REFRESH_EVERY_MS = 2000;
const ANNOUNCE_EVERY_MS = 20_000;
const MOVE_MS = 600;

const board = document.getElementById("board");
const announcement = document.getElementById("announcement");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let lastAnnounced = -Infinity;
let lastRefreshed = -Infinity;
let timer = null;

/** A page as a document. XMLHttpRequest parses it itself, so no string is turned into HTML here. */
function fetchDocument(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(request));
    request.onerror = () => reject(request);
    request.send();
  });
}

function rows() {
  return new Map([...board.querySelectorAll("[data-model]")].map((row) => [row.dataset.model, row]));
}

/** Rows slide from where they were; those with a new vote are tinted for a moment. */
function showChanges(before) {
  for (const [model, row] of rows()) {
    const old = before.get(model);
    if (!old || old.votes !== row.dataset.votes) {
      row.classList.add("changed");
      setTimeout(() => row.classList.remove("changed"), MOVE_MS * 2);
    }
    const shift = old ? old.top - row.getBoundingClientRect().top : 0;
    if (shift && !calm.matches) {
      row.animate([{ transform: `translateY(${shift}px)` }, { transform: "none" }], {
        duration: MOVE_MS,
        easing: "ease-in-out",
      });
    }
  }
}

async function refresh() {
  timer = null;
  lastRefreshed = performance.now();
  const url = new URL(location.href);
  url.searchParams.set("fragment", "1");
  const fresh = await fetchDocument(url).catch(() => null); // the next snapshot brings another try
  if (!fresh) return;
  const before = new Map(
    [...rows()].map(([model, row]) => [
      model,
      { votes: row.dataset.votes, top: row.getBoundingClientRect().top },
    ]),
  );
  board.replaceChildren(...fresh.body.childNodes);
  showChanges(before);
  if (performance.now() - lastAnnounced > ANNOUNCE_EVERY_MS) {
    lastAnnounced = performance.now();
    const time = new Date().toLocaleTimeString(document.documentElement.lang);
    announcement.textContent = t("board.updated", { time });
  }
}

/** At once after a quiet time, else at most every two seconds. */
function refreshSoon() {
  timer ??= setTimeout(refresh, lastRefreshed + REFRESH_EVERY_MS - performance.now());
}

const events = new EventSource("/api/board/events");
events.addEventListener("open", () => {
  board.dataset.live = "on";
  refreshSoon(); // what was published before the connection stood was announced to nobody here
});
events.addEventListener("error", () => (board.dataset.live = "off"));
events.addEventListener("snapshot", (event) => {
  if (JSON.parse(event.data).campaign === board.dataset.campaign) refreshSoon();
});
