/** The newest head of the log, against the one that this browser saw last. */

import { ReceiptPanel } from "./receipt.js";

new ReceiptPanel(document.getElementById("proof")).ofHead();
