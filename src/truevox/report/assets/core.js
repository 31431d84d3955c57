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

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 0.0005) return value.toPrecision(3).replaceAll("-", "−");
  return value.toFixed(size < 1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0).replace("-", "−");
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

function methodName(m) {
  const made = element("span", { class: `method m${m % 7}` });
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
