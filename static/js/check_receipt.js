/** Any receipt, pasted, chosen or dropped, is checked against the log. */

import { t } from "./i18n.js";
import { notify } from "./notice.js";
import { ReceiptPanel } from "./receipt.js";
import { isReceipt } from "./verdict.js";

const MAX_BYTES = 10_000; // a receipt has about 300

const $ = (id) => document.getElementById(id);
const panel = new ReceiptPanel($("proof"));
const form = $("check");

function check() {
  // what a mail or an editor did to the line ends does not matter
  const note = `${$("text").value.replace(/\r\n?/g, "\n").trim()}\n`;
  const fault = note === "\n" ? "receipt.page.empty" : isReceipt(note) ? "" : "receipt.page.unreadable";
  notify($("notice"), fault && t(fault));
  $("text").setAttribute("aria-invalid", String(fault !== ""));
  $("proof").hidden = fault !== "";
  if (fault) $("text").focus();
  else panel.ofReceipt(note);
}

async function take([file]) {
  if (!file) return;
  $("text").value = await file.slice(0, MAX_BYTES).text();
  check();
}

function takeChosen() {
  const chosen = [...$("file").files];
  $("file").value = ""; // the same file may be chosen again
  take(chosen);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  check();
});
$("file").addEventListener("change", takeChosen);
form.addEventListener("dragover", (event) => {
  event.preventDefault();
  form.classList.add("over");
});
form.addEventListener("dragleave", () => form.classList.remove("over"));
form.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  take(event.dataTransfer.files);
});
form.querySelector("button").disabled = false;
takeChosen(); // before this script was there
