// Of long lists the entries that are looked for: found among all of them, and so many shown that a browser can bear it.

import { byId, say } from "./elements.js";
import { count, counted } from "./text.js";

/** The most entries that are shown of a list. */
export const MOST = 100;

/** So many entries need no field to find one. */
const FEW = 6;

/** One for each kind of thing that has a list: "route", "limit", "upstream". */
export const finders = {};

/** The field by which entries of a list are found, and what is told of those that are not shown. */
export class Finder {
  /** `text` are the words of an entry, by which it is found. */
  constructor(kind, text, onChange) {
    this.kind = kind;
    this.text = text;
    this.field = byId(`${kind}s-find`);
    this.told = byId(`${kind}s-told`);
    /** The entry that a link has led to. */
    this.pinned = null;
    this.field.addEventListener("input", () => { this.pinned = null; onChange(); });
    finders[kind] = this;
  }

  get words() {
    return this.field.value.toLowerCase().split(/\s+/).filter(Boolean);
  }

  /** Whether entries are looked for that may not have been told of. */
  isLooking(known) {
    return this.words.length > 0 || (this.pinned !== null && !(this.pinned in known));
  }

  /** Entries with all the words, in their order, and no more than can be shown. */
  choose(entries, compare, leftOut) {
    const words = this.words;
    const has = ([name, entry]) => {
      const text = this.text(name, entry).toLowerCase();
      return name === this.pinned || words.every((word) => text.includes(word));
    };
    const found = words.length ? entries.filter(has) : [...entries];
    found.sort((a, b) => (b[0] === this.pinned) - (a[0] === this.pinned) || compare(a, b));
    const shown = found.slice(0, MOST);
    this.field.closest("label").hidden = entries.length <= FEW && !words.length && this.kind !== "route";
    const all = entries.length + (words.length ? 0 : leftOut);
    const more = words.length ? found.length - shown.length : all - shown.length;
    const what = words.length ? `${count(found.length)} of ${counted(all, this.kind)}` : counted(all, this.kind);
    say(this.told, more > 0 ? `${what}, ${count(more)} of them not shown here: narrow the list down by a word.` : what);
    return shown;
  }
}
