/** Pictures: saved as PNG, and ratings over time that can be read point by point. */

import { t } from "./i18n.js";

const PNG_SCALE = 2; // pixels of the file for each of the picture
const WIDEST = 900;
const COLOURS = 6;
const [MINUTE, DAY, MONTH] = [60, 86_400, 28 * 86_400]; // seconds

// --- saving ------------------------------------------------------------------------------------

for (const button of document.querySelectorAll("[data-png]")) {
  button.hidden = false;
  button.addEventListener("click", () => save(button));
}

async function save(button) {
  button.disabled = true;
  try {
    const { blob, name } = await drawn(button.dataset.png);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch {
    button.replaceWith(t("figures.png_failed"));
  }
  button.disabled = false;
}

/** The picture as a PNG. In light colours, because it goes onto somebody else's page. */
async function drawn(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(response.statusText);
  const svg = (await response.text()).replace("(prefers-color-scheme: dark)", "not all");
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * PNG_SCALE;
  canvas.height = image.height * PNG_SCALE;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  const name = /filename="(.*)\.svg"/.exec(response.headers.get("Content-Disposition"))[1];
  return { blob, name: `${name}.png` };
}

// --- ratings over time ---------------------------------------------------------------------------

const seen = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    seen.unobserve(target);
    chart(target).catch(() => {}); // the server's own picture stays
  }
});
for (const box of document.querySelectorAll("[data-history]")) seen.observe(box);

/** Put a chart in the place of the picture; it needs exactly the picture's room. */
async function chart(box) {
  const [{ default: UPlot }, { series }] = await Promise.all([
    import("/static/vendor/uplot.js"),
    fetch(box.dataset.history).then((response) => response.json()),
  ]);
  const picture = box.querySelector("svg");
  const names = [...picture.querySelectorAll(".label > title")].map((title) => title.textContent);
  const shown = series.filter(({ points }) => points.length > 0);
  if (names.length !== shown.length) return; // a board was published meanwhile
  const { height } = picture.getBoundingClientRect();
  const room = () => Math.min(box.clientWidth - 2 * parseFloat(getComputedStyle(box).padding), WIDEST);
  const colour = (style) => () => getComputedStyle(picture.querySelector(`.${style}`)).color;
  const ink = () => getComputedStyle(picture.querySelector(".faint")).fill;
  const line = () => getComputedStyle(picture.querySelector(".grid")).stroke;

  const font = `12px ${getComputedStyle(box).fontFamily}`;
  const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };

  const holder = document.createElement("div");
  picture.before(holder);
  const plot = new UPlot(
    {
      width: room(),
      height,
      tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { y: { range: () => span(shown) } },
      axes: [
        { ...axis, values: times },
        { ...axis, size: 52 },
      ],
      series: [
        { label: t("figures.time"), value: (_, at) => (at === null ? "–" : moment(at)) },
        ...shown.flatMap(({ points }, place) => {
          const stroke = colour(`c${place % COLOURS}`);
          const told = new Map(points.map((point) => [seconds(point), point]));
          const value = (plot, _value, _series, index) => reading(told.get(plot.data[0][index]));
          const hidden = { class: "bound", width: 0, points: { show: false } };
          return [{ label: names[place], stroke, width: 2, value }, hidden, hidden];
        }),
      ],
      bands: shown.map((_, place) => ({
        series: [3 * place + 2, 3 * place + 3],
        fill: () => colour(`c${place % COLOURS}`)().replace(/^rgb\((.*)\)$/, "rgba($1, 0.13)"),
      })),
    },
    columns(shown),
    holder,
  );
  picture.setAttribute("hidden", ""); // it still tells the colours
  plot.root.setAttribute("role", "img");
  plot.root.setAttribute("aria-label", picture.getAttribute("aria-label"));
  const fit = () => {
    const legend = plot.root.offsetHeight - plot.height;
    plot.setSize({ width: room(), height: height - legend });
  };
  queueMicrotask(fit); // once the legend has its height
  new ResizeObserver(fit).observe(document.body);
  const redraw = () => plot.redraw(false);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  box.parentElement.querySelector(".hint").hidden = false;
}

const seconds = ({ published_at }) => Date.parse(published_at) / 1000;

/** Times, then for each model its ratings and bounds; null where a board had no such model. */
function columns(shown) {
  const times = [...new Set(shown.flatMap(({ points }) => points.map(seconds)))].sort((a, b) => a - b);
  const [low, high] = span(shown);
  return [
    times,
    ...shown.flatMap(({ points }) => {
      const at = new Map(points.map((point) => [seconds(point), point]));
      const column = (name, missing) => times.map((time) => at.has(time) ? (at.get(time)[name] ?? missing) : null);
      return [column("rating"), column("rating_upper", high), column("rating_lower", low)];
    }),
  ];
}

/** All ratings, and the newest bounds: the first ones would make everything else flat. */
function span(shown) {
  const values = shown.flatMap(({ points }) => {
    const { rating_lower, rating_upper } = points.at(-1);
    return [...points.map(({ rating }) => rating), rating_lower, rating_upper];
  });
  const known = values.filter((value) => value !== null);
  const air = Math.max((Math.max(...known) - Math.min(...known)) * 0.25, 2);
  return [Math.min(...known) - air, Math.max(...known) + air];
}

/** A point in words; what the picture cuts off at its edge may have no bound at all. */
function reading(point) {
  if (!point) return "–";
  const lower = point.rating_lower?.toFixed(0) ?? "−∞";
  const upper = point.rating_upper?.toFixed(0) ?? "∞";
  return `${point.rating.toFixed(0)} (${lower} – ${upper})`;
}

function formatted(seconds, options) {
  const language = document.documentElement.lang;
  return new Intl.DateTimeFormat(language, { timeZone: "UTC", hourCycle: "h23", ...options }).format(seconds * 1000);
}

const moment = (seconds) => formatted(seconds, { dateStyle: "medium", timeStyle: "short" });

/** The words of the time axis: as fine as its steps. */
function times(_plot, splits, _axis, _space, step) {
  const clock = { hour: "2-digit", minute: "2-digit", ...(step < MINUTE && { second: "2-digit" }) };
  const date = step < MONTH ? { month: "short", day: "numeric" } : { year: "numeric", month: "short" };
  return splits.map((at) => formatted(at, step < DAY ? clock : date));
}
