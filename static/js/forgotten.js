/** The voter has erased everything: what this tab still keeps of it goes too. */

import { dropVotes } from "./draft.js";

dropVotes();
