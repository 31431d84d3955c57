// The order of the page; charts are drawn again when the width of the window crosses that of a phone.
const root = document.documentElement;
root.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
byId("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; });

openable(byId("case-dialog"));
const redraw = [distributions(), lesions(), agreement(), calibration()];
gallery();
cases();
viewers();
staticTables();
matchMedia("(max-width: 690px)").addEventListener("change", () => { for (const draw of redraw) draw(); });
root.dataset.ready = "yes";
