// The keys: one table for what they do and for the dialog that lists them.

import { $, el } from "/assets/app/dom.js";

/**
 * Listen to keys, and list them.
 * @param {{keys: string[], shown: string[], words: string, work: (event) => void}[]} table
 */
export function setUpKeys(table) {
  const byKey = new Map(table.flatMap((one) => one.keys.map((key) => [key, one])));
  $("keys").replaceChildren(...table.flatMap(({ shown, words }) => [
    el("dt", {}, ...shown.map((key) => el("kbd", {}, key))), el("dd", {}, words),
  ]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    // The focus stays in a dialog that was closed until the next frame is drawn.
    const on = event.target.closest("dialog") ? document.body : event.target;
    if (on.matches("input:not([type=range], [type=radio]), select, textarea")) return;
    // These keys belong to the control that has the focus.
    if (on.matches("input") && /^(Arrow|Home|End|Page| )/.test(event.key)) return;
    if (event.key === " " && on.matches("button, summary, a")) return;
    const found = byKey.get((event.shiftKey && event.key.startsWith("Arrow") ? "Shift+" : "") + event.key);
    if (!found) return;
    event.preventDefault();
    found.work(event);
  });
}
