/** Example prompts: one of each task at a time; choosing one fills the prompt box. */

export function offerExamples(list, onChoose) {
  const chips = [...list.querySelectorAll("[data-set]")];
  const sets = new Set(chips.map((chip) => chip.dataset.set)).size;
  let shown = 1;

  for (const chip of chips) {
    const button = chip.querySelector("button");
    button.addEventListener("click", () => onChoose(button.dataset.example));
  }
  list.querySelector("[data-more]").addEventListener("click", () => {
    shown = (shown % sets) + 1;
    for (const chip of chips) chip.hidden = Number(chip.dataset.set) !== shown;
  });
}
