// Lesions: size against overlap, and the list of them.
const L = Object.fromEntries(data.lesions.columns.map((name, k) => [name, k]));
const PLACE = "Centre R, A, S (mm)";
const nameOf = (names, index) => (typeof index === "number" ? names[index] : index);

function lesions() {
  if (!byId("lesions")) return () => {};
  const structure = byId("l-structure"), method = byId("l-method"), rule = byId("l-rule"), kind = byId("l-kind"), find = byId("l-find");
  const rows = data.lesions.rows;
  const rules = [...new Set(rows.map((row) => row[L.rule]))];
  fill(structure, data.structures, "all");
  fill(method, data.methods, "all");
  fill(rule, rules);
  kind.append(element("option", { value: "", text: "all" }));
  for (const word of ["missed", "spurious", "matched"]) kind.append(element("option", { value: word, text: word }));
  const column = (name, title, numeric = true) => ({
    name: title, numeric, first: numeric ? -1 : 1, sort: (row) => row[L[name]], cell: (row) => (numeric ? number(row[L[name]]) : row[L[name]]),
  });
  const columns = [
    { name: "Case", sort: (row) => nameOf(data.cases, row[L.case]), cell: (row) => nameOf(data.cases, row[L.case]), style: () => "case" },
    { name: "Method", sort: (row) => row[L.method], cell: (row) => methodName(row[L.method]) },
    { name: "Structure", sort: (row) => nameOf(data.structures, row[L.structure]), cell: (row) => nameOf(data.structures, row[L.structure]) },
    { ...column("kind", "Kind", false), style: (row) => row[L.kind] },
    column("reference_ml", "Reference (ml)"), column("prediction_ml", "Prediction (ml)"),
    column("reference_px", "Reference (px)"), column("prediction_px", "Prediction (px)"), column("iou", "IoU"), column("dice", "Dice"),
    column("assd_mm", "ASSD (mm)"), column("score", "Score"),
    { name: PLACE, numeric: true, sort: (row) => row[L.z_mm], cell: (row) => [L.x_mm, L.y_mm, L.z_mm].map((k) => row[k] === null ? "–" : row[k].toFixed(0).replace("-", "−")).join(", ") },
    column("touches", "Touches", false),
  ].filter((one, k) => (k !== 1 || data.methods.length > 1) && (k !== 2 || data.structures.length > 1));
  const optional = { "ASSD (mm)": ["assd_mm"], Score: ["score"], Touches: ["touches"], [PLACE]: ["x_mm"] };
  for (const unit of ["ml", "px"]) for (const side of ["Reference", "Prediction"]) optional[`${side} (${unit})`] = [`reference_${unit}`, `prediction_${unit}`];
  const known = (row, name) => row[L[name]] !== null && row[L[name]] !== "";
  const kept = columns.filter((one) => !optional[one.name] || rows.some((row) => optional[one.name].some((name) => known(row, name))));
  const table = liveTable(byId("l-table"), byId("l-more"), kept, (row) => { if (typeof row[L.case] === "number") openCase(row[L.case]); });
  const draw = () => {
    const s = chosen(structure), m = chosen(method), text = find.value.trim().toLowerCase();
    const found = rows.filter((row) =>
      (s === null || row[L.structure] === s) && (m === null || row[L.method] === m) && row[L.rule] === rules[chosen(rule) ?? 0]
      && (kind.value === "" || row[L.kind] === kind.value) && nameOf(data.cases, row[L.case]).toLowerCase().includes(text));
    byId("l-count").textContent = `${found.length} of ${rows.length} lesions`;
    table.show(found);
    drawLesions(byId("l-chart"), found);
  };
  for (const one of [structure, method, rule, kind]) one.addEventListener("change", draw);
  find.addEventListener("input", draw);
  if (data.lesions.left_out) {
    byId("l-left").hidden = false;
    byId("l-left").textContent = `${data.lesions.left_out} more lesions, those matched best, are in lesions.csv only; the counts above have them all.`;
  }
  draw();
  return draw;
}

const sizeIn = (row, unit) => row[L[`${row[L.kind] === "spurious" ? "prediction" : "reference"}_${unit}`]];

function drawLesions(place, rows) {
  // Of files without a spacing the sizes are counts; they are drawn where no lesion has millilitres.
  const unit = rows.some((row) => sizeIn(row, "ml") !== null) ? "ml" : "px";
  const sizeOf = (row) => sizeIn(row, unit);
  const drawn = rows.filter((row) => sizeOf(row) > 0), others = rows.length - drawn.length;
  const narrow = place.clientWidth < 640, width = narrow ? 560 : WIDTH, left = 66, bottom = 250;
  const logs = drawn.map((row) => Math.log10(sizeOf(row)));
  const low = Math.floor(logs.reduce((a, b) => Math.min(a, b), logs[0] ?? -1));
  const high = Math.max(Math.ceil(logs.reduce((a, b) => Math.max(a, b), logs[0] ?? 1)), low + 1);
  const x = (log) => left + ((log - low) / (high - low)) * (width - left - 14);
  const y = (row) => (row[L.kind] === "spurious" ? bottom - 14 : bottom - 40 - (row[L.kind] === "missed" ? 0 : row[L.iou] ?? 0) * (bottom - 52));
  const chart = svg("svg", { viewBox: `0 0 ${width} ${bottom + 40}`, role: "img", "aria-label": "Size of lesions against overlap" });
  for (let power = low; power <= high; power++) {
    chart.append(svg("line", { x1: x(power), x2: x(power), y1: 8, y2: bottom, class: "axis" }));
    chart.append(svg("text", { x: x(power), y: bottom + 16, "text-anchor": "middle", class: "tick" }, tickText(10 ** power)));
  }
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    const at = bottom - 40 - value * (bottom - 52);
    chart.append(svg("line", { x1: left, x2: width - 14, y1: at, y2: at, class: "axis" }));
    chart.append(svg("text", { x: left - 8, y: at + 4, "text-anchor": "end", class: "tick" }, value === 0 ? "missed" : String(value)));
  }
  chart.append(svg("text", { x: left - 8, y: bottom - 10, "text-anchor": "end", class: "tick" }, "spurious"));
  chart.append(svg("text", { x: (left + width) / 2, y: bottom + 34, "text-anchor": "middle" }, `Size (${unit}); upwards: IoU of matched lesions${others ? `; ${others} without a size in ${unit} in the table only` : ""}`));
  for (const row of drawn) {
    const point = mark(row[L.method], x(Math.log10(sizeOf(row))), y(row), 3.6, row[L.kind] !== "matched");
    point.row = row;
    chart.append(point);
  }
  chart.addEventListener("pointermove", (event) => {
    const row = event.target.row;
    hint(event, row ? `${nameOf(data.cases, row[L.case])}\n${data.methods[row[L.method]]}, ${row[L.kind]}\n${number(sizeOf(row))} ${unit}, IoU ${number(row[L.iou])}` : "");
  });
  chart.addEventListener("pointerleave", (event) => hint(event, ""));
  chart.addEventListener("click", (event) => { if (typeof event.target.row?.[L.case] === "number") openCase(event.target.row[L.case]); });
  place.replaceChildren(chart);
}
