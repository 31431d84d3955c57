// The gallery of the worst, the table of all cases, and the page of one case.
const FIRST_EXHIBITS = 12;

function valueOf(m, s, c, k) {
  const one = series.get(keyOf(m, s, k));
  return one && one.status[c] !== "-" ? { value: one.values[c], status: STATUS[one.status[c]] } : null;
}

function valueText(found) {
  if (found === null) return "";
  return found.value === null || found.status === "undefined" ? found.status : number(found.value);
}

function gallery() {
  const place = byId("gallery");
  if (!place) return;
  const metric = byId("w-metric"), structure = byId("w-structure"), method = byId("w-method"), more = byId("w-more");
  const ranked = data.metrics.map((one, k) => [one, k]).filter(([one]) => one.better !== "none");
  metric.append(element("option", { value: "", text: "worst in any" }));
  for (const [one, k] of ranked) metric.append(element("option", { value: k, text: one.title }));
  fill(structure, data.structures, "all");
  fill(method, data.methods, "all");
  const figures = [...place.querySelectorAll(".exhibit")].map((figure) => {
    const position = Number(figure.dataset.exhibit);
    const [m, s, c] = data.exhibits[position];
    figure.querySelector(".picture").addEventListener("click", () => openCase(c));
    figure.querySelector(".open3d")?.addEventListener("click", () => openViewer(position));
    const values = data.metrics.slice(0, 4).map((one, k) => [one, valueOf(m, s, c, k)]).filter(([, found]) => found);
    figure.querySelector(".values").textContent = values.map(([one, found]) => `${one.title} ${valueText(found)}${found.value === null ? "" : unitOf(one)}`).join(" · ");
    return { figure, m, s, c, position };
  });
  let shown = FIRST_EXHIBITS;
  const draw = () => {
    const k = chosen(metric), s = chosen(structure), m = chosen(method);
    const order = (one) => {
      if (k === null) return one.position;
      return -(badness(valueOf(one.m, one.s, one.c, k)?.value ?? null, data.metrics[k]) ?? -Infinity);
    };
    const kept = figures.filter((one) => (s === null || one.s === s) && (m === null || one.m === m));
    kept.sort((one, other) => order(one) - order(other) || one.position - other.position);
    const visible = new Set(kept.slice(0, shown));
    for (const one of figures) one.figure.hidden = !visible.has(one);
    place.append(...kept.map((one) => one.figure));
    byId("w-none").hidden = kept.length > 0;
    more.hidden = kept.length <= shown;
    more.textContent = `Show ${kept.length - shown} more`;
  };
  for (const one of [metric, structure, method]) one.addEventListener("change", () => { shown = FIRST_EXHIBITS; draw(); });
  more.addEventListener("click", () => { shown = figures.length; draw(); });
  draw();
}

function caseRows() {
  const rows = [];
  const pairs = new Map(data.series.map((one) => [keyOf(one.m, one.s), [one.m, one.s]]));
  for (const [m, s] of pairs.values()) {
    const own = data.metrics.map((_, k) => series.get(keyOf(m, s, k)));
    data.cases.forEach((_, c) => {
      if (!own.some((one) => one && one.status[c] !== "-")) return;
      const status = ["f", "m", "s", "u"].find((word) => own.some((one) => one?.status[c] === word)) ?? "o";
      rows.push({ m, s, c, status: STATUS[status], flags: flags.get(keyOf(m, s, c)) ?? [] });
    });
  }
  return rows;
}

function caseCell(row) {
  const marks = row.flags.map((word) => element("span", { class: "flag", text: word }));
  return marks.length ? [data.cases[row.c], element("div", {}, ...marks)] : data.cases[row.c];
}

function cases() {
  const find = byId("c-find"), structure = byId("c-structure"), method = byId("c-method"), status = byId("c-status");
  fill(structure, data.structures, "all");
  fill(method, data.methods, "all");
  const rows = caseRows(), words = ["missed", "spurious", "undefined", "failed"].filter((word) => rows.some((row) => row.status === word));
  status.append(element("option", { value: "", text: "all" }), element("option", { value: "flagged", text: "flagged" }));
  for (const word of words) status.append(element("option", { value: word, text: word }));
  const columns = [{ name: "Case", sort: (row) => data.cases[row.c], cell: caseCell, style: () => "case" }];
  if (data.methods.length > 1) columns.push({ name: "Method", sort: (row) => row.m, cell: (row) => methodName(row.m) });
  if (data.structures.length > 1) columns.push({ name: "Structure", sort: (row) => row.s, cell: (row) => data.structures[row.s] });
  const before = columns.length;
  data.metrics.forEach((metric, k) => columns.push({
    name: metric.title + (unitOf(metric) && ` (${metric.unit})`),
    numeric: true,
    first: -1,
    // By badness, the worst on top at the first click; metrics without a direction by their value.
    sort: (row) => {
      const found = valueOf(row.m, row.s, row.c, k);
      return found === null ? null : metric.better === "none" ? found.value : badness(found.value, metric);
    },
    cell: (row) => valueText(valueOf(row.m, row.s, row.c, k)),
    style: (row) => valueOf(row.m, row.s, row.c, k)?.status ?? "",
  }));
  const table = liveTable(byId("c-table"), byId("c-more"), columns, (row) => openCase(row.c));
  const draw = () => {
    const text = find.value.trim().toLowerCase(), s = chosen(structure), m = chosen(method);
    const kept = rows.filter((row) =>
      (s === null || row.s === s) && (m === null || row.m === m) && data.cases[row.c].toLowerCase().includes(text)
      && (status.value === "" || row.status === status.value || (status.value === "flagged" && row.flags.length > 0)));
    byId("c-count").textContent = `${kept.length} of ${rows.length} rows`;
    table.show(kept);
  };
  find.addEventListener("input", draw);
  for (const one of [structure, method, status]) one.addEventListener("change", draw);
  draw();
  const first = data.metrics.findIndex((metric) => metric.better !== "none");
  if (first >= 0) table.sortBy(before + first, -1);
}

function openCase(c) {
  byId("case-title").textContent = data.cases[c];
  const body = byId("case-body");
  body.replaceChildren(caseTable(c));
  for (const [position, [m, s, own, in3d]] of data.exhibits.entries()) {
    if (own !== c) continue;
    const picture = document.querySelector(`[data-exhibit="${position}"] img`);
    const line = element("p", {}, methodName(m), ` ${data.structures[s]} `);
    if (in3d) line.append(element("button", { type: "button", text: "Open in 3D", onclick: () => openViewer(position) }));
    body.append(line, element("img", { src: picture.src, alt: picture.alt }));
  }
  const dialog = byId("case-dialog");
  if (!dialog.open) dialog.showModal();
}

function caseTable(c) {
  const head = element("tr", {}, element("th", { text: "Structure" }), element("th", { text: "Metric" }));
  data.methods.forEach((_, m) => head.append(element("th", { class: "n" }, methodName(m))));
  const body = element("tbody");
  data.structures.forEach((structure, s) => data.metrics.forEach((metric, k) => {
    const found = data.methods.map((_, m) => valueOf(m, s, c, k));
    if (!found.some((one) => one)) return;
    const line = element("tr", {}, element("td", { text: structure }), element("td", { text: metric.title + (unitOf(metric) && ` (${metric.unit})`) }));
    for (const one of found) {
      const note = one && one.value !== null && ["missed", "spurious"].includes(one.status) ? ` ${one.status}` : "";
      line.append(element("td", { class: `n ${one?.status ?? ""}`, text: (valueText(one) || "–") + note }));
    }
    body.append(line);
  }));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body));
}
