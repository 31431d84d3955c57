// Bland-Altman plots of one structure, one for each method, on the same axes.
function agreement() {
  const structure = byId("v-structure");
  if (!structure) return () => {};
  const known = data.structures.filter((_, s) => data.agreement.some((one) => one.s === s));
  fill(structure, known);
  const draw = () => {
    const s = data.structures.indexOf(known[chosen(structure)]);
    // Where no reference is found there is nothing to draw: the table has the numbers.
    const own = data.agreement.filter((one) => one.s === s && one.cases.length > 0);
    if (own.length === 0) return byId("v-chart").replaceChildren();
    const means = own.flatMap((one) => one.mean), apart = own.flatMap((one) => [...one.difference, ...one.lines.slice(0, 3).filter((x) => x !== null), 0]);
    const range = (values) => {
      const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b)), room = 0.06 * (high - low || 1);
      return [low - room, high + room];
    };
    byId("v-chart").replaceChildren(...own.map((one) => blandAltman(one, range(means), range(apart))));
  };
  structure.addEventListener("change", draw);
  draw();
  return draw;
}

function blandAltman(one, [left, right], [low, high]) {
  const width = 540, height = 300, edge = 62, bottom = height - 44;
  const x = (value) => edge + ((value - left) / (right - left)) * (width - edge - 14);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - 30);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: `m${one.m % 7}`, role: "img", "aria-label": `Bland-Altman plot of ${data.methods[one.m]}` });
  chart.append(svg("text", { x: edge, y: 14 }, `${short(data.methods[one.m])}: prediction − reference (ml)`));
  for (const value of ticks(low, high)) {
    chart.append(svg("line", { x1: edge, x2: width - 14, y1: y(value), y2: y(value), class: value === 0 ? "zero" : "axis" }));
    chart.append(svg("text", { x: edge - 8, y: y(value) + 4, "text-anchor": "end", class: "tick" }, tickText(value)));
  }
  for (const value of ticks(left, right)) chart.append(svg("text", { x: x(value), y: bottom + 18, "text-anchor": "middle", class: "tick" }, tickText(value)));
  const [bias, from, to, biasLow, biasHigh] = one.lines;
  if (biasLow !== null) chart.append(svg("rect", { x: edge, width: width - edge - 14, y: y(biasHigh), height: y(biasLow) - y(biasHigh), class: "band" }));
  for (const [value, style] of [[bias, "bias"], [from, "limit"], [to, "limit"]]) {
    if (value !== null) chart.append(svg("line", { x1: edge, x2: width - 14, y1: y(value), y2: y(value), class: style }));
  }
  one.cases.forEach((c, position) => {
    const point = svg("circle", { cx: x(one.mean[position]).toFixed(1), cy: y(one.difference[position]).toFixed(1), r: one.cases.length > 150 ? 2.4 : 3.6, class: "point" });
    point.at = position;
    chart.append(point);
  });
  chart.append(svg("text", { x: (edge + width) / 2, y: height - 6, "text-anchor": "middle" }, "Mean of prediction and reference (ml)"));
  chart.addEventListener("pointermove", (event) => {
    const k = event.target.at;
    hint(event, k === undefined ? "" : `${data.cases[one.cases[k]]}\nmean ${number(one.mean[k])} ml\ndifference ${number(one.difference[k])} ml`);
  });
  chart.addEventListener("pointerleave", (event) => hint(event, ""));
  chart.addEventListener("click", (event) => { if (event.target.at !== undefined) openCase(one.cases[event.target.at]); });
  return chart;
}
