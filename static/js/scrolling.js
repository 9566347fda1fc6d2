/** Where the reader is: the page follows its growing end only for one who went there. */

const NEAR = 32; // pixels
const page = document.scrollingElement;

let isFollowing = false;
let isOurs = false; // the next scroll event is caused by this page, not by its reader

function isAtEnd({ scrollHeight, scrollTop, clientHeight }) {
  return scrollTop > 0 && scrollHeight - scrollTop - clientHeight < NEAR;
}

addEventListener(
  "scroll",
  () => {
    if (isOurs) isOurs = false;
    else isFollowing = isAtEnd(page);
  },
  { passive: true },
);

/** Make a change that lets page and `boxes` grow; an end that is being followed stays in view. */
export function keepingPlace(change, boxes) {
  const followed = boxes.filter(isAtEnd);
  change();
  for (const box of followed) box.scrollTop = box.scrollHeight;
  if (isFollowing) page.scrollTop = page.scrollHeight;
}

/** Bring something to the top of the view; the page's end is not followed from there. */
export function goTo(element, offset = 0) {
  const before = page.scrollTop;
  page.scrollTop = before + element.getBoundingClientRect().top + offset;
  isFollowing = false;
  isOurs = page.scrollTop !== before;
}

/** Two boxes scroll by the same share of their length, so that both ends come together. */
export function scrollInStep(first, second) {
  const placed = new Map(); // where a box was put by the other, until it says that it is there
  const follow = (leader, other) => {
    const place = placed.get(leader);
    placed.delete(leader);
    if (place === leader.scrollTop) return; // else its reader moved it before it could say so
    const share = leader.scrollTop / Math.max(1, leader.scrollHeight - leader.clientHeight);
    const before = other.scrollTop;
    other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    if (other.scrollTop !== before) placed.set(other, other.scrollTop);
  };
  first.addEventListener("scroll", () => follow(first, second), { passive: true });
  second.addEventListener("scroll", () => follow(second, first), { passive: true });
}
