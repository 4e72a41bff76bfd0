// The page of the API is in the theme of the live page.

import { applyTheme, onSystemChange } from "./theme.js";

/** The class by which Swagger UI goes. */
const apply = () => document.documentElement.classList.toggle("dark-mode", applyTheme());

apply();
onSystemChange(apply);
