// Tables that sort by a click on a heading and show a page of rows at a time.
const PAGE = 50;

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
}

// columns: {name, title, sort(row), cell(row) -> node or text, numeric, first: 1 or -1}; a missing sort key goes last.
function liveTable(table, more, columns, open) {
  const state = { rows: [], by: null, direction: 1, shown: PAGE };
  const heads = columns.map((column, k) => {
    const button = element("button", { type: "button", text: column.name, title: column.title ?? "" });
    button.addEventListener("click", () => {
      state.direction = state.by === k ? -state.direction : column.first ?? 1;
      state.by = k;
      state.shown = PAGE;
      draw();
    });
    return element("th", { scope: "col", class: column.numeric ? "n" : "" }, button);
  });
  const body = element("tbody");
  table.append(element("thead", {}, element("tr", {}, ...heads)), body);

  function sorted() {
    if (state.by === null) return state.rows;
    const keys = new Map(state.rows.map((row) => [row, columns[state.by].sort(row)]));
    return [...state.rows].sort((one, other) => {
      const a = keys.get(one), b = keys.get(other);
      return a === null || b === null ? compare(a, b) : state.direction * compare(a, b);
    });
  }

  function line(row) {
    const cells = columns.map((column) => {
      const content = column.cell(row);
      const cell = element("td", { class: `${column.numeric ? "n" : ""} ${column.style?.(row) ?? ""}`.trim() });
      cell.append(...[content].flat());
      return cell;
    });
    const made = element("tr", { class: "opens", tabindex: "0" }, ...cells);
    made.addEventListener("click", () => open(row));
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") open(row); });
    return made;
  }

  function draw() {
    heads.forEach((head, k) => {
      if (k === state.by) head.setAttribute("aria-sort", state.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    body.replaceChildren(...sorted().slice(0, state.shown).map(line));
    more.hidden = state.rows.length <= state.shown;
    more.textContent = `Show ${Math.min(PAGE, state.rows.length - state.shown)} more`;
  }

  more.addEventListener("click", () => { state.shown += PAGE; draw(); });
  return {
    show(rows) { state.rows = rows; state.shown = PAGE; draw(); },
    sortBy(k, direction) { state.by = k; state.direction = direction; draw(); },
  };
}

// Tables that came with the page: the cells are their own sort keys.
function staticTables() {
  for (const table of document.querySelectorAll("table.static")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, k) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const text = row.cells[k].textContent;
        return text === "" || text === "nan" ? null : Number.isNaN(Number(text)) ? text : Number(text);
      };
      const rows = [...body.rows].sort((one, other) => {
        const a = key(one), b = key(other);
        return a === null || b === null ? compare(a, b) : (down ? -1 : 1) * compare(a, b);
      });
      body.append(...rows);
    }));
  }
}
