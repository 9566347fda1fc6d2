/** What went wrong, beside the place where it did; with a count-down where waiting helps. */

import { number, t } from "./i18n.js";

const countdowns = new WeakMap();

/** Show a sentence (read out at once), or hide the notice when there is none. */
export function notify(element, message = "") {
  clearInterval(countdowns.get(element));
  element.textContent = message;
  element.hidden = message === "";
}

/** Show why something was refused, and count the seconds down; then `then` is called. */
export function notifyUntil(element, message, seconds, then) {
  notify(element, message);
  const clock = document.createElement("span");
  clock.setAttribute("aria-hidden", "true"); // a number that changes is not read out each second
  element.append(" ", clock);
  const end = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    if (left > 0) {
      clock.textContent = t("error.retry_in", { seconds: number(left) });
      return;
    }
    notify(element, t("error.retry_now"));
    then();
  };
  tick();
  countdowns.set(element, setInterval(tick, 250));
}
