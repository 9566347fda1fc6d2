/** Where the board puts a battle's two models, before its vote and with it. */

import { get } from "./api.js";

const GIVE_UP_MS = 30_000;

/** The campaign's board, its rows by model; null when it cannot be had. */
export async function readBoard(campaign) {
  try {
    const board = await get(`/api/board?campaign=${encodeURIComponent(campaign)}`);
    return { method: board.method, rows: new Map(board.rows.map((row) => [row.model, row])) };
  } catch {
    return null;
  }
}

/** Whether `after` holds a vote on each of `models` that `before` did not. */
function holdsMore(models, before, after) {
  const votes = (board, model) => board?.rows.get(model)?.votes ?? 0;
  return models.every((model) => votes(after, model) > votes(before, model));
}

/** The first board with a new vote on both models; null when none is published for a while. */
export function awaitBoard(campaign, models, before) {
  return new Promise((resolve) => {
    const source = new EventSource("/api/board/events");
    const finish = (board) => {
      clearTimeout(timer);
      source.close();
      resolve(board);
    };
    const timer = setTimeout(() => finish(null), GIVE_UP_MS);
    const look = async () => {
      const board = await readBoard(campaign);
      if (board && holdsMore(models, before, board)) finish(board);
    };
    source.addEventListener("open", () => before && look()); // it may have been published already
    source.addEventListener("snapshot", ({ data }) => {
      if (JSON.parse(data).campaign === campaign) look();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) finish(null);
    });
  });
}
