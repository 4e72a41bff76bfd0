// Lists of cards.

import { byId, element, keep, remake } from "./elements.js";

/** Cards that are made anew from their parts, but only when these differ. `nothing` stands where there is none. */
export function showCards(id, entries, nothing, parts) {
  const items = entries.length ? entries : [["", null]];
  keep(byId(id), items, () => element("li"), (card, item, name) => {
    card.className = item ? "card" : "none";
    remake(card, item ?? nothing, () => (item ? parts(name, item) : [nothing]));
  });
}
