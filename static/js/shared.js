/** A shared battle: its answers as they looked in the battle. Without this they are plain text. */

import { Answer, loadRenderer } from "./answer.js";

for (const element of document.querySelectorAll("[data-answer]")) {
  const text = element.textContent;
  new Answer(element).text = text;
}
await loadRenderer();
