/** The operator's area: the overview renews itself, a test of all models shows results as they come. */

import { t } from "./i18n.js";
import { fetchPage } from "./page.js";

const RENEW_EVERY_MS = 5000;

// --- overview ---

/** Renew the overview as long as somebody looks at it and the session lasts. */
async function renew(vitals) {
  if (!document.hidden) {
    const fresh = await fetchPage(location.href).catch(() => null);
    const renewed = fresh?.getElementById("vitals");
    if (fresh && !renewed) return location.reload(); // the session is over
    if (renewed) vitals.replaceChildren(...renewed.childNodes);
  }
  setTimeout(renew, RENEW_EVERY_MS, vitals);
}

const vitals = document.getElementById("vitals");
if (vitals) setTimeout(renew, RENEW_EVERY_MS, vitals);

// --- test of all models ---

function element(name, text, ...classes) {
  const made = document.createElement(name);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
}

function show({ model, ttft, error }) {
  const cell = document.querySelector(`[data-health="${CSS.escape(model)}"]`);
  if (!cell) return;
  if (error) {
    cell.replaceChildren(element("span", t("admin.models.failed"), "bad"), element("small", error));
  } else {
    const seconds = t("admin.models.seconds", { seconds: ttft.toFixed(2) });
    cell.replaceChildren(
      element("span", t("admin.models.answered"), "ok"),
      element("small", seconds),
    );
  }
}

/** The lines of a response, as they come. */
async function* linesOf(response) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop();
    yield* lines;
  }
}

async function test(form) {
  const state = document.getElementById("test-state");
  const button = form.querySelector("button");
  button.disabled = true;
  state.textContent = t("admin.models.testing");
  let answered = 0;
  let failed = 0;
  try {
    const headers = { Accept: "application/x-ndjson" };
    const response = await fetch(form.action, { method: "POST", headers });
    if (!response.ok) throw new Error(response.statusText);
    for await (const line of linesOf(response)) {
      const result = JSON.parse(line);
      show(result);
      if (result.error) failed += 1;
      else answered += 1;
    }
    state.textContent = t("admin.models.tested", { answered, failed });
  } catch {
    state.textContent = t("admin.models.test_broken");
  }
  button.disabled = false;
}

document.getElementById("test-all")?.addEventListener("submit", (event) => {
  event.preventDefault();
  test(event.currentTarget);
});
