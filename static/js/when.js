/** Times as the reader's own clock shows them. Without this they are in UTC, and say so. */

const { lang } = document.documentElement;
const wished = navigator.languages.find((one) => one.startsWith(lang.slice(0, 2)));
const format = new Intl.DateTimeFormat(wished ?? lang, {
  dateStyle: "medium",
  timeStyle: "short",
});

for (const time of document.querySelectorAll("main time")) {
  time.textContent = format.format(new Date(time.dateTime));
}
