// Boxes and dots: one row for each structure and method, one dot for each case.
const ROW = 58, WIDTH = 1130, MOST_DOTS = 8000;

function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// A spread that depends on the case only, so that dots stay where they are.
const scatter = (c) => ((c * 0.618034) % 1) - 0.5;

function distributionRows(k, s, methods) {
  const rows = [];
  data.structures.forEach((structure, position) => {
    if (s !== null && s !== position) return;
    for (const m of methods) {
      const one = series.get(keyOf(m, position, k));
      if (one) rows.push({ ...one, structure });
    }
  });
  return rows;
}

function extent(rows, metric) {
  const all = rows.flatMap((row) => row.values.filter((x) => x !== null));
  if (!all.length) return [0, 1];
  let low = all.reduce((a, b) => Math.min(a, b)), high = all.reduce((a, b) => Math.max(a, b));
  if (metric.unit === "1" && low >= 0 && high <= 1) return [0, 1];
  if (low >= 0) low = 0;
  if (high === low) high = low + 1;
  const room = 0.03 * (high - low);
  return [low < 0 ? low - room : low, high + room];
}

function drawDistribution(place, k, s, methods) {
  const metric = data.metrics[k], rows = distributionRows(k, s, methods);
  const narrow = place.clientWidth < 640;
  const width = narrow ? 560 : WIDTH, left = narrow ? 120 : 210;
  const [low, high] = extent(rows, metric);
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - 14);
  const bottom = 12 + rows.length * ROW;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${bottom + 42}`, role: "img", "aria-label": `Distribution of ${metric.title}` });
  for (const value of ticks(low, high)) {
    chart.append(svg("line", { x1: x(value), x2: x(value), y1: 6, y2: bottom, class: "axis" }));
    chart.append(svg("text", { x: x(value), y: bottom + 16, "text-anchor": "middle", class: "tick" }, tickText(value)));
  }
  if (low < 0) chart.append(svg("line", { x1: x(0), x2: x(0), y1: 6, y2: bottom, class: "zero" }));
  chart.append(svg("text", { x: (left + width) / 2, y: bottom + 34, "text-anchor": "middle" }, metric.title + (unitOf(metric) && ` (${metric.unit})`)));
  const spots = new Map();
  const dots = rows.length * data.cases.length <= MOST_DOTS;
  rows.forEach((row, position) => drawRow(chart, row, 12 + (position + 0.5) * ROW, x, left, s, spots, dots));
  chart.append(svg("polyline", { class: "trace" }));
  if (!rows.length) chart.append(svg("text", { x: left, y: 16, class: "tick" }, "No values of this choice."));
  follow(chart, spots, rows, metric);
  place.replaceChildren(chart);
}

function drawRow(chart, row, y, x, left, s, spots, dots) {
  const group = svg("g", { class: `${methodClass(row.m)}${row.values.length > 150 ? " many" : ""}` });
  const sorted = row.values.filter((value) => value !== null).sort((a, b) => a - b);
  const many = data.structures.length > 1 && s === null;
  const lines = [...(many ? [[short(row.structure), ""]] : []), [short(data.methods[row.m]), many ? "tick" : ""], ...counted(row).map((text) => [text, "tick"])];
  lines.forEach(([text, style], k) => group.append(svg("text", { x: left - 12, y: y + 4 + 13.5 * (k - (lines.length - 1) / 2), "text-anchor": "end", class: style }, text)));
  // The box goes over the dots, and lets the pointer through to them.
  const box = svg("g", { class: "summary" });
  if (sorted.length) {
    const [a, b, c, d, e] = [0.05, 0.25, 0.5, 0.75, 0.95].map((share) => x(quantile(sorted, share)));
    box.append(svg("line", { x1: a, x2: e, y1: y, y2: y, class: "whisker" }));
    box.append(svg("rect", { x: b, y: y - 13, width: Math.max(d - b, 0.5), height: 26, rx: 3, class: "box" }));
    box.append(svg("line", { x1: c, x2: c, y1: y - 13, y2: y + 13, class: "middle" }));
  }
  // Missed and spurious cases are few, and matter: they are drawn last, and always; so is what the whiskers leave out.
  const [first, last] = sorted.length ? [quantile(sorted, 0.05), quantile(sorted, 0.95)] : [0, 0];
  for (const odd of [false, true]) {
    row.values.forEach((value, c) => {
      if (value === null || "ms".includes(row.status[c]) !== odd) return;
      if (!dots && !odd && value >= first && value <= last) return;
      const point = mark(row.m, x(value), y + 24 * scatter(c), row.values.length > 150 && !odd ? 2.4 : 3.6, odd);
      point.dataset.case = c;
      point.row = row;
      group.append(point);
      if (!spots.has(c)) spots.set(c, []);
      spots.get(c).push(point);
    });
  }
  group.append(box);
  chart.append(group);
}

// How many values a row has, what is odd among them, and what has none: in one line, or in two.
function counted(row) {
  const count = (letter) => [...row.status].filter((one) => one === letter).length;
  const rest = Object.entries({ m: "missed", s: "spurious", u: "undefined", f: "failed" }).map(([letter, word]) => [count(letter), word]);
  const n = row.values.filter((value) => value !== null).length;
  const parts = [`n = ${n}`, ...rest.filter(([many]) => many).map(([many, word]) => `${many} ${word}`)];
  const whole = parts.join(", ");
  return whole.length <= 30 ? [whole] : [parts.slice(0, 2).join(", "), parts.slice(2).join(", ")];
}

const short = (text) => (text.length > 26 ? `${text.slice(0, 25)}…` : text);

// One listener for all dots: the case under the pointer is lit in every row.
function follow(chart, spots, rows, metric) {
  let lit = null;
  const light = (c) => {
    if (c === lit) return;
    for (const point of spots.get(lit) ?? []) point.classList.remove("lit");
    const points = spots.get(c) ?? [];
    for (const point of points) point.classList.add("lit");
    chart.querySelector(".trace").setAttribute("points", points.map((p) => p.at).join(" "));
    lit = c;
  };
  chart.addEventListener("pointermove", (event) => {
    const point = event.target.closest(".point");
    if (!point) { light(null); return hint(event, ""); }
    const c = Number(point.dataset.case), row = point.row;
    light(c);
    const status = row.status[c] === "o" ? "" : ` (${STATUS[row.status[c]]})`;
    hint(event, `${data.cases[c]}\n${data.methods[row.m]}, ${row.structure}\n${metric.title} ${number(row.values[c])}${unitOf(metric)}${status}`);
  });
  chart.addEventListener("pointerleave", (event) => { light(null); hint(event, ""); });
  chart.addEventListener("click", (event) => {
    const point = event.target.closest(".point");
    if (point) openCase(Number(point.dataset.case));
  });
}

function distributions() {
  const metric = byId("d-metric"), structure = byId("d-structure"), checks = byId("d-methods");
  fill(metric, data.metrics.map((one) => one.title));
  fill(structure, data.structures, "all");
  data.methods.forEach((_, m) => checks.append(element("label", {}, element("input", { type: "checkbox", value: m, checked: "" }), methodName(m))));
  checks.hidden = data.methods.length < 2;
  const draw = () => {
    const methods = [...checks.querySelectorAll("input:checked")].map((box) => Number(box.value));
    drawDistribution(byId("d-chart"), chosen(metric), chosen(structure), methods);
  };
  for (const one of [metric, structure, checks]) one.addEventListener("change", draw);
  draw();
  return draw;
}

function calibration() {
  const metric = byId("p-metric"), structure = byId("p-structure");
  if (!metric) return () => {};
  fill(structure, data.structures, "all");
  const draw = () => {
    const k = data.metrics.findIndex((one) => one.name === metric.value);
    drawDistribution(byId("p-chart"), k, chosen(structure), data.methods.map((_, m) => m));
  };
  for (const one of [metric, structure]) one.addEventListener("change", draw);
  draw();
  return draw;
}
