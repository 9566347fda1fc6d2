/** Copying text, also where the page is not served over HTTPS. */

import { t } from "./i18n.js";

const CONFIRMED_MS = 2000;

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = document.createElement("textarea"); // an insecure context has no clipboard
  box.value = text;
  box.className = "visually-hidden";
  const focused = document.activeElement;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  focused?.focus({ preventScroll: true });
  if (!done) throw new Error("the browser copies nothing here");
}

/** Copy, and let the button say so for a moment: in its words, or by its mark and its name. */
export async function copyBy(button, text) {
  const outcome = await copy(text).then(
    () => t("battle.copied"),
    () => t("battle.not_copied"),
  );
  if (button.classList.contains("copied")) return;
  const hasWords = !button.hasAttribute("aria-label");
  const before = hasWords ? button.textContent : button.getAttribute("aria-label");
  const say = (words) => {
    if (hasWords) button.textContent = words;
    else button.setAttribute("aria-label", words);
  };
  button.classList.add("copied");
  say(outcome);
  document.getElementById("status").textContent = outcome;
  setTimeout(() => {
    button.classList.remove("copied");
    say(before);
  }, CONFIRMED_MS);
}
