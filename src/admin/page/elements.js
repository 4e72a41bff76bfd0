// Elements of the page. Values that come from the configuration or from clients are only ever inserted as text.

export const byId = (id) => document.getElementById(id);
export const cssName = (key) => key.replace("_", "-");

/** An element with these classes and children; strings become text. */
export function element(name, classes, ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children);
  return made;
}

/** Sets what differs, so that nothing is announced or selected anew that stays as it is. */
export function say(node, text, classes) {
  if (node.textContent !== text) node.textContent = text;
  if (classes !== undefined && node.className !== classes) node.className = classes;
}

/** Replaces the children if what they are made of differs. */
export function remake(node, item, parts) {
  const said = JSON.stringify(item);
  if (node.dataset.said === said) return;
  node.dataset.said = said;
  node.replaceChildren(...parts());
}

/** Makes the children of a list those of `items`, in their order, keeping each that is there, and the focus. */
export function keep(list, items, make, update) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const known = new Map([...list.children].map((child) => [child.dataset.name, child]));
  items.forEach(([name, item], index) => {
    const child = known.get(name) ?? make(name, item);
    known.delete(name);
    child.dataset.name = name;
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
    update(child, item, name);
  });
  known.forEach((child) => child.remove());
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

export function swatch(key, shape) {
  const made = element("span", `swatch ${shape ?? ""}`);
  made.style.setProperty("--swatch", `var(--${cssName(key)})`);
  return made;
}

/** A list of numbers with their names: [name, text, classes]. */
export function facts(pairs) {
  const parts = pairs.map(([label, value, classes]) => element("div", "", element("dt", "", label), element("dd", classes ?? "", value)));
  return element("dl", "", ...parts);
}

/** A link to a route, limit or upstream of this page. */
export function link(kind, name) {
  const made = element("a", "", name);
  made.href = `#${kind}=${encodeURIComponent(name)}`;
  return made;
}

/** Links to several of them, with what is said behind each. */
export const links = (kind, names, notes = []) => names.flatMap((name, at) => [...(at ? [", "] : []), link(kind, name), notes[at] ?? ""]);
