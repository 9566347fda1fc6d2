/** Where the board puts a battle's two models, before its vote and with it. */

import { get } from "./api.js";

const GIVE_UP_MS = 30_000;
const STALE_MS = 300; // how long the server may go on with the board before

/** The campaign's board, its rows by model; null when it cannot be had. */
export async function readBoard(campaign) {
  try {
    const board = await get(`/api/board?campaign=${encodeURIComponent(campaign)}`);
    return { method: board.method, position: board.log_position, rows: new Map(board.rows.map((row) => [row.model, row])) };
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
    const look = async (published = 0) => {
      const board = await readBoard(campaign);
      if (source.readyState === EventSource.CLOSED) return;
      if (board && holdsMore(models, before, board)) finish(board);
      else if (published && !(board?.position >= published)) setTimeout(look, STALE_MS, published);
    };
    source.addEventListener("open", () => before && look()); // it may have been published already
    source.addEventListener("snapshot", ({ data }) => {
      const news = JSON.parse(data);
      if (news.campaign === campaign) look(news.log_position);
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) finish(null);
    });
  });
}
