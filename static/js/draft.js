/** A vote that was not sent yet: kept in its tab, so that a reload does not lose it. */

const PREFIX = "vote:";
const key = (battle) => PREFIX + battle;

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

/** Drop what this tab keeps of all battles. */
export function dropVotes() {
  try {
    const kept = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
    for (const name of kept) sessionStorage.removeItem(name);
  } catch {
    // then nothing was kept either
  }
}
