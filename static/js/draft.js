/** A vote that was not sent yet: kept in its tab, so that a reload does not lose it. */

const key = (battle) => `vote:${battle}`;

/** The kept vote of a battle, or null. */
export function keptVote(battle) {
  try {
    return JSON.parse(sessionStorage.getItem(key(battle)));
  } catch {
    return null; // storage may be forbidden
  }
}

/** Keep a vote in place of an earlier one. */
export function keepVote(battle, vote) {
  try {
    sessionStorage.setItem(key(battle), JSON.stringify(vote));
  } catch {
    // the vote then holds for this page only
  }
}

export function dropVote(battle) {
  try {
    sessionStorage.removeItem(key(battle));
  } catch {
    // then nothing was kept either
  }
}
