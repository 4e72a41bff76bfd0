// Light or dark: as the system says, or as somebody has chosen on the live page.

// Without storage it holds until the page is left.
const stored = {
  get: () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } },
  set: (theme) => { try { localStorage.setItem("theme", theme); } catch { /* then not */ } },
};

const system = matchMedia("(prefers-color-scheme: dark)");

/** Applies what was chosen; returns whether it is dark. */
export function applyTheme() {
  const theme = stored.get();
  document.documentElement.dataset.theme = theme;
  return theme ? theme === "dark" : system.matches;
}

/** Calls back when the system changes it. */
export const onSystemChange = (changed) => system.addEventListener("change", changed);

/** Lets it be chosen. */
export function followTheme(select, changed) {
  select.value = stored.get();
  select.addEventListener("change", () => {
    stored.set(select.value);
    document.documentElement.dataset.theme = select.value;
    changed();
  });
  onSystemChange(changed);
}
