// What all parts share: the data, elements, numbers in words, and the tip at the pointer.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const STATUS = { o: "ok", u: "undefined", m: "missed", s: "spurious", f: "failed" };

// Text is always set as text: no name of a case can become markup.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function svg(name, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// Three digits, as words.py writes them. More where fewer would make 1 of 0.9996: only what is perfect looks so.
function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-4) return value.toExponential(2).replace(/e-(\d)$/, "e-0$1").replaceAll("-", "−");
  let digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 || size === 0 ? 3 : 2 - Math.floor(Math.log10(size));
  while (size < 1 - 1e-9 && Number(size.toFixed(digits)) === 1) digits += 1;
  return value.toFixed(digits).replace("-", "−");
}

const unitOf = (metric) => (["", "1", "count"].includes(metric.unit) ? "" : ` ${metric.unit}`);

const keyOf = (...parts) => parts.join("/");
const series = new Map(data.series.map((one) => [keyOf(one.m, one.s, one.k), one]));
const flags = new Map(data.flags.map(([m, s, c, words]) => [keyOf(m, s, c), words]));
const exhibits = new Map(data.exhibits.map(([m, s, c], position) => [keyOf(m, s, c), position]));

// Larger is worse; null where nothing can be said.
function badness(value, metric) {
  if (value === null || metric.better === "none") return null;
  return metric.better === "higher" ? -value : metric.better === "zero" ? Math.abs(value) : value;
}

// Colours repeat after seven methods, forms after four: both together after 28.
const methodClass = (m) => `m${m % 7} s${m % 4}`;
const FORMS = [
  (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  (r) => `m${-0.9 * r} ${-0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}z`,
  (r) => `m0 ${-1.25 * r}l${1.2 * r} ${2.1 * r}h${-2.4 * r}z`,
  (r) => `m0 ${-1.3 * r}l${1.3 * r} ${1.3 * r}l${-1.3 * r} ${1.3 * r}l${-1.3 * r} ${-1.3 * r}z`,
];

// One value of a method, in its colour and its form.
function mark(m, x, y, r, hollow) {
  const at = [x.toFixed(1), y.toFixed(1)];
  const made = svg("path", { d: `M${at.join(" ")}${FORMS[m % 4](r)}`, class: `point ${methodClass(m)}${hollow ? " hollow" : ""}` });
  made.at = at.join(",");
  return made;
}

function methodName(m) {
  const made = element("span", { class: `method ${methodClass(m)}` });
  made.append(element("i", { class: "dot" }), data.methods[m]);
  return made;
}

function fill(select, names, all = null) {
  if (all !== null) select.append(element("option", { value: "", text: all }));
  names.forEach((name, k) => select.append(element("option", { value: k, text: name })));
  select.closest("label").hidden = names.length < 2;
}

const chosen = (select) => (select.value === "" ? null : Number(select.value));

function hint(event, text) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = text === "";
  if (tip.hidden) return;
  const box = tip.getBoundingClientRect();
  const left = event.clientX + 14 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.min(event.clientY + 12, innerHeight - box.height - 4)}px`;
}

// About five round numbers between low and high.
function ticks(low, high, count = 5) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

const tickText = (value) => String(Number(value.toPrecision(6))).replace("-", "−");

function openable(dialog) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
