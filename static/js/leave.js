/** Links in answers ask before they lead away: a model wrote them, and nobody has checked them. */

import { t } from "./i18n.js";

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** What is odd about an address, in words. */
function warnings({ protocol, hostname, username }) {
  return [
    protocol === "http:" && "leave.unencrypted",
    /(^|\.)xn--/.test(hostname) && "leave.script",
    username && protocol !== "mailto:" && "leave.user",
  ].filter(Boolean);
}

/** The dialog for an address as `URL` writes it: in ASCII, so that no letter passes for another. */
function dialogFor(address) {
  const name = address.protocol === "mailto:" ? address.pathname : address.host;
  const open = element(
    "a",
    { className: "button primary", href: address.href, target: "_blank", rel: "noopener noreferrer nofollow" },
    t(address.protocol === "mailto:" ? "leave.write" : "leave.open"),
  );
  const stay = element("button", { type: "button", className: "quiet", autofocus: true }, t("leave.stay"));
  const dialog = element(
    "dialog",
    { className: "leave" },
    element("h2", { id: "leave-title" }, t("leave.title")),
    element("p", { id: "leave-text" }, t("leave.text")),
    element("p", { className: "address" }, element("b", { dir: "ltr" }, name), element("code", { dir: "ltr" }, address.href)),
    ...warnings(address).map((key) => element("p", { className: "notice" }, t(key))),
    element("div", { className: "choices" }, stay, open),
  );
  dialog.setAttribute("aria-labelledby", "leave-title");
  dialog.setAttribute("aria-describedby", "leave-text");
  stay.addEventListener("click", () => dialog.close());
  open.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}

function ask(event) {
  const link = event.target.closest?.(".answer a[href]");
  if (!link || event.button > 1) return;
  event.preventDefault();
  const dialog = dialogFor(new URL(link.href));
  document.body.append(dialog);
  dialog.showModal();
}

addEventListener("click", ask);
addEventListener("auxclick", ask); // the middle button opens tabs
